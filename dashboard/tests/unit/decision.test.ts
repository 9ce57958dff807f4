import { describe, expect, it } from 'vitest';
import { decide, effectSentence, type Evidence } from '../../src/words/decision';
import { planSentence } from '../../src/words/plan';
import { planAt } from '../../src/numbers/profit';

const estimate = (value: number, lower: number, upper: number) => ({ value, lower, upper, std_error: 1, n: 100 });
const BASE: Evidence = {
  outcome: 'visit',
  kind: 'binary',
  arm: '1',
  ate: estimate(0.0105698, 0.0090651, 0.0120745),
  controlMean: estimate(0.0385, 0.037, 0.04),
  ranking: estimate(0.0148, 0.0109, 0.0187),
  constant: false,
  healthy: true,
  failedGates: [],
  randomised: true,
};

describe('the decision', () => {
  it('says treat the best first only when the ranking is proven', () => {
    expect(decide(BASE).headline).toContain('treat the best first');
    expect(decide({ ...BASE, ranking: estimate(0.01, -0.01, 0.03) }).headline).toContain('treat everyone');
    expect(decide({ ...BASE, ranking: null, constant: true }).headline).toContain('treat everyone');
  });

  it('never recommends acting on an experiment that failed its checks', () => {
    const decision = decide({ ...BASE, healthy: false, failedGates: ['sample ratio'] });
    expect(decision.tone).toBe('bad');
    expect(decision.headline).toContain('Do not act');
    expect(decision.reasons.join(' ')).toContain('sample ratio');
  });

  it('refuses a ranking that is upside down', () => {
    expect(decide({ ...BASE, ranking: estimate(-0.02, -0.03, -0.01) }).tone).toBe('bad');
  });

  it('tells harm from nothing', () => {
    expect(decide({ ...BASE, ate: estimate(-0.01, -0.02, -0.005), ranking: null }).headline).toContain('harm');
    expect(decide({ ...BASE, ate: estimate(0.001, -0.002, 0.004), ranking: estimate(0, -1, 1) }).headline).toContain('No clear effect');
  });

  it('asks for an evaluation where there is none', () => {
    expect(decide({ ...BASE, ranking: null }).headline).toContain('Evaluate');
  });

  it('carries the caveat of data without lots', () => {
    expect(decide({ ...BASE, randomised: false }).reasons.join(' ')).toContain('Nobody drew lots');
  });
});

describe('the effect', () => {
  it('is told in people', () => {
    expect(effectSentence(BASE)).toBe('Out of 1,000 people treated, about 11 more reach “visit” because of it (between 9 and 12). Without it, 39 of 1,000 do so anyway.');
  });

  it('keeps a decimal where whole people would hide it', () => {
    expect(effectSentence({ ...BASE, ate: estimate(0.0008, 0.0003, 0.0013), controlMean: null })).toContain('about 0.8 more');
  });

  it('orders the bounds of harm by size', () => {
    expect(effectSentence({ ...BASE, ate: estimate(-0.05, -0.08, -0.02), controlMean: null })).toContain('about 50 fewer reach “visit” because of it (between 20 and 80)');
  });

  it('gives the reason when it cannot be told', () => {
    expect(effectSentence({ ...BASE, ate: { value: null, reason: 'one arm is empty' } })).toContain('one arm is empty');
  });
});

describe('a plan in words', () => {
  const prices = { population: 1000, value: 10, cost: 1, budget: null };
  it('says when a loss cannot be ruled out', () => {
    const plan = planAt({ fraction: 0.5, threshold: 0.1, n_targeted: 500, cost: 500, profit: estimate(100, -200, 400), incremental_outcomes: estimate(60, 30, 90), over_random: estimate(1, 0, 2) });
    expect(planSentence(plan, prices, '$', 'visit', 'binary')).toBe('Treat the best 50 %, 500 of 1,000 people. For $500 that brings about 60 people to “visit” who would not do so otherwise, and earns $100 beyond its cost (between −$200 and $400); a loss cannot be ruled out.');
  });
  it('says to treat nobody when nothing pays', () => {
    const plan = planAt({ fraction: 0, threshold: null, n_targeted: 0, cost: 0, profit: estimate(0, 0, 0), incremental_outcomes: estimate(0, 0, 0), over_random: estimate(0, 0, 0) });
    expect(planSentence(plan, prices, '$', 'visit', 'binary')).toContain('Treat nobody');
  });
});
