import { describe, expect, it } from 'vitest';
import { eventParser } from '../../src/api/client';
import { figure, words, type ChartSpec } from '../../src/charts/spec';
import { readCsv } from '../../src/export/csv';
import { chartJson, tableCsv } from '../../src/export/download';
import { difference } from '../../src/numbers/compare';
import { hashOf } from '../../src/words/hash';
import { parseHash } from '../../src/words/hash';
import { readMarkdown } from '../../src/words/markdown';

describe('a CSV', () => {
  it('reads back what it wrote, quotes and all', () => {
    const table = { columns: [{ name: 'who, where', numeric: false }, { name: 'n', numeric: true }], rows: [[words('a "b"\nc'), figure(0.1 + 0.2, '0.300')], [words('x'), figure(null, '–')]] };
    const back = readCsv(tableCsv(table));
    expect(back.header).toEqual(['who, where', 'n']);
    expect(back.rows).toEqual([['a "b"\nc', '0.30000000000000004'], ['x', '']]);
  });

  it('hands no formula to a spreadsheet', () => {
    const table = { columns: [{ name: 'a', numeric: false }], rows: [[words('=1+1')], [words('-5')]] };
    expect(tableCsv(table)).toBe("a\n'=1+1\n-5\n");
  });

  it('takes either line ending and a mark at the start', () => {
    expect(readCsv('\uFEFFa,b\r\n1,"x,\r\ny"\r\n')).toEqual({ header: ['a', 'b'], rows: [['1', 'x,\r\ny']] });
  });
});

describe('a chart as JSON', () => {
  it('keeps every digit', () => {
    const spec: ChartSpec = { title: 'T', summary: 'S', file: 'f', table: { columns: [{ name: 'x', numeric: true }], rows: [[figure(1 / 3, '0.333')]] }, option: () => ({}) };
    expect(JSON.parse(chartJson(spec))).toEqual({ title: 'T', summary: 'S', rows: [{ x: 1 / 3 }] });
  });
});

describe('the live stream', () => {
  it('is read however it is cut', () => {
    const got: string[] = [];
    const parse = eventParser((data) => got.push(data));
    for (const piece of ['event: tick\nda', 'ta: {"a":1}\n', '\n: keep alive\n\nevent: tick\r\ndata: {"b"', ':2}\r\n\r\n']) parse(piece);
    expect(got).toEqual(['{"a":1}', '{"b":2}']);
  });
});

describe('two models', () => {
  const a = { value: 0.02, std_error: 0.004, lower: 0.012, upper: 0.028, n: 10 };
  const b = { value: 0.015, std_error: 0.003, lower: 0.009, upper: 0.021, n: 10 };
  it('are compared draw by draw when both bring draws', () => {
    const draws = { a: Array.from({ length: 200 }, (_, i) => 0.02 + 0.004 * Math.sin(i)), b: Array.from({ length: 200 }, (_, i) => 0.015 + 0.004 * Math.sin(i)) };
    const found = difference(a, b, draws);
    expect(found?.method).toBe('paired');
    expect(found?.estimate.std_error).toBeLessThan(1e-9);
  });
  it('are bounded by the widest interval otherwise', () => {
    const found = difference(a, b);
    expect(found?.method).toBe('bounded');
    expect(found?.estimate.std_error).toBeCloseTo(0.007, 12);
    expect(difference(a, { value: null })).toBeNull();
  });
});

describe('an address', () => {
  it('comes back as it went in', () => {
    const hash = hashOf('what-if', { model: 'a b', a: '{"f0":1.5,"city":"Å&="}' });
    expect(parseHash(hash)).toEqual({ page: 'what-if', parameters: { model: 'a b', a: '{"f0":1.5,"city":"Å&="}' }, known: true });
  });
  it('leads to the overview when it names no page', () => {
    expect(parseHash('#/nowhere').page).toBe('overview');
    expect(parseHash('#/nowhere').known).toBe(false);
    expect(parseHash('').known).toBe(true);
  });
});

describe('a model card', () => {
  it('is text, never markup', () => {
    const blocks = readMarkdown('# Card `a`\n\nWhat **it** is.\n\n- one\n- two\n\n| a | b |\n|---|---:|\n| 1 | <img src=x> |\n');
    expect(blocks.map((block) => block.kind)).toEqual(['heading', 'paragraph', 'list', 'table']);
    const table = blocks[3];
    if (table?.kind !== 'table') throw new Error('a table');
    expect(table.rows[0]?.[1]).toEqual([{ text: '<img src=x>', style: 'plain' }]);
  });
});
