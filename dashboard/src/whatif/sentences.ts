// The what-if answer in words.
import type { HeldOutGroup, SimulatedContrast } from '../api/contract';
import { interval, known, level, thousands, withUnit, type OutcomeKind, type Unit } from '../numbers/format';

/** What the sentences need to know about the model. */
export interface About {
  outcome: string;
  kind: OutcomeKind;
  unit: Unit;
  arm: string;
  model: { arms: string[] };
}

/** What is expected with and without the treatment, and what that means. */
export function answerSentence(about: About, contrast: SimulatedContrast, means: readonly { arm: string; mean: number | null }[], bestArm: string | null): string {
  const control = about.model.arms[0];
  const without = means.find((arm) => arm.arm === control)?.mean;
  const treated = means.find((arm) => arm.arm === contrast.arm)?.mean;
  const best = bestArm === null ? '' : bestArm === control ? ' Nothing beats doing nothing here.' : about.model.arms.length > 2 ? ` The best for this person is arm ${bestArm}.` : '';
  if (!known(without) || !known(treated)) return `For people like this one the treatment changes “${about.outcome}” by ${withUnit(contrast.uplift, about.unit)}.${best}`;
  return `People like this one reach “${about.outcome}” ${about.kind === 'binary' ? 'with a probability of' : 'at'} ${level(without, about.kind)} without the treatment and ${level(treated, about.kind)} with it.${best}`;
}

const ORDER = ['highest', 'second highest', 'third highest'];

/** The measured effect of the people scored alike: what can be promised. */
export function groupSentence(group: HeldOutGroup, unit: Unit, outcome: string): string {
  const rank = group.of === 10 ? `tenth ${group.decile === group.of ? 'ranked lowest' : `ranked ${ORDER[group.decile - 1] ?? `${group.decile}th`}`}` : `group ${group.decile} of ${group.of}`;
  if (!known(group.effect.value)) return `The score falls into the ${rank} of the held-out people; its effect could not be measured${group.effect.reason ? `: ${group.effect.reason}` : ''}.`;
  const clear = known(group.effect.lower) && known(group.effect.upper) && (group.effect.lower > 0 || group.effect.upper < 0);
  return `What can be promised: this score falls into the ${rank}. Those ${known(group.effect.n) ? `${thousands(group.effect.n)} ` : ''}held-out people gained ${withUnit(group.effect.value, unit)} (${interval(group.effect, unit)}), measured${clear ? '' : `: not clearly different from no effect on ${outcome}`}.`;
}
