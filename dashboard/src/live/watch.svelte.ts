// Asks the stream again and again, and keeps what it said last when it is away.
import { api, Problem } from '../api/client';
import type { StreamReport } from '../api/stream';
import { momentOf, type Moment } from './stream';

const EVERY = 2000;
/** Ten minutes of moments. */
const KEPT = 300;

/** Answers that asking again does not change: no stream here, or no right to see it. */
function isFinal(problem: Problem): boolean {
  return [401, 403, 404].includes(problem.status);
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      // The signal lives as long as the page: it is not to remember every pause.
      signal.removeEventListener('abort', end);
      done();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener('abort', end);
  });
}

/** The stream as this page knows it. */
export class StreamWatch {
  report = $state.raw<StreamReport | null>(null);
  heard = $state.raw<string | null>(null);
  problem = $state.raw<Problem | null>(null);
  moments = $state.raw<Moment[]>([]);

  /** Asks until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#take(await api.stream(signal));
      } catch (cause) {
        if (signal.aborted) return;
        this.problem = cause instanceof Problem ? cause : new Problem(0, 'unreadable', `The stream’s report could not be read: ${String(cause)}`);
        if (isFinal(this.problem)) return;
      }
      await pause(EVERY, signal);
    }
  }

  #take(report: StreamReport): void {
    const time = new Date().toISOString();
    this.moments = [...this.moments.slice(1 - KEPT), momentOf(report, this.report, time)];
    this.report = report;
    this.heard = time;
    this.problem = null;
  }
}
