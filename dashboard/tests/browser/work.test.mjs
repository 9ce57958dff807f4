// What a reader does on the pages, held against what the server says to the same question.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ask, browser, demo, freePort, impactiq, scratch, serve, violations, visit } from './house.mjs';

let opened, server, folder, made, port, args;

before(async () => {
  folder = scratch();
  made = demo(folder);
  port = await freePort();
  args = ['-m', `criteo=${join(made, 'criteo/model')}`, '-m', `thornton=${join(made, 'thornton/model')}`, '--log', join(folder, 'scores.sqlite')];
  server = await serve(args, port);
  opened = await browser();
});
after(async () => {
  await opened?.close();
  await server?.stop();
});

const uplift = (page) => page.locator('output[data-uplift]').first().getAttribute('data-uplift').then(Number);
const rowOf = (page) => page.evaluate(() => Object.fromEntries([...document.querySelectorAll('.fields .field')].map((field) => [field.querySelector('label').textContent, Number(field.querySelector('input').value)])));
const saved = async (page, act) => {
  const [download] = await Promise.all([page.waitForEvent('download'), act()]);
  const path = join(folder, `${Math.random().toString(36).slice(2)}-${download.suggestedFilename()}`);
  await download.saveAs(path);
  return { name: download.suggestedFilename(), bytes: readFileSync(path) };
};

test('a what-if slider shows the number that /v1/score gives, to the bit', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await go('what-if');
  await page.waitForSelector('output[data-uplift]');
  const before = await uplift(page);
  const slider = page.locator('.fields input[type=range]').first();
  await slider.focus();
  for (let i = 0; i < 25; i++) await page.keyboard.press('ArrowRight');
  await page.waitForFunction((old) => Number(document.querySelector('output[data-uplift]')?.getAttribute('data-uplift')) !== old, before);
  await page.waitForTimeout(300);
  const row = await rowOf(page);
  const { scores } = await ask(server.url, '/v1/score', { rows: [row] });
  assert.equal(await uplift(page), scores[0].cate);
  // The address carries the person: whoever opens it sees the same number.
  const again = await visit(opened, server.url);
  await again.go(page.url().split('#/')[1]);
  await again.page.waitForSelector('output[data-uplift]');
  assert.equal(await uplift(again.page), scores[0].cate);
  assert.deepEqual([...wrong, ...again.wrong], []);
  await again.close();
  await close();
});

test('a value outside the trial is answered with a warning, not in silence', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await go('what-if');
  await page.getByLabel('f0, exact value').fill('99999');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.warnings li');
  assert.match((await page.locator('.warnings').textContent()) ?? '', /f0/);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(wrong, []);
  await close();
});

test('two people stand side by side, each with their own answer', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await go('what-if');
  await page.getByRole('button', { name: 'Compare with a second' }).click();
  const slider = page.locator('.fields input[type=range]').nth(2);
  await slider.focus();
  await page.keyboard.press('End');
  await page.waitForFunction(() => document.querySelectorAll('output[data-uplift]').length === 2);
  await page.waitForTimeout(400);
  const [a, b] = await page.locator('output[data-uplift]').evaluateAll((all) => all.map((one) => Number(one.dataset.uplift)));
  const rowB = await rowOf(page);
  await page.getByRole('button', { name: 'Person A' }).click();
  const rowA = await rowOf(page);
  const { scores } = await ask(server.url, '/v1/score', { rows: [rowA, rowB] });
  assert.deepEqual([a, b], scores.map((score) => score.cate));
  assert.notDeepEqual(rowA, rowB);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(wrong, []);
  await close();
});

test('the budget page says what /v1/target says for the same prices', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await go('targeting?value=12&cost=0.25&people=80000');
  await page.waitForSelector('.sentence');
  const prices = { value_per_outcome: 12, cost_per_treatment: 0.25, population: 80000 };
  const money = (value) => `$${Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toFixed(2)}`.replace('$-', '−$');
  const best = await ask(server.url, '/v1/target', prices);
  assert.match((await page.locator('.sentence').textContent()) ?? '', new RegExp(`best ${Math.round(best.best.fraction * 100)} %`));
  assert.ok((await page.locator('.sentence').textContent())?.includes(money(best.best.profit.value)), money(best.best.profit.value));
  await page.getByLabel('Treat the best').fill('40');
  await page.waitForFunction(() => document.querySelector('.sentence')?.textContent?.includes('best 40 %'));
  const chosen = (await ask(server.url, '/v1/target', { ...prices, fraction: 0.4 })).chosen;
  const sentence = (await page.locator('.sentence').textContent()) ?? '';
  // A loss is said as one: "loses $170".
  for (const value of [Math.abs(chosen.profit.value), chosen.profit.lower, chosen.profit.upper]) assert.ok(sentence.includes(money(value)), `${sentence} says ${money(value)}`);
  await page.getByLabel('Budget (if there is one)').fill('3000');
  await page.getByRole('button', { name: 'Best within the budget' }).click();
  const within = (await ask(server.url, '/v1/target', { ...prices, budget: 3000 })).chosen;
  await page.waitForFunction((share) => document.querySelector('.sentence')?.textContent?.includes(`best ${share} %`), Math.round(within.fraction * 100));
  await page.getByLabel('Cost of treating').fill('a lot');
  assert.match((await page.locator('[role=alert]').textContent()) ?? '', /not a number/);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(wrong, []);
  await close();
});

/** Rows of the demo's trial as a CSV file, with a column of their own. */
async function people(n) {
  const { models } = await ask(server.url, '/v1/models');
  const columns = models.find((model) => model.name === 'criteo').schema.map((column) => column.name);
  const profile = (await ask(server.url, '/v1/reports?model=criteo')).profile.columns;
  const rows = Array.from({ length: n }, (_, i) => Object.fromEntries(columns.map((name, at) => {
    const { lower, upper } = profile.find((column) => column.name === name);
    return [name, lower + ((upper - lower) * ((i * (at + 3)) % n)) / n];
  })));
  const path = join(folder, `people-${n}.csv`);
  writeFileSync(path, `who,${columns.join(',')}\n${rows.map((row, i) => [`p${i}`, ...columns.map((name) => row[name])].join(',')).join('\n')}\n`);
  return { path, rows };
}

test('the list holds who is worth treating, best first', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  const { path, rows } = await people(200);
  await go('targeting?share=20');
  await page.getByLabel('The best 20 % of the file').check();
  const list = await saved(page, () => page.locator('#list-file').setInputFiles(path));
  const lines = list.bytes.toString().trimEnd().split('\n').map((line) => line.split(','));
  const { scores } = await ask(server.url, '/v1/score?model=criteo', { rows });
  const order = scores.map((score, i) => [score.cate, `p${i}`]).sort((a, b) => b[0] - a[0]);
  assert.equal(lines.length - 1, 40);
  assert.equal(lines[1][0], order[0][1], 'the best person is first');
  const at = lines[0].indexOf('score');
  const given = lines.slice(1).map((line) => Number(line[at]));
  assert.deepEqual(given, [...given].sort((a, b) => b - a));
  assert.equal(given.at(-1), order[39][0]);
  assert.match((await page.locator('.done').textContent()) ?? '', /40 people to treat/);
  assert.deepEqual(wrong, []);
  await close();
});

test('a file of people is scored as the API scores them', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  const { path, rows } = await people(60);
  await go('what-if');
  await page.locator('#score-file').setInputFiles(path);
  await page.waitForSelector('[data-chart="predicted-effects"] canvas');
  assert.match((await page.locator('.summary').textContent()) ?? '', /60 rows scored/);
  const file = await saved(page, () => page.getByRole('button', { name: 'Save the scores' }).click());
  const lines = file.bytes.toString().trimEnd().split('\n').map((line) => line.split(','));
  const { scores } = await ask(server.url, '/v1/score?model=criteo', { rows });
  const at = lines[0].indexOf('cate');
  assert.deepEqual(lines.slice(1).map((line) => Number(line[at])), scores.map((score) => score.cate));
  const broken = join(folder, 'broken.csv');
  writeFileSync(broken, 'nothing,useful\n1,2\n');
  await page.locator('#score-file').setInputFiles(broken);
  await page.waitForSelector('section .problem');
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(wrong.filter((line) => !/status of 4\d\d/.test(line)), []);
  await close();
});

test('a chart leaves as picture, table and data', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await go('deciles');
  const chart = page.locator('[data-chart="deciles"]');
  const save = (name) => saved(page, async () => {
    await chart.locator('summary').click();
    await chart.getByRole('button', { name }).click();
  });
  const png = await save('Picture (PNG)');
  assert.equal(png.bytes.subarray(1, 4).toString(), 'PNG');
  assert.ok(png.bytes.readUInt32BE(16) >= 1600, 'wide enough for print');
  const { evaluation } = await ask(server.url, '/v1/reports?model=criteo');
  const effects = evaluation.contrasts[0].deciles.map((decile) => decile.effect.value);
  const csv = (await save('Table (CSV)')).bytes.toString().trimEnd().split('\n');
  assert.equal(csv.length, effects.length + 1);
  const json = JSON.parse((await save('Data (JSON)')).bytes.toString());
  assert.deepEqual(json.rows.map((row) => row['Measured effect']), effects);
  assert.deepEqual(wrong, []);
  await close();
});

test('live figures move when somebody asks for scores', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await go('live');
  await page.waitForSelector('[data-chart="rates"] canvas');
  const { rows } = await people(60);
  for (let i = 0; i < 10; i++) await ask(server.url, '/v1/score?model=criteo', { rows });
  await page.waitForSelector('section[aria-labelledby=last] tbody tr', { timeout: 10_000 });
  assert.deepEqual(await violations(page), []);
  await page.getByRole('button', { name: 'Pause' }).click();
  assert.match((await page.locator('main').textContent()) ?? '', /paused/);
  assert.deepEqual(wrong, []);
  await close();
});

test('another model is promoted and rolled back by keyboard alone', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await go('models');
  const active = async () => (await ask(server.url, '/v1/models')).active;
  await page.locator('article', { hasText: 'thornton' }).getByRole('button', { name: 'Promote' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press('Escape');
  assert.equal(await active(), 'criteo', 'Escape promotes nothing');
  await page.locator('article', { hasText: 'thornton' }).getByRole('button', { name: 'Promote' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').getByRole('button', { name: 'Yes' }).focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('.said')?.textContent?.includes('thornton answers now'));
  assert.equal(await active(), 'thornton');
  await page.getByRole('button', { name: /Roll back/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Yes' }).click();
  await page.waitForFunction(() => document.querySelector('.said')?.textContent?.includes('criteo answers again'));
  assert.equal(await active(), 'criteo');
  await page.locator('article', { hasText: 'criteo' }).getByRole('button', { name: 'Card' }).click();
  await page.waitForSelector('.model-card h3');
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(wrong, []);
  await close();
});

test('the menu works without a mouse, and the content can be skipped to', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url, { size: 'phone' });
  await go('overview');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Skip to the content');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'main');
  await page.getByRole('button', { name: 'Menu' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'Deciles' }).focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.title.startsWith('Deciles'));
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'main', 'the reader starts at the new page');
  await page.locator('main .term button').first().focus();
  assert.ok(await page.locator('main [role=tooltip].open').isVisible());
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('main [role=tooltip].open').count(), 0);
  assert.deepEqual(wrong, []);
  await close();
});

test('a server that is gone is said, and found again when it is back', async () => {
  const { page, wrong, go, close } = await visit(opened, server.url);
  await go('what-if');
  await page.waitForSelector('output[data-uplift]');
  await server.stop();
  await page.getByLabel('f1, exact value').fill('1');
  await page.keyboard.press('Enter');
  await page.waitForSelector('main [role=alert]');
  assert.match((await page.locator('main [role=alert]').first().textContent()) ?? '', /does not answer/);
  assert.deepEqual(await violations(page), []);
  server = await serve(args, port);
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.waitForSelector('output[data-uplift]');
  assert.deepEqual(wrong.filter((line) => !/ERR_CONNECTION_REFUSED|Failed to load resource/.test(line)), []);
  await close();
});

test('a server with keys asks for one, and a key that may only read cannot promote', async () => {
  const fresh = JSON.parse(impactiq('key', 'shop', '--role', 'read', '--format', 'json'));
  const keys = join(folder, 'keys');
  writeFileSync(keys, `${fresh.line}\n`);
  const locked = await serve(['-m', `criteo=${join(made, 'criteo/model')}`, '-m', `thornton=${join(made, 'thornton/model')}`, '--keys', keys, '--log', 'none'], await freePort());
  const { page, wrong, close } = await visit(opened, locked.url);
  await page.goto(`${locked.url}/#/models`);
  await page.getByLabel('API key').fill('iq_wrong');
  await page.getByRole('button', { name: 'Continue' }).click();
  await page.waitForFunction(() => document.querySelector('#key-note')?.textContent?.includes('not accepted'));
  assert.deepEqual(await violations(page), []);
  await page.getByLabel('API key').fill(fresh.key);
  await page.keyboard.press('Enter');
  await page.waitForSelector('article');
  assert.ok(await page.locator('article', { hasText: 'thornton' }).getByRole('button', { name: 'Promote' }).isDisabled());
  await page.getByRole('link', { name: 'Live' }).click();
  await page.waitForSelector('[data-chart="rates"] canvas');
  assert.equal(await page.evaluate(() => localStorage.getItem('impactiq-key')), null, 'a key is never kept beyond its tab');
  assert.deepEqual(wrong.filter((line) => !/status of 401/.test(line)), []);
  await close();
  await locked.stop();
});
