// One sentence under each chart, made of the numbers it shows.
import type { EvaluationContrast } from '../api/contract';
import { interval, known, share, thousands, withUnit, type OutcomeKind, type Unit } from '../numbers/format';

/** What the sentences need to know. */
export interface Told {
  unit: Unit;
  kind: OutcomeKind;
  outcome: string;
  evaluation: EvaluationContrast | null;
}

/** The best and the last tenth side by side. */
export function decileSummary({ evaluation, unit }: Told): string {
  const first = evaluation?.deciles[0]?.effect;
  const last = evaluation?.deciles.at(-1)?.effect;
  if (!first || !last || !known(first.value) || !known(last.value)) return 'The measured effect in each tenth of the people, ranked by predicted effect.';
  return `On people the model has not seen, the tenth ranked highest gains ${withUnit(first.value, unit)} (${interval(first, unit)}), the tenth ranked lowest ${withUnit(last.value, unit)} (${interval(last, unit)}).`;
}

/** How much of the whole the best share brings. */
export function gainSummary({ evaluation }: Told, at = 0.3): string {
  const curve = evaluation?.curves.gain ?? [];
  const end = curve.at(-1)?.value;
  const there = curve.find((point) => point.fraction >= at - 1e-9);
  if (!known(end) || !there || end <= 0) return 'Additional outcomes when only the best share is treated; the dashed line is treating people at random.';
  return `Treating the best ${share(there.fraction)} brings ${share(there.value / end)} of what treating everybody brings; at random it would be ${share(there.fraction)}.`;
}

/** Whether the TOC stays above zero. */
export function tocSummary({ evaluation, unit }: Told): string {
  const point = evaluation?.curves.toc?.find((entry) => entry.fraction >= 0.1 - 1e-9);
  if (!point) return 'How much more the best share gains than the average person.';
  const clear = known(point.lower) && point.lower > 0;
  return `The best ${share(point.fraction)} gain ${withUnit(point.value, unit)} more than the average person${clear ? '' : ', which may be chance: the band contains zero'}.`;
}

/** The Qini curve in a sentence. */
export function qiniSummary({ evaluation, outcome, kind }: Told): string {
  const curve = evaluation?.curves.qini ?? [];
  const there = curve.find((point) => point.fraction >= 0.3 - 1e-9);
  const end = curve.at(-1);
  if (!there || !end) return 'Additional outcomes among the treated, best first.';
  const what = kind === 'binary' ? `additional “${outcome}”` : `more of “${outcome}”`;
  return `Among the treated of these rows, the best ${share(there.fraction)} bring ${thousands(there.value)} ${what}; everybody together ${thousands(end.value)}.`;
}
