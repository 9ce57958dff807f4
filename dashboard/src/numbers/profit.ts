// From the hold-out's profit curve to a plan: who to treat, what it earns, how sure that is.
// The server measures at the user's prices; this chooses among its points and adds nothing of its own.
import { known, type Estimate } from './format';

/** A point of a curve over the share of people treated, best first. */
export interface CurvePoint {
  fraction: number;
  value: number;
  lower: number | null;
  upper: number | null;
}

/** What treating the best share brings, as the server answers it. */
export interface Reach {
  fraction: number;
  threshold: number | null;
  n_targeted: number;
  cost: number;
  profit: Estimate;
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

/** The plan at one share. */
export function planAt(reach: Reach): Plan {
  const { fraction, threshold, n_targeted: people, cost: spend, profit } = reach;
  return {
    fraction,
    threshold,
    people,
    spend,
    incremental: reach.incremental_outcomes,
    profit,
    overRandom: reach.over_random,
    returnOnSpend: spend > 0 && known(profit.value) ? profit.value / spend : null,
  };
}

const NOTHING: Estimate = { value: 0, std_error: 0, lower: 0, upper: 0 };

/** Every share as a plan, from treating nobody to treating everybody. */
export function plans(reaches: readonly Reach[]): Plan[] {
  const nobody: Reach = { fraction: 0, threshold: null, n_targeted: 0, cost: 0, profit: NOTHING, incremental_outcomes: NOTHING, over_random: NOTHING };
  return [nobody, ...reaches.filter((reach) => reach.fraction > 0)].map(planAt);
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
