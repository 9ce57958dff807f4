// The stream's part of the live page, on the demo's stream: its numbers held against /v1/stream, and what happens when it is away.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ask, browser, demoStream, freePort, inked, scratch, serve, violations, visit } from './house.mjs';

const EVENTS = 60_000;
const CHARTS = ['stream-rate', 'promised-and-live', 'live-effect'];
const pictures = process.env.SCREENSHOTS;
let opened, server, stream, folder, port;

before(async () => {
  folder = scratch();
  port = await freePort();
  stream = await demoStream(join(folder, 'first'), EVENTS, port);
  server = await serve(['-m', `criteo=${stream.model}`, '--log', 'none', '--stream', `127.0.0.1:${port}`], await freePort());
  opened = await browser();
  if (pictures) mkdirSync(pictures, { recursive: true });
});
after(async () => {
  await opened?.close();
  await server?.stop();
  await stream?.stop();
});

const part = (page) => page.locator('section[aria-labelledby=stream]');
const text = async (page) => ((await part(page).textContent()) ?? '').replace(/\s+/g, ' ');
const thousands = (n) => n.toLocaleString('en-US');
/** An effect as the page writes it: percentage points with a sign, and as many digits as it deserves. */
const points = (value) => {
  const size = Math.abs(100 * value);
  const digits = size >= 1 ? 2 : size >= 0.1 ? 3 : size >= 0.01 ? 4 : 5;
  return `${value < 0 ? '−' : '+'}${size.toFixed(digits)}`;
};

test('events are seen while they are scored', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await go('live');
  await page.waitForSelector('[data-chart="stream-rate"] canvas');
  await stream.done();
  await page.waitForFunction((wanted) => document.querySelector('section[aria-labelledby=stream]')?.textContent?.includes(wanted), thousands((await ask(server.url, '/v1/stream')).figures.scored));
  assert.deepEqual(wrong, []);
  await close();
});

test('the numbers of the page are those of /v1/stream', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await stream.done();
  const report = await ask(server.url, '/v1/stream');
  const [model] = report.live.models;
  const best = model.asymptotic.value === null ? model.exact : model.asymptotic;
  const difference = model.predicted.realised_minus_predicted;
  await go('live');
  await page.waitForSelector('[data-chart="promised-and-live"] canvas');
  const shown = await text(page);
  assert.equal(report.model.id, model.model);
  const wanted = [
    report.member,
    report.model.id.slice(0, 8),
    thousands(report.figures.scored),
    thousands(Object.values(report.figures.dead).reduce((sum, n) => sum + n, 0)),
    `${thousands(model.n_treated)} treated, ${thousands(model.n_control)} not`,
    thousands(model.n),
    thousands(report.live.n_waiting),
    `${points(best.value)} pp`,
    `${points(best.lower)} … ${points(best.upper)}`,
    `${points(model.predicted.predicted)} pp`,
    `${points(difference.value)} pp`,
    `${points(difference.lower)} … ${points(difference.upper)}`,
    `${thousands(model.srm.n_treated)} of ${thousands(model.srm.n)}`,
    `${points(model.decay.promised.value)} pp`,
  ];
  for (const one of wanted) assert.ok(shown.includes(one), `“${one}” in: ${shown}`);
  for (const [reason, n] of Object.entries(report.figures.dead)) assert.match(shown, new RegExp(`${reason}.*${thousands(n)}`));
  for (const [name, limit] of Object.entries(report.latency_below_ms)) {
    assert.ok(limit !== null && shown.includes(limit < 1000 ? `${limit} ms` : `${(limit / 1000).toFixed(1)} s`), `${name} is told`);
  }
  assert.equal(shown.includes('calm'), report.alarms.length === 0);
  const sentence = (await part(page).locator('.sentence').textContent()) ?? '';
  assert.match(sentence, best.lower > 0 || best.upper < 0 ? /Out of 1,000 people treated, about \d+ (more|fewer)/ : /no clear effect/);
  assert.doesNotMatch(shown, /NaN|undefined|Infinity|null/);
  assert.deepEqual(wrong, []);
  await close();
});

test('promised and live effects leave with every digit, and every chart has its table', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await stream.done();
  const [model] = (await ask(server.url, '/v1/stream')).live.models;
  await go('live');
  const chart = page.locator('[data-chart="promised-and-live"]');
  await chart.locator('canvas').waitFor();
  const save = async (name) => {
    const [download] = await Promise.all([page.waitForEvent('download'), chart.locator('summary').click().then(() => chart.getByRole('button', { name }).click())]);
    const path = join(folder, download.suggestedFilename());
    await download.saveAs(path);
    return readFileSync(path);
  };
  const { rows } = JSON.parse((await save('Data (JSON)')).toString());
  assert.deepEqual(rows.map((row) => row['Promised']), model.deciles.map((decile) => decile.promised.value));
  assert.deepEqual(rows.map((row) => row['Live effect']), model.deciles.map((decile) => (decile.asymptotic.value === null ? decile.exact : decile.asymptotic).value));
  assert.equal((await save('Table (CSV)')).toString().trimEnd().split('\n').length, model.deciles.length + 1);
  assert.equal((await save('Picture (PNG)')).subarray(1, 4).toString(), 'PNG');
  for (const name of CHARTS) {
    await page.locator(`[data-chart="${name}"] button`, { hasText: /^Table of/ }).click();
    assert.ok((await page.locator(`[data-chart="${name}"] tbody tr`).count()) > 0, `the table of ${name} has rows`);
  }
  assert.equal(await chart.locator('tbody tr').count(), model.deciles.length);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(wrong, []);
  await close();
});

for (const scheme of ['light', 'dark']) {
  for (const size of ['desktop', 'phone']) {
    test(`the stream is drawn, accessible and quiet: ${scheme}, ${size}`, async () => {
      const { page, wrong, go, close } = await visit(opened, server.url, { scheme, size });
      await go('live');
      // Three reports, so that there is something to see over time.
      for (let i = 0; i < 3; i++) await page.waitForResponse((response) => response.url().endsWith('/v1/stream'));
      for (const chart of CHARTS) {
        await page.waitForSelector(`[data-chart="${chart}"] canvas`);
        assert.ok((await inked(page, chart)) > 500, `the chart ${chart} drew something`);
      }
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(beyond <= 0, `the page is ${beyond} px wider than the window`);
      assert.deepEqual(await violations(page), []);
      if (pictures) await page.screenshot({ path: join(pictures, `stream-${scheme}-${size}.png`), fullPage: true });
      await page.getByRole('button', { name: 'To the stream' }).focus();
      await page.keyboard.press('Enter');
      assert.equal(await page.evaluate(() => document.activeElement?.id), 'stream', 'the stream is a key away');
      assert.deepEqual(wrong, []);
      await close();
    });
  }
}

test('a page that is paused asks for nothing', async () => {
  const { page, go, close } = await visit(opened, server.url);
  await go('live');
  await part(page).waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  let asked = 0;
  page.on('request', (request) => (asked += Number(request.url().endsWith('/v1/stream'))));
  await page.waitForTimeout(3000);
  assert.equal(asked, 0);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.waitForRequest((request) => request.url().endsWith('/v1/stream'));
  await close();
});

test('a server that was told of no stream says how to tell it', async () => {
  const alone = await serve(['-m', `criteo=${stream.model}`, '--log', 'none'], await freePort());
  const { page, wrong, go, close } = await visit(opened, alone.url);
  await go('live');
  await page.getByText('impactiq serve --stream 127.0.0.1:9102').waitFor();
  assert.equal(await part(page).count(), 0);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(wrong, []);
  await close();
  await alone.stop();
});

test('a stream that is away is said, its last figures stay, and it is found again by itself', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await stream.done();
  const { figures } = await ask(server.url, '/v1/stream');
  await go('live');
  // Some moments to keep.
  for (let i = 0; i < 3; i++) await page.waitForResponse((response) => response.url().endsWith('/v1/stream'));
  await stream.stop();
  await part(page).locator('[role=alert]').waitFor();
  assert.match(await text(page), /does not answer/);
  assert.match(await text(page), /last known/);
  assert.ok((await text(page)).includes(thousands(figures.scored)), 'the last figures stay');
  assert.deepEqual(await violations(page), []);
  if (pictures) await part(page).screenshot({ path: join(pictures, 'stream-away-light-desktop.png') });
  // Who comes now sees that it is away, and nothing that was never there.
  const late = await visit(opened, server.url);
  await late.go('live');
  await part(late.page).locator('[role=alert]').waitFor();
  assert.match(await text(late.page), /The stream does not answer/);
  assert.deepEqual(await violations(late.page), []);
  stream = await demoStream(join(folder, 'second'), 5_000, port);
  await part(page).locator('[role=alert]').waitFor({ state: 'detached' });
  await part(late.page).locator('.figures').first().waitFor();
  assert.doesNotMatch(await text(page), /last known/);
  assert.deepEqual([...wrong, ...late.wrong].filter((line) => !/status of 503/.test(line)), []);
  await late.close();
  await close();
});
