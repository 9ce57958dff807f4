import { describe, expect, it } from 'vitest';
import type { Column, ColumnProfile } from '../../src/api/contract';
import { decodeRow, encodeRow, fieldsOf, held, shortest, snapped, stepOf, sweepOf, typicalRow } from '../../src/whatif/person';

const SCHEMA: Column[] = [
  { name: 'age', type: 'int64' },
  { name: 'spend', type: 'float64' },
  { name: 'city', type: 'text' },
  { name: 'member', type: 'boolean' },
  { name: 'raw', type: 'float64' },
];
const PROFILE: ColumnProfile[] = [
  { name: 'age', kind: 'number', whole: true, missing: 0, lower: 18, upper: 77, typical: 41, quantiles: [] },
  { name: 'spend', kind: 'number', whole: false, missing: 0.1, lower: 0.0371, upper: 812.46, typical: 33.3333333, quantiles: [] },
  { name: 'city', kind: 'category', missing: 0, typical: 'Oslo', levels: [{ value: 'Oslo', share: 0.6 }, { value: 'Bergen', share: 0.4 }], other: 0 },
];
const FIELDS = fieldsOf(SCHEMA, PROFILE);

describe('the form', () => {
  it('has a field of the right kind for every column', () => {
    expect(FIELDS.map((field) => field.kind)).toEqual(['number', 'number', 'choice', 'truth', 'free-number']);
  });

  it('never lets a slider leave what the trial has seen', () => {
    const spend = FIELDS[1];
    if (spend?.kind !== 'number') throw new Error('spend is a number');
    expect(spend.lower).toBeGreaterThanOrEqual(0.0371);
    expect(spend.upper).toBeLessThanOrEqual(812.46);
    expect((spend.upper - spend.lower) / spend.step).toBeLessThan(400);
  });

  it('moves whole numbers by whole steps', () => {
    expect(stepOf(18, 77, true)).toBe(1);
    expect(stepOf(0, 100_000, true)).toBe(500);
    expect(stepOf(3, 3, false)).toBe(0.01);
  });
});

describe('a value of a column', () => {
  it('is written as short as its type allows, and stays the same value', () => {
    expect(shortest(10.059700012207031, 'float32')).toBe(10.0597);
    expect(Math.fround(shortest(0.1 + 0.2, 'float32'))).toBe(Math.fround(0.3));
    expect(shortest(10.059700012207031, 'float64')).toBe(10.059700012207031);
  });

  it('keeps the value that half of the people share', () => {
    const tied: ColumnProfile = { name: 'f1', kind: 'number', whole: false, missing: 0, lower: 10.059700012207031, upper: 21.5, typical: 10.059700012207031, quantiles: [] };
    expect(typicalRow(fieldsOf([{ name: 'f1', type: 'float32' }], [tied]))).toEqual({ f1: 10.059700012207031 });
    expect(held(10.0597, 'float32')).toBe(10.059700012207031);
  });

  it('moves in round steps between exact ends', () => {
    const field = { lower: 10.0597, upper: 21.517, step: 0.05 };
    expect([10.0597, 10.2345, 21.517, 99].map((value) => snapped(value, field))).toEqual([10.0597, 10.25, 21.517, 21.517]);
  });
});

describe('a person', () => {
  it('comes back from the address as it went in', () => {
    const row = { ...typicalRow(FIELDS), age: 30, city: null, member: true, raw: 1.5 };
    expect(decodeRow(encodeRow(row, FIELDS) ?? undefined, FIELDS)).toEqual(row);
  });

  it('needs no words when typical', () => {
    expect(encodeRow(typicalRow(FIELDS), FIELDS)).toBeNull();
  });

  it('survives a mistyped address and unknown columns', () => {
    const typical = typicalRow(FIELDS);
    for (const text of ['{', '[]', 'null', '{"nobody":1}', '{"age":{"a":1}}']) expect(decodeRow(text, FIELDS)).toEqual(typical);
  });
});

describe('a sweep', () => {
  it('goes through the trained range, or the levels', () => {
    expect(sweepOf(FIELDS[0] as (typeof FIELDS)[number], 1)).toEqual({ row: 1, feature: 'age', from: 18, to: 77, steps: 60 });
    expect(sweepOf(FIELDS[2] as (typeof FIELDS)[number], 0)).toEqual({ row: 0, feature: 'city', values: ['Oslo', 'Bergen'] });
    expect(sweepOf(FIELDS[4] as (typeof FIELDS)[number], 0)).toBeNull();
  });
});
