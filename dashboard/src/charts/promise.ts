// What was promised for each tenth of a ranking, and what became of it.
import { interval, known, scaled, suffix, thousands, tick, withUnit, type Estimate, type Unit } from '../numbers/format';
import { tenthAxis } from './groups';
import { band, rules, whiskers } from './shapes';
import { apart, dots, endLabel, figure, frame, valueAxis, words, type ChartSpec, type Table } from './spec';

/** A tenth with its promise and its live effect. */
export interface PromisedTenth {
  decile: number;
  n: number;
  promised: Estimate;
  predicted: number | null;
  live: Estimate;
}

/** A corridor for the promise, a dot with its range for what happens. */
export function promiseChart(input: { tenths: readonly PromisedTenth[]; unit: Unit; outcome: string; summary: string }): ChartSpec {
  const { tenths, unit } = input;
  const at = (value: number | null | undefined) => scaled(value, unit);
  const table: Table = {
    columns: [
      { name: 'Tenth, best first', numeric: true },
      { name: 'Promised', numeric: true },
      { name: '95 % interval', numeric: false },
      { name: 'Live effect', numeric: true },
      { name: 'Range at every look', numeric: false },
      { name: 'Predicted', numeric: true },
      { name: 'Events', numeric: true },
    ],
    rows: tenths.map(({ decile, n, promised, predicted, live }) => [
      figure(decile, String(decile)),
      figure(promised.value, withUnit(promised.value, unit)),
      words(interval({ ...promised, reason: '–' }, unit)),
      figure(live.value, withUnit(live.value, unit)),
      words(interval({ ...live, reason: '–' }, unit)),
      figure(predicted, withUnit(predicted, unit)),
      figure(n, thousands(n)),
    ]),
  };
  const ranges = (of: (tenth: PromisedTenth) => Estimate) => tenths.map((tenth, index) => ({ at: index, lower: at(of(tenth).lower), upper: at(of(tenth).upper) }));
  const [promised, live] = [ranges((tenth) => tenth.promised), ranges((tenth) => tenth.live)];
  const lines = [tenths.map((tenth) => at(tenth.promised.value)), tenths.map((tenth) => at(tenth.live.value))];
  // The first events leave ranges so wide that nothing else could be seen: they are cut off well beyond everything else.
  const edge = 3 * Math.max(...[...lines.flat(), ...promised.flatMap(({ lower, upper }) => [lower, upper])].filter(known).map(Math.abs));
  const isCut = edge > 0 && live.some(({ lower, upper }) => (known(lower) && lower < -edge) || (known(upper) && upper > edge));
  const within = (value: number | null) => (known(value) && isCut ? Math.max(-edge, Math.min(edge, value)) : value);
  const ranged = live.map(({ at: place, lower, upper }) => ({ at: place, lower: within(lower), upper: within(upper) }));
  const up = apart(lines, 250, [0, ...[...promised, ...ranged].flatMap(({ lower, upper }) => [lower, upper])]);
  return {
    title: 'Promised and live effect by tenth of the training ranking',
    summary: isCut ? `${input.summary} Ranges that reach the edge are wider than the picture: the table has them.` : input.summary,
    file: 'promised-and-live',
    table,
    height: 340,
    option: (look) => ({
      ...frame(look, table, 'axis'),
      animation: false,
      grid: { left: 8, right: 76, top: 34, bottom: 30, containLabel: true },
      xAxis: tenthAxis(look, tenths, false),
      yAxis: valueAxis(look, `Effect on ${input.outcome}${suffix(unit) && `,${suffix(unit)}`}`, (value) => tick(value, 'plain', true), isCut ? { min: -edge, max: edge, axisLabel: { color: look.muted, formatter: (value: number) => (Math.abs(value) < edge * 0.999 ? tick(value, 'plain', true) : ''), margin: 10, hideOverlap: true } } : {}),
      series: [
        band(promised, look.muted, 0.18),
        { type: 'line', showSymbol: false, lineStyle: { color: look.muted, width: 2, type: 'dashed' }, itemStyle: { color: look.muted }, endLabel: endLabel('promised', look.muted, up[0]), data: lines[0] },
        { ...dots(11), itemStyle: { color: look.accent }, endLabel: { ...endLabel('live', look.accent, up[1]), distance: 12 }, z: 4, data: lines[1] },
        whiskers(ranged, look.accent),
        rules([{ at: 0, upright: false, colour: look.faint }], look.font),
      ],
    }),
  };
}
