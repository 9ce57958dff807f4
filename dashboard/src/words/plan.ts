// What a targeting plan does and earns, in a sentence.
import { known, money, plain, share, thousands, type OutcomeKind } from '../numbers/format';
import type { Plan, Prices } from '../numbers/profit';

/** The plan as somebody would say it, with its risk. */
export function planSentence(plan: Plan, prices: Prices, currency: string, outcome: string, kind: OutcomeKind): string {
  if (plan.fraction === 0) {
    return 'Treat nobody: at these prices no share of the people earns back what treating it costs.';
  }
  const won = plan.incremental.value;
  const gain = known(won) ? (kind === 'binary' ? `${thousands(won)} people to “${outcome}” who would not do so otherwise` : `${plain(Math.round(won))} more in “${outcome}”`) : 'more outcomes';
  const who = plan.fraction >= 1 ? `all ${thousands(plan.people)} people` : `the best ${share(plan.fraction)}, ${thousands(plan.people)} of ${thousands(prices.population)} people`;
  const { value, lower, upper } = plan.profit;
  const money_ = (amount: number) => money(amount, currency);
  const start = `Treat ${who}. For ${money_(plan.spend)} that brings about ${gain},`;
  if (!known(value)) return `${start.slice(0, -1)}.`;
  const verb = value >= 0 ? `earns ${money_(value)} beyond its cost` : `loses ${money_(-value)}`;
  if (!known(lower) || !known(upper)) return `${start} and ${verb}.`;
  const risk = lower > 0 ? 'a loss is unlikely' : upper < 0 ? 'a gain is unlikely' : 'a loss cannot be ruled out';
  return `${start} and ${verb} (between ${money_(lower)} and ${money_(upper)}); ${risk}.`;
}
