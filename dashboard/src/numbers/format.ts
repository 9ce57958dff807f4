// Numbers as people read them: the same digits, signs and units as the command line's.

/** In what a number is measured. */
export type Unit = 'points' | 'percent' | 'plain' | 'count' | 'money';

/** The outcome kinds of a model. */
export type OutcomeKind = 'binary' | 'count' | 'continuous';

/** A number with its 95 % interval, or why there is none. */
export interface Estimate {
  value: number | null;
  std_error?: number | null;
  lower?: number | null;
  upper?: number | null;
  n?: number | null;
  reason?: string | null;
}

const MINUS = '−';
const DASH = '–';

/** What effects on an outcome are measured in. */
export function effectUnit(kind: OutcomeKind): Unit {
  return kind === 'binary' ? 'points' : 'plain';
}

/** Decimals for a number of this size: 0.0123, 0.123, 1.23, 12.3, 123. */
function decimals(value: number): number {
  const size = Math.abs(value);
  if (size === 0 || size >= 1000) return 0;
  if (size >= 100) return 1;
  if (size >= 1) return 2;
  if (size >= 0.1) return 3;
  return size >= 0.01 ? 4 : 5;
}

function grouped(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** A rounded whole number with commas. */
export function thousands(value: number): string {
  if (!Number.isFinite(value)) return DASH;
  const digits = grouped(Math.abs(value).toFixed(0));
  return value < 0 && digits !== '0' ? MINUS + digits : digits;
}

function rounded(value: number, digits: number): string {
  const [whole = '0', rest] = Math.abs(value).toFixed(digits).split('.');
  const text = rest === undefined ? grouped(whole) : `${grouped(whole)}.${rest}`;
  // A value that rounds to nothing has no sign.
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

/** A number without a forced sign, with as many digits as it deserves. */
export function plain(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  if (Number.isInteger(value)) return thousands(value);
  return rounded(value, decimals(value));
}

/** A number with its sign. */
export function signed(value: number): string {
  const text = rounded(value, decimals(value));
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** A share as a percentage: `27.5 %`. */
export function percent(share: number | null | undefined, digits?: number): string {
  if (share === null || share === undefined || !Number.isFinite(share)) return DASH;
  const hundred = share * 100;
  if (digits !== undefined) return `${rounded(hundred, digits)} %`;
  const size = Math.abs(hundred);
  return `${rounded(hundred, size === 0 || Math.abs(hundred - Math.round(hundred)) < 1e-9 ? 0 : size >= 10 ? 1 : 2)} %`;
}

/** The share of a population as a slider names it: no decimals unless they matter. */
export function share(value: number): string {
  const hundred = value * 100;
  return `${Math.abs(hundred - Math.round(hundred)) < 0.05 ? Math.round(hundred) : hundred.toFixed(1)} %`;
}

/** Money with its currency sign, rounded to what can be told. */
export function money(value: number, currency: string, forceSign = false): string {
  if (!Number.isFinite(value)) return DASH;
  const size = Math.abs(value);
  const digits = size >= 1000 || size === Math.trunc(size) ? 0 : 2;
  const text = rounded(size, digits);
  const sign = value < 0 && /[1-9]/.test(text) ? MINUS : forceSign && /[1-9]/.test(text) ? '+' : '';
  return `${sign}${currency}${text}`;
}

/** What a value is multiplied with to be shown. */
export function scale(unit: Unit): number {
  return unit === 'points' || unit === 'percent' ? 100 : 1;
}

/** A value as it is drawn; null where there is none. */
export function scaled(value: number | null | undefined, unit: Unit): number | null {
  return known(value) ? value * scale(unit) : null;
}

/** Whether an interval is there and holds zero. */
export function holdsZero({ lower, upper }: Pick<Estimate, 'lower' | 'upper'>): boolean {
  return known(lower) && known(upper) && lower <= 0 && upper >= 0;
}

/** The unit as a word behind a number or on an axis. */
export function suffix(unit: Unit): string {
  return unit === 'points' ? ' pp' : unit === 'percent' ? ' %' : '';
}

/** The value without its unit, with its sign, for intervals and axes. */
export function bare(value: number, unit: Unit, currency = ''): string {
  if (unit === 'count') return (value > 0 ? '+' : '') + thousands(value);
  if (unit === 'money') return money(value, currency, true);
  return signed(value * scale(unit));
}

/** The value with its unit and sign: `+1.06 pp`. */
export function withUnit(value: number | null | undefined, unit: Unit, currency = ''): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  return bare(value, unit, currency) + suffix(unit);
}

/** The level of an outcome, without a sign: `3.85 %` of people, or `12.4`. */
export function level(value: number | null | undefined, kind: OutcomeKind): string {
  return kind === 'binary' ? percent(value) : plain(value);
}

/** A value for an axis or a limit: no digits that say nothing. */
export function tick(value: number, unit: Unit = 'plain', sign = false): string {
  const shown = Number((value * scale(unit)).toPrecision(4));
  const text = Math.abs(shown) >= 1000 ? thousands(shown) : Math.abs(shown).toString().replace('e-', 'e−');
  if (Math.abs(shown) >= 1000) return sign && shown > 0 ? `+${text}` : text;
  return shown < 0 ? MINUS + text : sign && shown > 0 ? `+${text}` : text;
}

/** The interval, `+0.91 … +1.21`, or the reason there is none. */
export function interval(estimate: Estimate, unit: Unit, currency = ''): string {
  const { lower, upper } = estimate;
  if (!known(lower) || !known(upper)) return estimate.reason ?? DASH;
  return `${bare(lower, unit, currency)} … ${bare(upper, unit, currency)}`;
}

/** Whether a number is there. */
export function known(value: number | null | undefined): value is number {
  return value !== null && value !== undefined && Number.isFinite(value);
}

/** A p-value: four decimals, or its power of ten. */
export function pValue(p: number | null | undefined): string {
  if (!known(p)) return DASH;
  return p < 1e-4 ? p.toExponential(1).replace('-', MINUS) : p.toFixed(4);
}

/** Milliseconds or seconds, whichever is shorter to read. */
export function duration(seconds: number | null | undefined): string {
  if (!known(seconds)) return DASH;
  if (seconds < 1) return `${Number((seconds * 1000).toPrecision(seconds < 0.01 ? 2 : 3))} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

/** So many a second: whole when there are many, two decimals when there are few. */
export function rate(value: number): string {
  return value >= 10 ? thousands(value) : plain(Math.round(value * 100) / 100);
}

/** A number of things with its noun: `1 person`, `12 people`. */
export function counted(n: number, one: string, many: string): string {
  return `${thousands(n)} ${Math.round(n) === 1 ? one : many}`;
}
