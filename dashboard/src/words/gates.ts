// The health gates as questions a reader can answer, and what a failure means.

/** A gate of `check`, explained. */
export interface GateWords {
  title: string;
  question: string;
  failure: string;
  /** What `value` is, for the number's label. */
  measures: string;
  format: 'p' | 'smd' | 'share' | 'count' | 'effect';
}

const WORDS: Record<string, GateWords> = {
  sample_ratio: {
    title: 'Sample ratio',
    question: 'Do the arms have the sizes the design says?',
    failure: 'Rows were lost in one arm more than in another. Find out where before anything else.',
    measures: 'Chance of sizes at least this odd (p-value)',
    format: 'p',
  },
  post_treatment: {
    title: 'Only earlier knowledge',
    question: 'Is every feature known before the treatment?',
    failure: 'The treatment moves a feature. Name it under roles.post_treatment and train again.',
    measures: 'Features moved by the treatment',
    format: 'count',
  },
  balance: {
    title: 'Balance',
    question: 'Were the arms alike before the treatment?',
    failure: 'A feature differs by more than the limit: a broken draw, a column known only afterwards, or, in a small trial, chance.',
    measures: 'Largest difference, in standard deviations',
    format: 'smd',
  },
  joint_balance: {
    title: 'Joint balance',
    question: 'Taken together, are the differences no more than chance?',
    failure: 'Chance does not explain the differences. Do not trust the effects.',
    measures: 'Chance of differences at least this large (p-value)',
    format: 'p',
  },
  overlap: {
    title: 'Overlap',
    question: 'Could every person have been in either arm?',
    failure: 'Some people could only have been in one arm. Leave them out.',
    measures: 'Smallest probability of an arm',
    format: 'share',
  },
  power: {
    title: 'Power',
    question: 'Can the trial see effects that matter?',
    failure: 'It never fails; it tells what this trial can see.',
    measures: 'Smallest effect usually found',
    format: 'effect',
  },
};

/** The words of a gate; a gate this version does not know speaks for itself. */
export function gateWords(name: string): GateWords {
  return WORDS[name] ?? {
    title: name.replaceAll('_', ' '),
    question: 'A check of the experiment.',
    failure: 'The value is beyond its limit.',
    measures: 'Value',
    format: 'smd',
  };
}
