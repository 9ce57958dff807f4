import { describe, expect, it } from 'vitest';
import { affordable, bestPlan, nearestPlan, planAt, plans, type Prices, type Reach } from '../../src/numbers/profit';

const estimate = (value: number, error: number) => ({ value, std_error: error, lower: value - 1.96 * error, upper: value + 1.96 * error, n: 1000 });
const reach = (fraction: number, profit: number): Reach => ({
  fraction,
  threshold: 1 - fraction,
  n_targeted: fraction * 1000,
  cost: fraction * 500,
  profit: estimate(profit, 40),
  incremental_outcomes: estimate((profit + fraction * 500) / 10, 4),
  over_random: estimate(profit / 2, 40),
});
const CURVE = [reach(0.25, 275), reach(0.5, 350), reach(0.75, 275), reach(1, 160)];
const PRICES: Prices = { population: 1000, value: 10, cost: 0.5, budget: null };

describe('a plan', () => {
  it('hands on what the server measured, to the bit', () => {
    const point = CURVE[1] as Reach;
    const plan = planAt(point);
    expect(plan.profit).toBe(point.profit);
    expect(plan.incremental).toBe(point.incremental_outcomes);
    expect(plan.overRandom).toBe(point.over_random);
    expect([plan.people, plan.spend]).toEqual([500, 250]);
    expect(plan.returnOnSpend).toBe(350 / 250);
  });

  it('has no return where nothing is spent or nothing is known', () => {
    expect(planAt({ ...reach(0.5, 10), cost: 0 }).returnOnSpend).toBeNull();
    expect(planAt({ ...reach(0.5, 10), profit: { value: null, reason: 'no rows' } }).returnOnSpend).toBeNull();
  });
});

describe('the best plan', () => {
  it('is the most profitable share', () => {
    expect(bestPlan(plans(CURVE), 1)?.fraction).toBe(0.5);
  });

  it('is the smallest share among equals', () => {
    expect(bestPlan(plans([reach(0.25, 300), reach(0.5, 300)]), 1)?.fraction).toBe(0.25);
  });

  it('is nobody when treating never pays', () => {
    expect(bestPlan(plans([reach(0.5, -10), reach(1, -20)]), 1)?.fraction).toBe(0);
  });

  it('passes over shares without a number', () => {
    expect(bestPlan(plans([{ ...reach(0.5, 0), profit: { value: null } }, reach(1, 5)]), 1)?.fraction).toBe(1);
  });

  it('stays within the budget', () => {
    const prices = { ...PRICES, budget: 130 };
    expect(affordable(prices)).toBeCloseTo(0.26, 12);
    expect(bestPlan(plans(CURVE), affordable(prices))?.fraction).toBe(0.25);
    expect(affordable({ ...PRICES, budget: 0 })).toBe(0);
    expect(affordable({ ...PRICES, cost: 0, budget: 1 })).toBe(1);
  });

  it('is found again by its share', () => {
    expect(nearestPlan(plans(CURVE), 0.6)?.fraction).toBe(0.5);
    expect(nearestPlan([], 0.6)).toBeNull();
  });

  it('counts nobody once, whether the curve starts there or not', () => {
    expect(plans([{ ...reach(0, 0), threshold: null }, ...CURVE]).map((plan) => plan.fraction)).toEqual([0, 0.25, 0.5, 0.75, 1]);
  });
});
