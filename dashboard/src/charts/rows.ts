// Charts that lie on their side, one row per thing: balance before the treatment, estimates beside each other.
import { interval, known, pValue, percent, scale, scaled, signed, suffix, tick, withUnit, type Estimate, type Unit } from '../numbers/format';
import { rules, whiskers } from './shapes';
import { baseAxis, dots, figure, frame, words, type ChartSpec, type Look, type Table } from './spec';

/** One line of the love plot. */
export interface BalanceRow {
  feature: string;
  arm: string;
  smd: number | null;
  p_bonferroni: number | null;
  missing_treated: number;
  missing_control: number;
}

function nameAxis(look: Look, names: string[], width: number): object {
  return {
    type: 'category',
    inverse: true,
    data: names,
    axisLine: { show: false },
    axisTick: { show: false },
    splitLine: { show: true, lineStyle: { color: look.grid } },
    axisLabel: { color: look.ink, width: Math.min(190, width * 0.36), overflow: 'truncate', interval: 0 },
  };
}

/** Standardised differences between arms before the treatment, largest first. */
export function loveChart(rows: readonly BalanceRow[], limit: number | null, summary: string): ChartSpec {
  const sorted = [...rows].sort((a, b) => Math.abs(b.smd ?? 0) - Math.abs(a.smd ?? 0));
  const several = new Set(rows.map((row) => row.arm)).size > 1;
  const name = (row: BalanceRow) => (several ? `${row.feature} · arm ${row.arm}` : row.feature);
  const table: Table = {
    columns: [
      { name: 'Feature', numeric: false },
      { name: 'Difference, standard deviations', numeric: true },
      { name: 'p, corrected for their number', numeric: true },
      { name: 'Missing, treated', numeric: true },
      { name: 'Missing, control', numeric: true },
    ],
    rows: sorted.map((row) => [
      words(name(row)),
      figure(row.smd, known(row.smd) ? signed(row.smd) : '–'),
      figure(row.p_bonferroni, pValue(row.p_bonferroni)),
      figure(row.missing_treated, percent(row.missing_treated)),
      figure(row.missing_control, percent(row.missing_control)),
    ]),
  };
  const reach = Math.max(...sorted.map((row) => Math.abs(row.smd ?? 0)), limit ?? 0.1) * 1.15;
  return {
    title: 'Were the arms alike before the treatment?',
    summary,
    file: 'balance',
    table,
    height: Math.max(200, 78 + sorted.length * 26),
    option: (look, width) => ({
      ...frame(look, table, 'item'),
      grid: { left: 8, right: 24, top: 12, bottom: 34, containLabel: true },
      xAxis: baseAxis(look, 'Difference between arms, in standard deviations', (value) => tick(value, 'plain', true), { min: -reach, max: reach, axisLabel: { color: look.muted, formatter: (value: number) => (Math.abs(value) > reach * 0.999 ? '' : tick(value, 'plain', true)), hideOverlap: true } }),
      yAxis: nameAxis(look, sorted.map(name), width),
      series: [
        {
          ...dots(11),
          z: 4,
          data: sorted.map((row, index) => ({
            value: [row.smd, index],
            itemStyle: { color: limit !== null && Math.abs(row.smd ?? 0) > limit ? look.bad : look.accent },
          })),
        },
        rules([{ at: 0, upright: true, colour: look.faint, solid: true }, ...(limit === null ? [] : [limit, -limit].map((at) => ({ at, upright: true, colour: look.muted })))], look.font),
      ],
    }),
  };
}

/** An estimate with a name. */
export interface NamedEstimate {
  name: string;
  estimate: Estimate;
  /** Drawn in the accent colour; the others stay quiet. */
  main?: boolean;
}

/** Estimates of one thing under each other, each with its interval. */
export function estimatesChart(input: { title: string; summary: string; file: string; axis: string; unit: Unit; entries: readonly NamedEstimate[] }): ChartSpec {
  const { entries, unit } = input;
  const at = (value: number | null | undefined) => scaled(value, unit);
  const table: Table = {
    columns: [
      { name: 'Name', numeric: false },
      { name: 'Value', numeric: true },
      { name: '95 % interval', numeric: false },
      { name: 'Standard error', numeric: true },
    ],
    rows: entries.map(({ name, estimate }) => [
      words(name),
      figure(estimate.value, withUnit(estimate.value, unit)),
      words(interval(estimate, unit)),
      figure(estimate.std_error, known(estimate.std_error) ? signed(estimate.std_error * scale(unit)).replace('+', '') : '–'),
    ]),
  };
  return {
    title: input.title,
    summary: input.summary,
    file: input.file,
    table,
    height: 76 + entries.length * 38,
    option: (look, width) => ({
      ...frame(look, table, 'item'),
      grid: { left: 8, right: 24, top: 10, bottom: 34, containLabel: true },
      xAxis: baseAxis(look, `${input.axis}${suffix(unit) && `,${suffix(unit)}`}`, (value) => tick(value, 'plain', true), { scale: true }),
      yAxis: nameAxis(look, entries.map((entry) => entry.name), width),
      series: [
        {
          ...dots(12),
          z: 4,
          data: entries.map((entry, index) => ({ value: [at(entry.estimate.value), index], itemStyle: { color: entry.main ? look.accent : look.muted } })),
        },
        whiskers(entries.map((entry, index) => ({ at: index, lower: at(entry.estimate.lower), upper: at(entry.estimate.upper) })), look.muted, true),
        rules([{ at: 0, upright: true, colour: look.faint }], look.font),
      ],
    }),
  };
}
