// What the browser tests stand on: the real binary, the demo's models, a real browser.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
const repository = resolve(here, '../../..');
const target = process.env.CARGO_TARGET_DIR ?? join(homedir(), '.cache/impactiq-target');
export const binary = process.env.IMPACTIQ ?? join(target, 'release/impactiq');
const axe = readFileSync(join(here, '../../node_modules/axe-core/axe.min.js'), 'utf8');

export const SIZES = { desktop: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } };
export const PAGES = ['overview', 'health', 'quality', 'deciles', 'targeting', 'what-if', 'live', 'models'];

/** Runs the binary to its end; what it says is in the error when it fails. */
export function impactiq(...args) {
  const ran = spawnSync(binary, args, { cwd: repository, encoding: 'utf8' });
  assert.equal(ran.status, 0, `impactiq ${args.join(' ')}\n${ran.stdout}\n${ran.stderr}`);
  return ran.stdout;
}

/** A folder of this run's own; gone at its end. */
export function scratch() {
  const folder = mkdtempSync(join(tmpdir(), 'impactiq-browser-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The demo's output: the repository's when it is there, else made now. */
export function demo(folder) {
  assert.ok(existsSync(binary), `${binary} is missing: make build`);
  const made = process.env.IMPACTIQ_DEMO ?? join(repository, 'demo-output');
  const fresh = join(folder, 'demo-output');
  const complete = (output) => ['criteo', 'thornton'].every((name) => existsSync(join(output, name, 'model/reports/evaluation.json')));
  for (const output of [made, fresh]) if (complete(output)) return output;
  const ran = spawnSync(binary, ['demo', '--output', fresh], { cwd: repository, encoding: 'utf8', env: { ...process.env, CI: 'true' } });
  assert.equal(ran.status, 0, `impactiq demo\n${ran.stdout}\n${ran.stderr}`);
  return fresh;
}

/** A port nobody listens on, so that a server can be stopped and started at one address. */
export async function freePort() {
  const probe = createServer();
  await new Promise((done) => probe.listen(0, '127.0.0.1', done));
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}

/** The program with these words, what it said so far, and its orderly end. */
function start(words) {
  const child = spawn(binary, words, { cwd: repository, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stdout.on('data', (data) => (said += data));
  child.stderr.on('data', (data) => (said += data));
  const ended = new Promise((done) => child.on('exit', done));
  process.on('exit', () => child.kill('SIGKILL'));
  const stop = async () => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    await ended;
    clearTimeout(timer);
  };
  return { child, said: () => said, stop };
}

/** The server, until `stop`. */
export async function serve(args, port) {
  const { child, said, stop } = start(['serve', '--listen', `127.0.0.1:${port}`, ...args]);
  const url = `http://127.0.0.1:${port}`;
  const patience = Date.now() + 60_000;
  for (;;) {
    const ready = await fetch(`${url}/health/ready`).then((answer) => answer.ok, () => false);
    if (ready) break;
    assert.equal(child.exitCode, null, `the server ended:\n${said()}`);
    assert.ok(Date.now() < patience, `the server is not ready after a minute:\n${said()}`);
    await new Promise((done) => setTimeout(done, 50));
  }
  return {
    url,
    said,
    stop,
  };
}

/** The demo's stream on a port, until `stop`: it scores its events and goes on telling of them. */
export async function demoStream(folder, events, port) {
  const { child, said, stop } = start(['demo', 'stream', '--output', folder, '--overwrite', '--events', String(events), '--http', `127.0.0.1:${port}`]);
  const report = () => fetch(`http://127.0.0.1:${port}/v1/stream`).then((answer) => (answer.ok ? answer.json() : null), () => null);
  const until = async (wanted, what) => {
    const patience = Date.now() + 180_000;
    for (;;) {
      const now = await report();
      if (now && wanted(now)) return now;
      assert.equal(child.exitCode, null, `the stream ended:\n${said()}`);
      assert.ok(Date.now() < patience, `${what} after three minutes:\n${said()}`);
      await new Promise((done) => setTimeout(done, 100));
    }
  };
  await until(() => true, 'no answer of the stream');
  const handled = ({ figures }) => figures.scored + Object.values(figures.dead).reduce((sum, n) => sum + n, 0);
  return {
    model: join(folder, 'criteo/model'),
    /** Its report once every event is scored and every window that can close has closed. */
    done: () => until((now) => handled(now) === events && now.live?.counts.n_events === now.figures.scored, 'the events are not scored'),
    stop,
  };
}

/** The browser of the machine. */
export function browser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

/** A page that remembers everything that went wrong in it, and every request that left the server. */
export async function visit(opened, url, { size = 'desktop', scheme = 'light' } = {}) {
  const context = await opened.newContext({ viewport: SIZES[size], colorScheme: scheme, reducedMotion: 'reduce', acceptDownloads: true });
  const page = await context.newPage();
  const wrong = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && wrong.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => wrong.push(`exception: ${error.message}`));
  page.on('request', (request) => !/^(blob|data):/.test(request.url()) && !request.url().startsWith(url) && wrong.push(`a request left the server: ${request.url()}`));
  return { page, wrong, go: (hash) => settle(page, `${url}/#/${hash}`), close: () => context.close() };
}

/** Goes to an address and waits until the page shows something for good. */
export async function settle(page, address) {
  await page.goto(address);
  await page.waitForFunction(() => document.querySelector('main h1, main [role=alert], main [data-state]') && !document.querySelector('main .loading'), undefined, { timeout: 15_000 });
  await page.waitForTimeout(150);
}

/** What axe finds wrong, in words. */
export async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return found.violations.flatMap((violation) => violation.nodes.map((node) => `${violation.id}: ${violation.help}\n    ${node.html.slice(0, 160)}\n    ${node.any.map((any) => any.message).join('; ')}`));
}

/** How many pixels of a canvas are not empty: a chart that drew nothing has none. */
export function inked(page, chart) {
  return page.locator(`[data-chart="${chart}"] canvas`).evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let n = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i] > 0) n++;
    return n;
  });
}

/** Asks the server itself. */
export async function ask(url, path, body) {
  const answer = await fetch(`${url}${path}`, body === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}
