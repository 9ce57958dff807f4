// Two models on the same held-out people: how much better one ranks than the other.
import { known, type Estimate } from './format';

/** A difference and how its interval was made. */
export interface Difference {
  estimate: Estimate;
  /** Paired: from the same half-samples. Bounded: the widest the difference can be whatever the correlation. */
  method: 'paired' | 'bounded';
}

const Z = 1.959963984540054;

/** The difference a − b with a paired interval when both bring draws of the same half-samples. */
export function difference(a: Estimate | undefined, b: Estimate | undefined, draws?: { a: number[]; b: number[] }): Difference | null {
  if (!a || !b || !known(a.value) || !known(b.value)) return null;
  const value = a.value - b.value;
  if (draws && draws.a.length >= 20 && draws.a.length === draws.b.length) {
    const error = deviation(draws.a.map((draw, index) => draw - (draws.b[index] ?? Number.NaN)));
    if (known(error)) return { estimate: around(value, error, a.n), method: 'paired' };
  }
  if (!known(a.std_error) || !known(b.std_error)) return null;
  // Nothing is known of the correlation: the sum of the errors is the largest the error can be.
  return { estimate: around(value, a.std_error + b.std_error, a.n), method: 'bounded' };
}

function around(value: number, error: number, n: number | null | undefined): Estimate {
  return { value, std_error: error, lower: value - Z * error, upper: value + Z * error, n: n ?? null };
}

function deviation(values: number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}
