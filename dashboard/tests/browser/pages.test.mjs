// Every page on the demo's models: drawn, readable, accessible, in both themes and both sizes.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ask, browser, demo, freePort, impactiq, inked, PAGES, scratch, serve, violations, visit } from './house.mjs';

const CHARTS = { overview: ['deciles', 'estimates'], health: ['balance'], quality: ['gain', 'toc', 'qini'], deciles: ['deciles', 'calibration'], targeting: ['profit'], 'what-if': [], live: ['rates', 'latency'], models: [] };
const pictures = process.env.SCREENSHOTS;
let opened, server, folder;

before(async () => {
  folder = scratch();
  const made = demo(folder);
  server = await serve(['-m', `criteo=${join(made, 'criteo/model')}`, '-m', `thornton=${join(made, 'thornton/model')}`, '--log', join(folder, 'scores.sqlite')], await freePort());
  opened = await browser();
  if (pictures) mkdirSync(pictures, { recursive: true });
});
after(async () => {
  await opened?.close();
  await server?.stop();
});

for (const scheme of ['light', 'dark']) {
  for (const size of ['desktop', 'phone']) {
    test(`every page is drawn, accessible and quiet: ${scheme}, ${size}`, async () => {
      const { page, wrong, go, close } = await visit(opened, server.url, { scheme, size });
      const found = [];
      for (const name of PAGES) {
        await go(name);
        if (name === 'live') await page.waitForSelector('[data-chart="rates"]');
        assert.equal(await page.locator('h1').count(), 1, `${name} has one heading of the first level`);
        for (const chart of CHARTS[name]) {
          await page.waitForSelector(`[data-chart="${chart}"] canvas`);
          assert.ok((await inked(page, chart)) > 500, `${name}: the chart ${chart} drew something`);
        }
        const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(beyond <= 0, `${name} is ${beyond} px wider than the window`);
        found.push(...(await violations(page)).map((text) => `${name}: ${text}`));
        if (pictures) await page.screenshot({ path: join(pictures, `${name}-${scheme}-${size}.png`), fullPage: true });
      }
      assert.deepEqual(found, [], found.join('\n'));
      assert.deepEqual(wrong, []);
      await close();
    });
  }
}

test('every chart has a table twin that axe finds nothing wrong with', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  for (const name of PAGES.filter((entry) => CHARTS[entry].length > 0)) {
    await go(name);
    for (const chart of CHARTS[name]) {
      await page.waitForSelector(`[data-chart="${chart}"]`);
      await page.locator(`[data-chart="${chart}"] button`, { hasText: /^Table of/ }).click();
      const rows = await page.locator(`[data-chart="${chart}"] tbody tr`).count();
      assert.ok(rows > 0, `${name}: the table of ${chart} has rows`);
    }
    assert.deepEqual(await violations(page), []);
  }
  assert.deepEqual(wrong, []);
  await close();
});

test('the other model is a choice away, and its address can be sent', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await go('overview');
  await page.locator('#scope-model').selectOption('thornton');
  await page.waitForFunction(() => document.querySelector('main')?.textContent?.includes('got'));
  assert.match(page.url(), /model=thornton/);
  const headline = await page.locator('h1').textContent();
  assert.match(headline ?? '', /equally for everybody/, 'this trial has nothing to target');
  const again = await visit(opened, server.url);
  await again.go(page.url().split('#/')[1]);
  assert.equal(await again.page.locator('h1').textContent(), headline);
  await page.goBack();
  await page.waitForFunction(() => document.querySelector('main')?.textContent?.includes('visit'));
  assert.deepEqual([...wrong, ...again.wrong], []);
  await again.close();
  await close();
});

test('a model nobody evaluated says what to do instead of showing empty charts', async () => {
  const model = join(folder, 'bare');
  const config = join(folder, 'bare.yaml');
  const data = join(folder, 'bare.csv');
  impactiq('synth', 'nie-wager-b', '-n', '3000', '-o', data);
  impactiq('init', data, '-o', config);
  impactiq('train', '-c', config, '-o', model);
  const bare = await serve(['-m', `bare=${model}`, '--log', 'none'], await freePort());
  const { page, wrong, go, close } = await visit(opened, bare.url);
  for (const name of ['quality', 'deciles', 'targeting']) {
    await go(name);
    assert.match((await page.locator('[data-state="empty"]').textContent()) ?? '', /impactiq evaluate -m bare/, name);
    assert.deepEqual(await violations(page), []);
  }
  await go('health');
  assert.match((await page.locator('[data-state="empty"]').textContent()) ?? '', /impactiq check/);
  await go('overview');
  assert.match((await page.locator('main').textContent()) ?? '', /Evaluate the model/);
  assert.deepEqual(wrong, []);
  await close();
  await bare.stop();
});

test('several arms, outcomes of several kinds, categories and gaps all have their place', async () => {
  const model = join(folder, 'several');
  const config = join(folder, 'several.yaml');
  const data = join(folder, 'several.csv');
  impactiq('synth', 'multi-arm', '-n', '6000', '-o', data);
  impactiq('init', data, '-o', config);
  impactiq('train', '-c', config, '-o', model);
  impactiq('evaluate', '-m', model);
  const several = await serve(['-m', `several=${model}`, '--log', 'none'], await freePort());
  const { page, wrong, go, close } = await visit(opened, several.url);
  for (const name of ['overview', 'quality', 'deciles', 'targeting', 'what-if']) {
    for (const outcome of ['y', 'converted']) {
      await go(`${name}?outcome=${outcome}&arm=arm_2`);
      assert.equal(await page.locator('#scope-arm').inputValue(), 'arm_2');
      const text = (await page.locator('main').textContent()) ?? '';
      assert.equal(/ pp\b/.test(text), outcome === 'converted', `${name} of ${outcome}: only shares are in percentage points`);
      assert.doesNotMatch(text, /NaN|undefined|Infinity|null/);
      assert.deepEqual(await violations(page), [], name);
    }
  }
  await go('what-if?outcome=y&arm=arm_1&along=region');
  await page.getByLabel('region', { exact: true }).selectOption('islands');
  await page.waitForSelector('[data-chart="uplift-along-region"] canvas');
  await page.getByLabel('x2, exact value').fill('');
  await page.keyboard.press('Enter');
  await page.waitForTimeout(300);
  const row = await page.evaluate(() =>
    Object.fromEntries([...document.querySelectorAll('.fields .field')].map((field) => {
      const control = field.querySelector('select') ?? field.querySelector('input[type=text]');
      return [field.querySelector('label').textContent, control.value === '' ? null : control.tagName === 'SELECT' ? control.value : Number(control.value)];
    })),
  );
  assert.equal(row.region, 'islands');
  assert.equal(row.x2, null);
  const { scores } = await ask(several.url, '/v1/score', { rows: [row] });
  const shown = Number(await page.locator('output[data-uplift]').getAttribute('data-uplift'));
  assert.equal(shown, scores[0].y_cate_arm_1);
  assert.deepEqual(wrong, []);
  await close();
  await several.stop();
});

test('two models of one outcome stand in one chart, with intervals of their differences', async () => {
  const made = join(demo(folder), 'criteo/model');
  const both = await serve(['-m', `old=${made}`, '-m', `new=${made}`, '--log', 'none'], await freePort());
  const { page, wrong, go, close } = await visit(opened, both.url);
  await go('quality?model=new');
  await page.getByLabel('Compare with another model').selectOption('old');
  await page.waitForSelector('[aria-label="Differences"] tbody tr');
  const rows = await page.locator('[aria-label="Differences"] tbody tr').allTextContents();
  assert.ok(rows.length >= 4);
  for (const row of rows) assert.match(row, /no clear difference/, 'a model does not beat itself');
  await page.locator('[data-chart="gain"] button', { hasText: /^Table of/ }).click();
  assert.match((await page.locator('[data-chart="gain"] thead').textContent()) ?? '', /new.*old/);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(wrong, []);
  await close();
  await both.stop();
});

test('the first chart stands without another step, and tells how long it took', async () => {
  const { page, close } = await visit(opened, server.url);
  const began = Date.now();
  await page.goto(`${server.url}/#/overview`);
  await page.waitForSelector('[data-chart="deciles"] canvas');
  // A figure and no limit: how busy the machine is, the page cannot know (`speed.mjs` measures).
  console.log(`# time to first chart: ${Date.now() - began} ms`);
  await close();
});
