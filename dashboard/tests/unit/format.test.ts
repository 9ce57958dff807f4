import { describe, expect, it } from 'vitest';
import { counted, duration, interval, money, percent, plain, pValue, share, signed, thousands, tick, withUnit } from '../../src/numbers/format';

describe('numbers', () => {
  it('carry the digits the command line gives them', () => {
    expect(withUnit(0.01056981331105207, 'points')).toBe('+1.06 pp');
    expect(withUnit(-0.00014, 'points')).toBe('−0.0140 pp');
    expect(withUnit(0.6217, 'points')).toBe('+62.17 pp');
    expect(signed(0.05442)).toBe('+0.0544');
    expect(plain(4491.68)).toBe('4,492');
    expect(plain(12)).toBe('12');
  });

  it('have no sign when they round to nothing', () => {
    expect(signed(-0.0000001)).toBe('0.00000');
    expect(thousands(-0.4)).toBe('0');
    expect(money(-0.001, '$', true)).toBe('$0.00');
  });

  it('never show what is not a number', () => {
    for (const value of [null, undefined, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(plain(value)).toBe('–');
      expect(percent(value)).toBe('–');
      expect(withUnit(value, 'points')).toBe('–');
      expect(duration(value)).toBe('–');
      expect(pValue(value)).toBe('–');
    }
  });

  it('group thousands before the decimals only', () => {
    expect(money(1234567.891, '€')).toBe('€1,234,568');
    expect(money(12.5, '$')).toBe('$12.50');
    expect(money(-8187, '$')).toBe('−$8,187');
    expect(signed(-1234.5)).toBe('−1,235');
  });

  it('keep axes free of digits that say nothing', () => {
    expect(tick(3)).toBe('3');
    expect(tick(0.30000000000000004)).toBe('0.3');
    expect(tick(-0.05, 'plain', true)).toBe('−0.05');
    expect(tick(0.012, 'points', true)).toBe('+1.2');
    expect(tick(12000)).toBe('12,000');
  });

  it('say shares, times and counts in words people use', () => {
    expect(share(0.22)).toBe('22 %');
    expect(share(0.7714)).toBe('77.1 %');
    expect(duration(0.0004)).toBe('0.4 ms');
    expect(duration(0.01432)).toBe('14.3 ms');
    expect(duration(300)).toBe('5 min');
    expect(counted(1, 'row', 'rows')).toBe('1 row');
    expect(counted(1200, 'row', 'rows')).toBe('1,200 rows');
    expect(pValue(0.00000012)).toBe('1.2e−7');
  });
});

describe('an interval', () => {
  it('shows both ends, or why there is none', () => {
    expect(interval({ value: 0.01, lower: 0.009, upper: 0.012 }, 'points')).toBe('+0.900 … +1.20');
    expect(interval({ value: null, reason: 'no rows in this arm' }, 'points')).toBe('no rows in this arm');
    expect(interval({ value: 1, lower: null, upper: null }, 'plain')).toBe('–');
  });
});
