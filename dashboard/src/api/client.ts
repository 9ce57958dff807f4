// Requests to the server the page came from, and nothing else. Answers that are errors
// arrive as `Problem` with the server's own words (RFC 9457).
import type { ModelDetail, ModelList, Reports, Row, ServerInfo, Simulation, SweepRequest, Targeting, Tick } from './contract';
import type { StreamReport } from './stream';

/** An answer that is an error, or no answer at all (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string | null = null,
  ) {
    super(message);
    this.name = 'Problem';
  }
}

const KEY = 'impactiq-key';

/** The API key of this browser tab; it is forgotten when the tab closes. */
export const apiKey = {
  read: (): string | null => sessionStorage.getItem(KEY),
  write: (key: string): void => sessionStorage.setItem(KEY, key),
  forget: (): void => sessionStorage.removeItem(KEY),
};

async function problemOf(response: Response): Promise<Problem> {
  const fallback = `The server answered ${response.status}${response.statusText ? ` ${response.statusText}` : ''}.`;
  try {
    const body = (await response.json()) as { detail?: string; title?: string; code?: string; hint?: string };
    return new Problem(response.status, body.code ?? 'unknown', body.detail ?? body.title ?? fallback, body.hint ?? null);
  } catch {
    return new Problem(response.status, 'unknown', fallback);
  }
}

async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const key = apiKey.read();
  if (key) headers.set('authorization', `Bearer ${key}`);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === 'AbortError') throw cause;
    throw new Problem(0, 'unreachable', 'The server does not answer.', 'Is impactiq serve still running? This page tries again when you ask it to.');
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function json<T>(path: string, init?: RequestInit): Promise<T> {
  return (await (await send(path, init)).json()) as T;
}

function post(body: unknown): RequestInit {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

function query(parameters: Record<string, string | number | boolean | null | undefined>): string {
  const kept = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  const text = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
  return text ? `?${text}` : '';
}

/** The routes the pages use. */
export const api = {
  server: () => json<ServerInfo>('/v1/server'),
  models: () => json<ModelList>('/v1/models'),
  model: (name: string) => json<ModelDetail>(`/v1/models/${encodeURIComponent(name)}`),
  promote: (name: string) => json<{ active: string }>(`/v1/models/${encodeURIComponent(name)}/promote`, { method: 'POST' }),
  rollback: () => json<{ active: string }>('/v1/models/rollback', { method: 'POST' }),
  refresh: () =>
    json<{ loaded: string[]; unchanged: string[]; failed: { name: string; detail: string }[] }>('/v1/models/refresh', { method: 'POST' }),
  reports: (model: string) => json<Reports>(`/v1/reports${query({ model })}`),
  simulate: (model: string, rows: Row[], sweep: SweepRequest | null, signal?: AbortSignal) =>
    json<Simulation>(`/v1/simulate${query({ model })}`, { ...post({ rows, sweep }), ...(signal ? { signal } : {}) }),
  target: (model: string, asked: { outcome: string; arm: string; value_per_outcome: number; cost_per_treatment: number; population?: number }) =>
    json<Targeting>(`/v1/target${query({ model })}`, post(asked)),
  /** Rows of a CSV file that are worth treating, best first, as CSV. */
  targetList: async (asked: { model: string; outcome: string; arm: string; threshold?: number; fraction?: number; all?: boolean }, csv: Blob) =>
    (await send(`/v1/target/list${query(asked)}`, { method: 'POST', headers: { 'content-type': 'text/csv' }, body: csv })).blob(),
  /** What the stream of events that this server was told of says. */
  stream: (signal?: AbortSignal) => json<StreamReport>('/v1/stream', signal ? { signal } : {}),
  /** A CSV file with the score columns behind its own. */
  scoreCsv: async (model: string, csv: Blob) =>
    (await send(`/v1/score${query({ model })}`, { method: 'POST', headers: { 'content-type': 'text/csv' }, body: csv })).text(),
};

/** Splits a stream of server-sent events into the data of its `tick`s. */
export function eventParser(onData: (data: string) => void): (chunk: string) => void {
  let rest = '';
  return (chunk) => {
    rest += chunk.replaceAll('\r\n', '\n');
    for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
      const lines = rest.slice(0, end).split('\n');
      rest = rest.slice(end + 2);
      const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trimStart());
      if (data.length > 0) onData(data.join('\n'));
    }
  };
}

/** Follows `/v1/live` until the signal aborts; throws a `Problem` when the line breaks. */
export async function follow(onTick: (tick: Tick) => void, signal: AbortSignal): Promise<void> {
  const response = await send('/v1/live', { headers: { accept: 'text/event-stream' }, signal });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) throw new Problem(0, 'unreachable', 'The server sent no live figures.');
  const parse = eventParser((data) => onTick(JSON.parse(data) as Tick));
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parse(value);
    }
  } catch (cause) {
    if (signal.aborted) return;
    throw cause instanceof Problem ? cause : new Problem(0, 'unreachable', 'The live connection broke.');
  }
  if (!signal.aborted) throw new Problem(0, 'unreachable', 'The server ended the live connection.');
}
