import { describe, expect, it } from 'vitest';
import { affordable, bestPlan, nearestPlan, planAt, plans, transformed, type Prices, type Reach } from '../../src/numbers/profit';

const estimate = (value: number, error: number) => ({ value, std_error: error, lower: value - 1.96 * error, upper: value + 1.96 * error, n: 1000 });
const reach = (fraction: number, outcomes: number, error: number): Reach => ({ fraction, threshold: 1 - fraction, incremental_outcomes: estimate(outcomes, error), over_random: estimate(outcomes / 2, error) });
const CURVE = [reach(0.25, 40, 5), reach(0.5, 60, 8), reach(0.75, 65, 10), reach(1, 66, 12)];
const PRICES: Prices = { population: 1000, value: 10, cost: 0.5, budget: null };

describe('a plan', () => {
  it('earns the worth of what it won less what treating cost', () => {
    const plan = planAt(CURVE[1] as Reach, 1000, PRICES);
    expect(plan.people).toBe(500);
    expect(plan.spend).toBe(250);
    expect(plan.profit.value).toBe(60 * 10 - 250);
    expect(plan.profit.lower).toBeCloseTo((60 - 1.96 * 8) * 10 - 250, 9);
    expect(plan.profit.upper).toBeCloseTo((60 + 1.96 * 8) * 10 - 250, 9);
    expect(plan.returnOnSpend).toBeCloseTo(350 / 250, 12);
  });

  it('grows with the people it is for', () => {
    const plan = planAt(CURVE[1] as Reach, 1000, { ...PRICES, population: 50_000 });
    expect(plan.people).toBe(25_000);
    expect(plan.incremental.value).toBe(3000);
    expect(plan.profit.value).toBeCloseTo(50 * 350, 6);
  });

  it('keeps its interval in order when an outcome costs money', () => {
    const plan = planAt(CURVE[0] as Reach, 1000, { ...PRICES, value: -10 });
    expect(plan.profit.lower).toBeLessThan(plan.profit.value ?? 0);
    expect(plan.profit.upper).toBeGreaterThan(plan.profit.value ?? 0);
  });

  it('does not turn a missing number into money', () => {
    const unknown = transformed({ value: null, reason: 'no rows' }, 10, 5);
    expect(unknown.value).toBeNull();
    expect(unknown.reason).toBe('no rows');
  });
});

describe('the best plan', () => {
  it('is the most profitable share', () => {
    expect(bestPlan(plans(CURVE, 1000, PRICES), 1)?.fraction).toBe(0.5);
  });

  it('is nobody when treating never pays', () => {
    expect(bestPlan(plans(CURVE, 1000, { ...PRICES, value: 1, cost: 1 }), 1)?.fraction).toBe(0);
  });

  it('stays within the budget', () => {
    const prices = { ...PRICES, budget: 130 };
    expect(affordable(prices)).toBeCloseTo(0.26, 12);
    expect(bestPlan(plans(CURVE, 1000, prices), affordable(prices))?.fraction).toBe(0.25);
    expect(affordable({ ...PRICES, budget: 0 })).toBe(0);
    expect(affordable({ ...PRICES, cost: 0, budget: 1 })).toBe(1);
  });

  it('is found again by its share', () => {
    expect(nearestPlan(plans(CURVE, 1000, PRICES), 0.6)?.fraction).toBe(0.5);
    expect(nearestPlan([], 0.6)).toBeNull();
  });

  it('counts nobody once, whether the curve starts there or not', () => {
    const with0: Reach[] = [{ ...reach(0, 0, 0), threshold: null }, ...CURVE];
    expect(plans(with0, 1000, PRICES).map((plan) => plan.fraction)).toEqual([0, 0.25, 0.5, 0.75, 1]);
  });
});
