// How the uplift moves along one feature, in a sentence.
import type { SweepValue } from '../charts/series';
import { known, plain, withUnit, type Unit } from '../numbers/format';

/** Where it is lowest and highest, everything else kept. */
export function sweepSummary(feature: string, values: readonly SweepValue[], unit: Unit): string {
  const there = values.filter((point): point is SweepValue & { uplift: number } => known(point.uplift));
  const first = there[0];
  if (!first) return `The uplift along ${feature} could not be told.`;
  const low = there.reduce((a, b) => (b.uplift < a.uplift ? b : a), first);
  const high = there.reduce((a, b) => (b.uplift > a.uplift ? b : a), first);
  const name = (value: number | string) => (typeof value === 'number' ? plain(value) : `“${value}”`);
  if (high.uplift - low.uplift < 1e-12) return `Everything else kept, ${feature} does not move the uplift of this person: it stays at ${withUnit(first.uplift, unit)}.`;
  return `Everything else kept, the uplift goes from ${withUnit(low.uplift, unit)} at ${name(low.value)} to ${withUnit(high.uplift, unit)} at ${name(high.value)}. This is what the model believes, not a measurement.`;
}
