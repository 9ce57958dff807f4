// From the stream's reports to what is shown: rates, the one estimate to read, whose outcome it is. Pure, so that it is tested without a stream.
import type { ModelEntry } from '../api/contract';
import type { LiveModel, LiveNow, StreamReport } from '../api/stream';
import { effectUnit, known, type Estimate, type OutcomeKind, type Unit } from '../numbers/format';

/** An effect followed live: the narrower interval once its burn-in is over, the exact one before. */
export interface Followed {
  exact: Estimate;
  asymptotic: Estimate;
}

/** The estimate to read, by the rule of the command line and of Prometheus. */
export function bestOf({ exact, asymptotic }: Followed): Estimate {
  return known(asymptotic.value) ? asymptotic : exact;
}

/** What a model of the stream is called here, and what its effect is measured in. */
export interface Watched {
  id: string;
  label: string;
  outcome: string;
  kind: OutcomeKind;
  unit: Unit;
}

/** The stream follows a model's first outcome. A model this server does not have gives plain numbers: what they are is not known here. */
export function watchedOf(id: string, current: StreamReport['model'], models: readonly ModelEntry[]): Watched {
  const entry = models.find((model) => model.id === id);
  const outcome = entry?.outcomes[0];
  const kind = outcome?.kind ?? 'continuous';
  const label = entry?.name ?? (current.id === id ? current.name : id.slice(0, 8));
  return { id, label, outcome: outcome?.name ?? 'the outcome', kind, unit: effectUnit(kind) };
}

/** Models with something to tell, the one that scores now first, then by how much is known. */
export function inOrder(live: LiveNow, current: string): LiveModel[] {
  return [...live.models].sort((a, b) => Number(b.model === current) - Number(a.model === current) || b.n - a.n);
}

/** Counters of a report that a later one is compared with. */
export type Counted = Pick<StreamReport, 'member' | 'uptime_seconds'> & { figures: Pick<StreamReport['figures'], 'scored'> };

/** Events scored a second between two reports, by the stream's own clock; null where they are not of one run. */
export function perSecond(before: Counted | null, now: Counted): number | null {
  if (!before || before.member !== now.member) return null;
  const seconds = now.uptime_seconds - before.uptime_seconds;
  const scored = now.figures.scored - before.figures.scored;
  return seconds > 0 && scored >= 0 ? scored / seconds : null;
}

/** The sum of counts by name. */
export function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, n) => sum + n, 0);
}

/** What is kept of a report for the charts over time. */
export interface Moment {
  time: string;
  rate: number | null;
  effects: Record<string, { value: number | null; lower: number | null; upper: number | null; predicted: number | null }>;
}

/** A report as a moment of the charts over time. */
export function momentOf(report: StreamReport, before: Counted | null, time: string): Moment {
  const effects = (report.live?.models ?? []).map((model) => {
    const { value, lower = null, upper = null } = bestOf(model);
    return [model.model, { value, lower, upper, predicted: model.predicted.predicted }] as const;
  });
  return { time, rate: perSecond(before, report), effects: Object.fromEntries(effects) };
}
