import { describe, expect, it } from 'vitest';
import type { ModelEntry } from '../../src/api/contract';
import type { LiveModel, LiveNow, StreamReport } from '../../src/api/stream';
import { promiseChart } from '../../src/charts/promise';
import { timeChart } from '../../src/charts/series';
import { apart } from '../../src/charts/spec';
import { alarmWords, assignmentRange, assignmentSentence, decaySentence, differenceSentence, liveSentence, promiseSentence, waitsFor, within } from '../../src/live/sentences';
import { bestOf, inOrder, momentOf, perSecond, total, watchedOf, type Counted } from '../../src/live/stream';
import { deadTable, lagTable, leftOutTable, modelsTable } from '../../src/live/tables';

const estimate = (value: number, lower: number, upper: number) => ({ value, lower, upper, std_error: 1, n: 100 });
const none = (reason: string) => ({ value: null, reason });
const BURN_IN = none('burn-in: 20 of 500 rows');
const MODEL: LiveModel = {
  model: 'aaaa1111bbbb2222',
  n: 99_135,
  n_treated: 84_269,
  n_control: 14_866,
  n_without_choice: 0,
  n_beyond_overlap: 0,
  exact: estimate(0.011, 0.0048, 0.0171),
  asymptotic: estimate(0.011, 0.0053, 0.0166),
  predicted: { predicted: 0.0096, realised_minus_predicted: estimate(0.0014, -0.0043, 0.007) },
  deciles: [{ decile: 1, n: 9855, promised: estimate(0.0255, 0.0036, 0.0475), predicted: 0.046, exact: estimate(0.0389, 0.0042, 0.0736), asymptotic: estimate(0.0389, 0.0138, 0.064) }],
  srm: { n: 99_500, n_treated: 84_578, expected: 84_575, p: 0.479347, n_impossible: 0, alarm: false },
  decay: { promised: estimate(0.0228, 0.0091, 0.0366), live: estimate(0.0262, -0.005, 0.0574), epoch: 2, alarm_after: null },
};
const EARLY: LiveModel = { ...MODEL, n: 20, n_treated: 17, n_control: 3, exact: estimate(0.05, -0.73, 0.81), asymptotic: BURN_IN };
const LIVE: LiveNow = { alpha: 0.05, n_waiting: 365, counts: { n_events: 10, n_late_outcomes: 17 }, not_followed: { n_unreadable: 4, n_refused: 0 }, newest: null, models: [MODEL] };
const CURRENT = { name: 'summer', id: MODEL.model };
const ENTRY = { name: 'visits', id: MODEL.model, outcomes: [{ name: 'visit', kind: 'binary' }] } as unknown as ModelEntry;
const ABOUT = watchedOf(MODEL.model, CURRENT, [ENTRY]);

describe('the estimate to read', () => {
  it('is the narrow one after the burn-in and the exact one before', () => {
    expect(bestOf(MODEL)).toBe(MODEL.asymptotic);
    expect(bestOf(EARLY)).toBe(EARLY.exact);
  });
});

describe('a model of the stream', () => {
  it('has the name and unit this server knows it by', () => {
    expect(ABOUT).toEqual({ id: MODEL.model, label: 'visits', outcome: 'visit', kind: 'binary', unit: 'points' });
  });
  it('is plain numbers where this server does not have it', () => {
    expect(watchedOf(MODEL.model, CURRENT, [])).toMatchObject({ label: 'summer', unit: 'plain' });
    expect(watchedOf('cccc3333dddd', CURRENT, []).label).toBe('cccc3333');
  });
  it('comes first while it scores, the others by what is known of them', () => {
    const other = (model: string, n: number) => ({ ...MODEL, model, n });
    const live = { ...LIVE, models: [other('a', 5), other('b', 50), other('c', 0)] };
    expect(inOrder(live, 'c').map((model) => model.model)).toEqual(['c', 'b', 'a']);
  });
});

describe('events per second', () => {
  const at = (uptime_seconds: number, scored: number, member = 'm'): Counted => ({ member, uptime_seconds, figures: { scored } });
  it('follow from two reports by the clock of the stream', () => {
    expect(perSecond(at(10, 1000), at(12, 6000))).toBe(2500);
    expect(perSecond(at(10, 1000), at(12, 1000))).toBe(0);
  });
  it('are not known of one report, of another member or across a restart', () => {
    expect(perSecond(null, at(1, 1))).toBeNull();
    expect(perSecond(at(10, 10), at(12, 20, 'n'))).toBeNull();
    expect(perSecond(at(10, 10), at(1, 20))).toBeNull();
    expect(perSecond(at(10, 10), at(12, 5))).toBeNull();
  });
  it('stand with the effects of every model at one moment', () => {
    const report = { member: 'm', uptime_seconds: 12, figures: { scored: 6000 }, live: LIVE } as unknown as StreamReport;
    const moment = momentOf(report, at(10, 1000), 'now');
    expect(moment).toEqual({ time: 'now', rate: 2500, effects: { [MODEL.model]: { value: 0.011, lower: 0.0053, upper: 0.0166, predicted: 0.0096 } } });
    expect(momentOf({ ...report, live: null }, null, 'now').effects).toEqual({});
  });
});

describe('the live effect in words', () => {
  it('is told in people, for every look', () => {
    expect(liveSentence(MODEL, ABOUT, 365)).toBe('Out of 1,000 people treated, about 11 more reach “visit” because of it (between 5 and 17). This range holds however often you look.');
  });
  it('claims nothing while the range contains zero', () => {
    const said = liveSentence({ ...MODEL, asymptotic: estimate(0.002, -0.003, 0.007) }, ABOUT, 0);
    expect(said).toContain('no clear effect');
    expect(said).toContain('More events will narrow this range');
  });
  it('says during the burn-in that the range is the careful one, and what the other waits for', () => {
    const said = liveSentence(EARLY, ABOUT, 0);
    expect(said).toContain('between 730 fewer and 810 more');
    expect(said).toContain('It needs 500 events whose outcome is known; there are 20.');
  });
  it('says what it waits for when there is no range', () => {
    expect(liveSentence({ ...EARLY, exact: none('the outcome has no stated range; use the asymptotic interval') }, ABOUT, 0)).toBe('There is no range yet. It needs 500 events whose outcome is known; there are 20.');
    expect(liveSentence({ ...MODEL, n: 0 }, ABOUT, 365)).toBe('No event has been followed to its end yet. 365 events wait for their time window to close.');
    expect(liveSentence({ ...MODEL, n: 0, n_without_choice: 9 }, ABOUT, 1)).toContain('1 event waits for their time window to close. No event was left to chance yet');
  });
  it('knows the reasons of the interval, and repeats those it does not know', () => {
    expect(waitsFor('burn-in: 4 of 25 effective rows; the outcome is rare')).toContain('4 equally weighty events would tell, of 25 needed');
    expect(waitsFor('burn-in: 1 of 500 rows')).toContain('there is 1.');
    expect(waitsFor('fewer than two rows have been observed')).toBe('Fewer than two rows have been observed.');
    expect(waitsFor(null)).toBe('');
  });
  it('compares with what was predicted', () => {
    expect(differenceSentence(MODEL, 'points')).toBe('May be chance.');
    const off = { ...MODEL, predicted: { predicted: 0.03, realised_minus_predicted: estimate(-0.02, -0.03, -0.01) } };
    expect(differenceSentence(off, 'points')).toBe('More than chance: the scores promise too much by 2.00 pp.');
    expect(differenceSentence({ ...MODEL, predicted: { predicted: null, realised_minus_predicted: BURN_IN } }, 'points')).toBe('');
  });
  it('holds the best tenth against its promise', () => {
    expect(promiseSentence(MODEL, 'points')).toContain('promised +2.55 pp and brings +3.89 pp (+1.38 … +6.40)');
  });
});

describe('what is watched', () => {
  it('tells an assignment that is as recorded from one that is not', () => {
    expect(assignmentSentence(MODEL)).toContain('No more than chance');
    expect(assignmentRange(MODEL)).toBe('85 % expected; 84,578 of 99,500, p = 0.4793');
    expect(assignmentSentence({ ...MODEL, srm: { ...MODEL.srm, alarm: true } })).toContain('do not believe the effects');
    expect(assignmentSentence({ ...MODEL, srm: { ...MODEL.srm, n_impossible: 1 } })).toContain('1 event is in an arm');
    expect(assignmentRange({ ...MODEL, srm: { ...MODEL.srm, n: 0 } })).toBe('');
  });
  it('tells a kept promise from a broken one and from none', () => {
    const decay = MODEL.decay;
    if (!decay) throw new Error('a decay');
    expect(decaySentence(decay)).toContain('No alarm');
    expect(decaySentence({ ...decay, alarm_after: 4210 })).toContain('after 4,210 events');
    expect(decaySentence({ ...decay, live: BURN_IN })).toContain('there are 20');
    expect(decaySentence({ ...decay, promised: none('x') })).toContain('Nothing was promised');
  });
  it('names an alarm, and its model when another one scores now', () => {
    expect(alarmWords({ kind: 'srm', model: 'a' }, 'a', String)).toBe('assignment mismatch');
    expect(alarmWords({ kind: 'decay', model: 'b' }, 'a', () => 'spring')).toBe('decay of the ranking (spring)');
    expect(alarmWords({ kind: 'news', model: 'a' }, 'a', String)).toBe('news');
  });
  it('tells times by class', () => {
    expect([within(500, 9), within(2000, 9), within(null, 9), within(null, 0)]).toEqual(['500 ms', '2.0 s', 'over a minute', '–']);
  });
});

describe('the tables', () => {
  it('put the most frequent reason first and explain it', () => {
    const { rows } = deadTable({ bad_value: 2, not_json: 500, brand_new: 3 });
    expect(rows.map((row) => row.map((cell) => cell.text))).toEqual([['not_json', 'is no JSON', '500'], ['brand_new', '', '3'], ['bad_value', 'has a value that does not fit its column', '2']]);
  });
  it('order partitions by number', () => {
    expect(lagTable({ 10: 1, 9: 2 }).rows.map((row) => row[0]?.raw)).toEqual([9, 10]);
    expect(total({ 10: 1, 9: 2 })).toBe(3);
  });
  it('keep out what did not happen', () => {
    expect(leftOutTable(LIVE).rows.map((row) => row[1]?.raw)).toEqual([4, 17]);
  });
  it('show models in their own units', () => {
    const rows = modelsTable([MODEL, { ...EARLY, model: 'x' }], (id) => watchedOf(id, CURRENT, [ENTRY])).rows;
    expect(rows[0]?.map((cell) => cell.text)).toEqual(['visits', '+1.10 pp', '+0.530 … +1.66', '+0.960 pp', '99,135']);
    expect(rows[1]?.[1]?.text).toBe('+0.0500');
  });
});

describe('promised and live', () => {
  const input = (tenths: LiveModel['deciles']) => ({ tenths: tenths.map(({ exact, asymptotic, ...rest }) => ({ ...rest, live: bestOf({ exact, asymptotic }) })), unit: 'points' as const, outcome: 'visit', summary: 'S.' });
  it('keep every digit in the table', () => {
    const row = promiseChart(input(MODEL.deciles)).table.rows[0];
    expect(row?.map((cell) => cell.raw)).toEqual([1, 0.0255, '+0.360 … +4.75', 0.0389, '+1.38 … +6.40', 0.046, 9855]);
  });
  it('say when a range is wider than the picture', () => {
    const wide = { ...(MODEL.deciles[0] as LiveModel['deciles'][0]), asymptotic: BURN_IN, exact: estimate(0.04, -0.9, 0.95) };
    expect(promiseChart(input([wide])).summary).toContain('the table has them');
    expect(promiseChart(input(MODEL.deciles)).summary).toBe('S.');
  });
});

describe('lines over time', () => {
  it('bring the ends of their band along in the table', () => {
    const spec = timeChart({ title: 'T', summary: 'S', file: 'f', axis: 'A', text: String, times: ['2026-03-01T12:00:00Z'], lines: [{ name: 'Live', values: [0.1] }], band: { lower: [-0.1], upper: [0.3] } });
    expect(spec.table.columns.map((column) => column.name)).toEqual(['Time', 'Live', 'Lower', 'Upper']);
    expect(spec.table.rows[0]?.slice(1).map((cell) => cell.raw)).toEqual([0.1, -0.1, 0.3]);
  });
  it('lift labels only where they would lie on each other', () => {
    expect(apart([[1], [1]], 100)).toEqual([15, 0]);
    expect(apart([[0], [1]], 100)).toEqual([0, 0]);
    expect(apart([[-0.5], [-0.45]], 100, [-1, 1])[1]).toBeCloseTo(12.5, 9);
    expect(apart([[1], [null]], 100)).toEqual([0, 0]);
  });
});
