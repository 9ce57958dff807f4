// How long a page takes to its first chart: `node tests/browser/speed.mjs MODEL [ROUNDS]`, a model that was evaluated.
// Counted by the page's own clock from the start of its navigation, cold cache, to the first canvas with ink on it.
import { join } from 'node:path';
import { browser, freePort, scratch, serve, SIZES } from './house.mjs';

const [model, rounds = '9'] = process.argv.slice(2);
if (!model) throw new Error('which model? node tests/browser/speed.mjs MODEL [ROUNDS]');
const server = await serve(['-m', model, '--log', join(scratch(), 'scores.sqlite')], await freePort());
const opened = await browser();

/** Waits for ink inside the page, so that no message to the browser is in the figure. */
function firstChart() {
  const inked = (canvas) => {
    if (canvas.width === 0 || canvas.height === 0) return false;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 3; i < data.length; i += 4) if (data[i] > 0) return true;
    return false;
  };
  const look = () => {
    if ([...document.querySelectorAll('[data-chart] canvas')].some(inked)) globalThis.firstChart = performance.now();
    else requestAnimationFrame(look);
  };
  look();
}

for (const page of ['overview', 'quality']) {
  const took = [];
  for (let round = 0; round < Number(rounds); round++) {
    const context = await opened.newContext({ viewport: SIZES.desktop, reducedMotion: 'reduce' });
    const tab = await context.newPage();
    await tab.addInitScript(firstChart);
    await tab.goto(`${server.url}/#/${page}`);
    await tab.waitForFunction(() => globalThis.firstChart);
    took.push(await tab.evaluate(() => globalThis.firstChart));
    await context.close();
  }
  took.sort((a, b) => a - b);
  console.log(`${page}: first chart after ${took[Math.floor(took.length / 2)].toFixed(0)} ms (median of ${took.length}, slowest ${took.at(-1).toFixed(0)} ms)`);
}
await opened.close();
await server.stop();
