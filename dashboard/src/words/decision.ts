// The decision in plain words: what a marketer should do, and what it rests on.
// Everything here is a sentence made of measured numbers; nothing is fetched, nothing is guessed.
import { effectUnit, interval, known, percent, plain, thousands, withUnit, type Estimate, type OutcomeKind } from '../numbers/format';

/** How a sentence is coloured: the word itself always says it too. */
export type Tone = 'good' | 'caution' | 'bad' | 'unknown';

/** What the decision rests on. */
export interface Evidence {
  outcome: string;
  kind: OutcomeKind;
  arm: string;
  ate: Estimate | null;
  controlMean: Estimate | null;
  /** rate_autoc on held-out rows; null when nobody evaluated the model. */
  ranking: Estimate | null;
  /** Why rate_autoc has no value although the model was evaluated: every score is equal. */
  constant: boolean;
  /** Whether every gate of `check` passed; null when `check` was not run. */
  healthy: boolean | null;
  /** The gates that failed, in plain words. */
  failedGates: string[];
  randomised: boolean;
}

/** A decision: one word to act on, one sentence, and the reasons. */
export interface Decision {
  tone: Tone;
  headline: string;
  reasons: string[];
}

type Sign = 'positive' | 'negative' | 'unclear' | 'unknown';

function signOf(estimate: Estimate | null): Sign {
  if (!estimate || !known(estimate.value) || !known(estimate.lower) || !known(estimate.upper)) return 'unknown';
  if (estimate.lower > 0) return 'positive';
  return estimate.upper < 0 ? 'negative' : 'unclear';
}

/** "Out of 1,000 people treated, about 11 more …" in counts anybody can picture. */
export function effectSentence(evidence: Pick<Evidence, 'ate' | 'controlMean' | 'kind' | 'outcome'>): string {
  const { ate, controlMean, kind, outcome } = evidence;
  const sign = signOf(ate);
  if (!ate || sign === 'unknown' || !known(ate.value) || !known(ate.lower) || !known(ate.upper)) {
    return `The effect on ${outcome} cannot be told${ate?.reason ? `: ${ate.reason}` : ''}.`;
  }
  if (kind !== 'binary') {
    const anyway = known(controlMean?.value) ? ` Without the treatment the average is ${plain(controlMean.value)}.` : '';
    const lead = sign === 'unclear' ? 'No clear change' : ate.value > 0 ? 'More' : 'Less';
    return `${lead}: treating a person changes ${outcome} by ${withUnit(ate.value, effectUnit(kind))} on average (${interval(ate, effectUnit(kind))}).${anyway}`;
  }
  const rare = Math.abs(ate.value) < 0.003;
  const thousand = (value: number) => {
    const people = Math.abs(value) * 1000;
    // Rare outcomes keep a decimal, else a small effect would read as none.
    return rare && people > 0 ? people.toFixed(1) : thousands(people);
  };
  const anyway = known(controlMean?.value) ? ` Without it, ${thousand(controlMean.value)} of 1,000 do so anyway.` : '';
  if (sign === 'unclear') {
    return `Out of 1,000 people treated, between ${thousand(ate.lower)} fewer and ${thousand(ate.upper)} more reach “${outcome}”: no clear effect.${anyway}`;
  }
  const [least, most] = ate.value > 0 ? [ate.lower, ate.upper] : [ate.upper, ate.lower];
  const direction = ate.value > 0 ? 'more' : 'fewer';
  return `Out of 1,000 people treated, about ${thousand(ate.value)} ${direction} reach “${outcome}” because of it (between ${thousand(least)} and ${thousand(most)}).${anyway}`;
}

/** Whether the ranking is worth something, in a sentence. */
export function rankingSentence(evidence: Evidence): string {
  if (evidence.constant) return 'The model gives everybody the same effect, so there is nobody to prefer.';
  switch (signOf(evidence.ranking)) {
    case 'positive':
      return 'The ranking finds people who respond more: on people the model has not seen, this is clear with 95 % confidence.';
    case 'negative':
      return 'The ranking is upside down: people ranked high respond less. Do not target by these scores.';
    case 'unclear':
      return 'There is no evidence that the ranking beats choosing people at random.';
    default:
      return 'Whether the ranking finds the right people has not been measured yet.';
  }
}

/** What to do, from the average effect, the ranking and the trial's health. */
export function decide(evidence: Evidence): Decision {
  const effect = signOf(evidence.ate);
  const ranking = evidence.constant ? 'unclear' : signOf(evidence.ranking);
  const reasons = [effectSentence(evidence), rankingSentence(evidence), healthSentence(evidence)];
  if (!evidence.randomised) {
    reasons.push('Nobody drew lots here: all of this holds only if every reason for treating somebody is among the columns.');
  }
  if (evidence.healthy === false) {
    return { tone: 'bad', headline: 'Do not act on this yet: the experiment did not pass its health checks.', reasons };
  }
  const [tone, headline] = verdict(effect, ranking);
  return { tone, headline, reasons };
}

function healthSentence(evidence: Evidence): string {
  if (evidence.healthy === null) return 'The experiment’s health has not been checked.';
  if (evidence.healthy) return 'The experiment passed its health checks.';
  return `Failed: ${evidence.failedGates.join(', ')}.`;
}

function verdict(effect: Sign, ranking: Sign): [Tone, string] {
  if (effect === 'unknown') return ['unknown', 'There is no effect to decide on yet.'];
  if (ranking === 'negative') return ['bad', 'Do not target by these scores: they rank people the wrong way round.'];
  if (effect === 'positive') {
    if (ranking === 'positive') return ['good', 'It works, and for some people much more than for others: treat the best first.'];
    if (ranking === 'unclear') return ['good', 'It works, about equally for everybody: treat everyone it pays for.'];
    return ['caution', 'It works on average. Evaluate the model before choosing whom to treat.'];
  }
  if (effect === 'negative') {
    return ranking === 'positive'
      ? ['caution', 'It does harm on average. If at all, treat only the few ranked highest.']
      : ['bad', 'It does harm: do not treat.'];
  }
  return ranking === 'positive'
    ? ['caution', 'No clear effect on average, but some people do respond: treat only those ranked highest.']
    : ['caution', 'No clear effect: the trial cannot tell it from nothing.'];
}

/** Lift in a sentence: what the effect is as a share of what happens anyway. */
export function liftSentence(lift: Estimate | null, outcome: string): string {
  if (!lift || !known(lift.value)) return lift?.reason ?? 'The lift cannot be told.';
  const range = known(lift.lower) && known(lift.upper) ? ` (${percent(lift.lower)} to ${percent(lift.upper)})` : '';
  return `${percent(Math.abs(lift.value))} ${lift.value >= 0 ? 'more' : 'less'} “${outcome}” than without the treatment${range}.`;
}
