// What each ranking metric means, and whose convention it follows.
import type { OutcomeKind, Unit } from '../numbers/format';
import { effectUnit } from '../numbers/format';

/** A metric in words. */
export interface MetricWords {
  label: string;
  meaning: string;
  unit: Unit;
  group: 'decide' | 'ranking' | 'top' | 'sklift' | 'causalml';
}

/** The groups of the metrics table, in reading order. */
export const METRIC_GROUPS: { key: MetricWords['group']; title: string; note: string }[] = [
  { key: 'decide', title: 'To decide by', note: 'Doubly robust, with honest intervals. If the interval contains zero, the ranking is not proven.' },
  { key: 'ranking', title: 'Ranking as a whole', note: 'Areas between the model’s curve and treating people at random.' },
  { key: 'top', title: 'Effect among the best', note: 'The measured effect in the share of people ranked highest.' },
  { key: 'sklift', title: 'As scikit-uplift computes it', note: 'For comparison with older reports only. Never compare numbers of different names.' },
  { key: 'causalml', title: 'As CausalML computes it', note: 'For comparison with older reports only. Never compare numbers of different names.' },
];

/** The words for a metric's contract name. */
export function metricWords(name: string, kind: OutcomeKind): MetricWords {
  const effect = effectUnit(kind);
  const exact: Record<string, MetricWords> = {
    rate_autoc: { label: 'Advantage of the ranking (AUTOC)', meaning: 'How much larger the effect is among people ranked high than on average, over all cut-offs alike.', unit: effect, group: 'decide' },
    rate_qini: { label: 'Advantage, weighted by size (RATE-Qini)', meaning: 'The same, with more weight on cut-offs that treat many people.', unit: effect, group: 'decide' },
    qini_per_capita: { label: 'Qini per person', meaning: 'Area between the Qini curve and the straight line of random targeting, per person.', unit: effect, group: 'ranking' },
    qini_counts: { label: 'Qini in outcomes (Radcliffe)', meaning: 'The same area in additional outcomes among the treated of these rows. Grows with the number of rows.', unit: 'count', group: 'ranking' },
  };
  const known = exact[name];
  if (known) return known;
  const top = /^(uplift|toc)_at_(\d+)(_by_group|_aipw)?$/.exec(name);
  if (top) {
    const [, what, k, how] = top;
    if (what === 'toc') {
      return { label: `Advantage of the best ${k} %`, meaning: `How much more the best ${k} % gain than the average person.`, unit: effect, group: 'decide' };
    }
    const manner = how === '_by_group' ? ', taken within each arm' : how === '_aipw' ? ', doubly robust' : '';
    return { label: `Effect among the best ${k} %${manner}`, meaning: `The measured effect among the ${k} % ranked highest${manner}.`, unit: effect, group: 'top' };
  }
  const group = name.includes('causalml') ? 'causalml' : name.includes('sklift') ? 'sklift' : 'ranking';
  const counts = /^(qini|auuc)_causalml$/.test(name);
  const isEffect = /^(uplift_at|weighted_average)/.test(name);
  return { label: name, meaning: 'Under this library’s own convention.', unit: counts ? 'count' : isEffect ? effect : 'plain', group };
}
