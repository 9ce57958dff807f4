// A person of the what-if page: one field per raw column of the model, started at what is typical.
// Pure: the page asks the server, this only knows how fields and rows are made.
import type { Column, ColumnProfile, Row } from '../api/contract';

/** A form field. */
export type Field =
  | { name: string; kind: 'number'; type: string; lower: number; upper: number; step: number; typical: number; whole: boolean }
  | { name: string; kind: 'choice'; levels: string[]; typical: string | null }
  | { name: string; kind: 'truth'; typical: boolean }
  | { name: string; kind: 'free-number' }
  | { name: string; kind: 'free-text' };

const NUMBERS = /^(u?int|integer|float|double|decimal)/i;

/** A step of a slider: about two hundred of them, at a round width. */
export function stepOf(lower: number, upper: number, whole: boolean): number {
  const width = (upper - lower) / 200;
  if (!(width > 0)) return whole ? 1 : 0.01;
  const power = 10 ** Math.floor(Math.log10(width));
  const factor = width / power;
  const step = (factor < 1.5 ? 1 : factor < 3.5 ? 2 : factor < 7.5 ? 5 : 10) * power;
  return whole ? Math.max(1, Math.round(step)) : Number(step.toPrecision(3));
}

/** The shortest number that the column's type reads as the same value: 10.0597, not 10.059700012207031. */
export function shortest(value: number, type: string): number {
  if (!/float32/i.test(type)) return value;
  for (let digits = 1; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}

/** A typed number as the column's type holds it, so that the end of a range is inside the range. */
export function held(value: number, type: string): number {
  return /float32/i.test(type) ? Math.fround(value) : value;
}

/** Where a slider was put, at a round number of steps; both ends are exact. */
export function snapped(value: number, field: { lower: number; upper: number; step: number }): number {
  const { lower, upper, step } = field;
  const reach = (upper - lower) * 1e-9;
  if (value <= lower + reach) return lower;
  if (value >= upper - reach) return upper;
  return Math.min(upper, Math.max(lower, Number((Math.round(value / step) * step).toPrecision(12))));
}

/** A field per column, as the training profile describes it. */
export function fieldsOf(schema: readonly Column[], profile: readonly ColumnProfile[]): Field[] {
  const known = new Map(profile.map((column) => [column.name, column]));
  return schema.map(({ name, type }): Field => {
    const column = known.get(name);
    if (/^bool/i.test(type)) return { name, kind: 'truth', typical: false };
    if (column?.kind === 'number') {
      // Exact, not rounded to the slider's steps: real columns have values that half of the people share.
      const { lower, upper, typical, whole } = column;
      if (!(upper > lower)) return { name, kind: 'free-number' };
      return { name, kind: 'number', type, lower, upper, typical, whole, step: stepOf(lower, upper, whole) };
    }
    if (column?.kind === 'category') return { name, kind: 'choice', levels: column.levels.map((level) => level.value), typical: column.typical };
    return NUMBERS.test(type) ? { name, kind: 'free-number' } : { name, kind: 'free-text' };
  });
}

/** The typical person: every field at its middle, the free ones unknown. */
export function typicalRow(fields: readonly Field[]): Row {
  return Object.fromEntries(fields.map((field) => [field.name, 'typical' in field ? field.typical : null]));
}

/** What a person has different from the typical one, short enough for an address. */
export function encodeRow(row: Row, fields: readonly Field[]): string | null {
  const typical = typicalRow(fields);
  const changed = Object.entries(row).filter(([name, value]) => value !== typical[name]);
  return changed.length === 0 ? null : JSON.stringify(Object.fromEntries(changed));
}

/** A person from an address; fields the model does not know are left out. */
export function decodeRow(text: string | undefined, fields: readonly Field[]): Row {
  const row = typicalRow(fields);
  if (!text) return row;
  try {
    const given = JSON.parse(text) as unknown;
    if (given === null || typeof given !== 'object' || Array.isArray(given)) return row;
    for (const field of fields) {
      const value = (given as Record<string, unknown>)[field.name];
      if (value === null || ['number', 'string', 'boolean'].includes(typeof value)) row[field.name] = value as Row[string];
    }
  } catch {
    // An address somebody mistyped shows the typical person.
  }
  return row;
}

/** The values a sweep goes through: the trained range, or the levels. */
export function sweepOf(field: Field, row: number): { row: number; feature: string; from: number; to: number; steps: number } | { row: number; feature: string; values: string[] } | null {
  if (field.kind === 'number' && field.upper > field.lower) {
    const steps = field.whole ? Math.min(61, Math.floor(field.upper - field.lower) + 1) : 61;
    return { row, feature: field.name, from: field.lower, to: field.upper, steps: Math.max(2, steps) };
  }
  return field.kind === 'choice' && field.levels.length > 1 ? { row, feature: field.name, values: field.levels.slice(0, 40) } : null;
}
