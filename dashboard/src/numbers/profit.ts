// From the hold-out's measured outcomes to money: who to treat, what it earns, how sure that is.
// The server measures; prices are the user's. Profit is linear in them, so the slider needs no request.
import { known, type Estimate } from './format';

/** A point of a curve over the share of people treated, best first. */
export interface CurvePoint {
  fraction: number;
  value: number;
  lower: number | null;
  upper: number | null;
}

/** What treating the best share changed on the hold-out, per `population` people. */
export interface Reach {
  fraction: number;
  threshold: number | null;
  incremental_outcomes: Estimate;
  over_random: Estimate;
}

/** What the user says about prices and people. */
export interface Prices {
  /** How many people the campaign could reach. */
  population: number;
  /** Worth of one more outcome (of one unit of it). */
  value: number;
  /** Cost of treating one person. */
  cost: number;
  /** Most that may be spent; null: no limit. */
  budget: number | null;
}

/** What treating the best share brings. */
export interface Plan {
  fraction: number;
  threshold: number | null;
  people: number;
  spend: number;
  incremental: Estimate;
  profit: Estimate;
  /** Profit beyond that of treating as many people chosen at random. */
  overRandom: Estimate;
  /** Profit per unit of money spent; null where nothing is spent. */
  returnOnSpend: number | null;
}

/** Largest share a budget pays for. */
export function affordable({ budget, cost, population }: Prices): number {
  if (budget === null || cost <= 0 || population <= 0) return 1;
  return Math.min(1, Math.max(0, budget / (cost * population)));
}

/** An estimate times a constant, less another; a negative factor turns the interval round. */
export function transformed(estimate: Estimate, factor: number, less = 0): Estimate {
  if (!known(estimate.value)) return estimate;
  const at = (bound: number | null | undefined) => (known(bound) ? bound * factor - less : null);
  const [lower, upper] = factor >= 0 ? [estimate.lower, estimate.upper] : [estimate.upper, estimate.lower];
  return {
    value: estimate.value * factor - less,
    std_error: known(estimate.std_error) ? estimate.std_error * Math.abs(factor) : null,
    lower: at(lower),
    upper: at(upper),
    n: estimate.n ?? null,
  };
}

/** The plan at one share; `measured` says for how many people the outcomes are counted. */
export function planAt(reach: Reach, measured: number, prices: Prices): Plan {
  const scale = measured > 0 ? prices.population / measured : 0;
  const people = reach.fraction * prices.population;
  const spend = people * prices.cost;
  const profit = transformed(reach.incremental_outcomes, scale * prices.value, spend);
  return {
    fraction: reach.fraction,
    threshold: reach.threshold,
    people,
    spend,
    incremental: transformed(reach.incremental_outcomes, scale),
    profit,
    // As many people at random cost the same, so the price of treating drops out.
    overRandom: transformed(reach.over_random, scale * prices.value),
    returnOnSpend: spend > 0 && known(profit.value) ? profit.value / spend : null,
  };
}

const NOTHING: Estimate = { value: 0, std_error: 0, lower: 0, upper: 0 };

/** Every share as a plan, from treating nobody to treating everybody. */
export function plans(reaches: readonly Reach[], measured: number, prices: Prices): Plan[] {
  const nobody: Reach = { fraction: 0, threshold: null, incremental_outcomes: NOTHING, over_random: NOTHING };
  return [nobody, ...reaches.filter((reach) => reach.fraction > 0)].map((reach) => planAt(reach, measured, prices));
}

/** The most profitable plan among those the budget pays for (the smallest share on ties). */
export function bestPlan(all: readonly Plan[], limit: number): Plan | null {
  let best: Plan | null = null;
  for (const plan of all) {
    if (plan.fraction > limit + 1e-9 || !known(plan.profit.value)) continue;
    if (best === null || plan.profit.value > (best.profit.value ?? -Infinity)) best = plan;
  }
  return best;
}

/** The plan whose share is nearest to the one asked for. */
export function nearestPlan(all: readonly Plan[], fraction: number): Plan | null {
  let best: Plan | null = null;
  for (const plan of all) {
    if (best === null || Math.abs(plan.fraction - fraction) < Math.abs(best.fraction - fraction)) best = plan;
  }
  return best;
}
