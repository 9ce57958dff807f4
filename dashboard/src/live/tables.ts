// The stream's tables: dead letters, lag, what was left out, models beside each other.
import type { LiveModel, LiveNow } from '../api/stream';
import { figure, words, type Table } from '../charts/spec';
import { interval, thousands, withUnit } from '../numbers/format';
import { COUNT_WORDS, REASONS } from './sentences';
import { bestOf, type Watched } from './stream';

/** Dead letters by reason, the most frequent first. */
export function deadTable(dead: Record<string, number>): Table {
  const sorted = Object.entries(dead).sort(([, a], [, b]) => b - a);
  return {
    columns: [{ name: 'Reason', numeric: false }, { name: 'The event', numeric: false }, { name: 'Events', numeric: true }],
    rows: sorted.map(([code, n]) => [words(code), words(REASONS[code] ?? ''), figure(n, thousands(n))]),
  };
}

/** Lag by partition, in the order of their numbers. */
export function lagTable(lag: Record<string, number>): Table {
  const sorted = Object.entries(lag).sort(([a], [b]) => Number(a) - Number(b));
  return {
    columns: [{ name: 'Partition', numeric: false }, { name: 'Events to go', numeric: true }],
    rows: sorted.map(([partition, n]) => [figure(Number(partition), partition), figure(n, thousands(n))]),
  };
}

/** What was left out of the live effect, and why; without what did not happen. */
export function leftOutTable(live: LiveNow): Table {
  const counts = { ...live.counts, ...live.not_followed };
  const rows = Object.entries(COUNT_WORDS).flatMap(([key, text]) => (counts[key] ? [[words(text), figure(counts[key], thousands(counts[key]))]] : []));
  return { columns: [{ name: 'What', numeric: false }, { name: 'How many', numeric: true }], rows };
}

/** All models of the stream beside each other. */
export function modelsTable(models: readonly LiveModel[], watched: (id: string) => Watched): Table {
  return {
    columns: [{ name: 'Model', numeric: false }, { name: 'Live effect', numeric: true }, { name: 'Range', numeric: true }, { name: 'Predicted', numeric: true }, { name: 'Events', numeric: true }],
    rows: models.map((model) => {
      const { label, unit } = watched(model.model);
      const best = bestOf(model);
      const predicted = model.predicted.predicted;
      return [words(label), figure(best.value, withUnit(best.value, unit)), words(interval({ ...best, reason: '–' }, unit)), figure(predicted, withUnit(predicted, unit)), figure(model.n, thousands(model.n))];
    }),
  };
}
