// The few words of the field the pages cannot avoid, explained where they stand.

/** Terms with their tooltip. */
export const TERMS = {
  effect: 'What the treatment changes: the outcome with it minus the outcome without it. Also called uplift.',
  interval: '95 % interval: the range the data cannot rule out. Repeat the trial often, and 95 of 100 such ranges hold the truth.',
  lift: 'The effect as a share of what happens anyway.',
  incremental: 'Outcomes that would not have happened without the treatment.',
  pp: 'Percentage points: +1 pp means that of 100 people one more acts.',
  holdout: 'People the model never saw while it learned, kept aside to judge it.',
  arm: 'One of the things that could be done to a person. One arm is the control.',
  control: 'The people nothing was done to: what happens anyway.',
  smd: 'Difference between two arms in standard deviations. Below 0.1 is usually harmless.',
  qini: 'Going right, more people are treated, best first; up are the additional outcomes. The higher above the straight line, the earlier the ranking finds them.',
  gain: 'Additional outcomes per person of the whole group when only the best share is treated.',
  toc: 'Targeting operator characteristic: how much more the best share gains than the average person.',
  autoc: 'The area under that curve: the ranking’s advantage over all cut-offs. Zero means no better than chance.',
  decile: 'A tenth of the people, ordered by predicted effect.',
  calibration: 'Whether people predicted to gain 2 points really gain 2 points on average.',
  propensity: 'The probability of getting an arm.',
  aipw: 'An average that uses outcome models and assignment probabilities, and is right when either is.',
  difference_in_means: 'The plain comparison of the two arms.',
  lin: 'The comparison after a regression on the features removed chance differences.',
  ipw: 'The comparison weighted by the assignment probabilities.',
  tmle: 'Targeted maximum likelihood: outcome models corrected towards the effect itself.',
  drift: 'How far the rows scored now differ from those the model was trained on (population stability index). An alarm means: more than chance explains for that many rows, and far enough to matter.',
  support: 'Whether the trial had people like this one. Outside, the model extrapolates.',
  every_look: 'This range may be looked at as often as you like. The chance that it ever excludes the truth, at any look from the first to the last, is as small as an ordinary range allows for a single look.',
  dead_letter: 'An event that could not be scored. It is put aside with its reason, and the stream goes on.',
  lag: 'Events that have arrived and are not yet scored and stored.',
  commit: 'From the moment an event arrived at the broker until its score was stored for good.',
  promised: 'The effect that was measured on held-out people when the model was evaluated.',
  waiting: 'Events whose outcome may still come. They count once their time window has closed.',
  assignment: 'Whether as many people are treated as the recorded probabilities say (sample ratio). The p-value may be looked at at any time; a small one means: chance does not explain the difference.',
  decay: 'The effect among the people ranked best, beside the promise. It starts anew every so many events, so that a good past hides no bad present.',
  p95: '95 of 100 answers are at least this fast.',
} as const;

/** The name of a term. */
export type TermName = keyof typeof TERMS;

/** Plain names of the average-effect estimators. */
export const ESTIMATORS: Record<string, { label: string; term: TermName }> = {
  difference_in_means: { label: 'Difference in means', term: 'difference_in_means' },
  lin: { label: 'Lin regression', term: 'lin' },
  aipw: { label: 'AIPW (doubly robust)', term: 'aipw' },
  ipw: { label: 'Weighted by probability', term: 'ipw' },
  tmle: { label: 'TMLE', term: 'tmle' },
};
