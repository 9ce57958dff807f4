// Charts of one thing moving: the uplift along a feature, rates over time, how many scored how high.
import { bare, known, plain, scaled, suffix, thousands, tick, withUnit, type Unit } from '../numbers/format';
import { band, rules, whiskers } from './shapes';
import { apart, baseAxis, dots, endLabel, figure, frame, valueAxis, words, type ChartSpec, type Table } from './spec';

/** The uplift at one value of the feature. */
export interface SweepValue {
  value: number | string;
  uplift: number | null;
  lower: number | null;
  upper: number | null;
}

/** How the uplift moves along one feature, everything else kept. */
export function sweepChart(input: { feature: string; unit: Unit; points: readonly SweepValue[]; here: number | string | null; summary: string; second?: readonly SweepValue[] | null }): ChartSpec {
  const { points, unit, feature, second } = input;
  const at = (value: number | null | undefined) => scaled(value, unit);
  const shown = (value: number | null) => figure(value, withUnit(value, unit));
  const banded = points.some((point) => known(point.lower));
  const table: Table = {
    columns: [
      { name: feature, numeric: typeof points[0]?.value === 'number' },
      { name: second ? 'Uplift, A' : 'Uplift', numeric: true },
      ...(second ? [{ name: 'Uplift, B', numeric: true }] : []),
      ...(banded ? [{ name: 'Lower', numeric: true }, { name: 'Upper', numeric: true }] : []),
    ],
    rows: points.map((point, index) => [
      typeof point.value === 'number' ? figure(point.value, plain(point.value)) : words(point.value),
      shown(point.uplift),
      ...(second ? [shown(second[index]?.uplift ?? null)] : []),
      ...(banded ? [shown(point.lower), shown(point.upper)] : []),
    ]),
  };
  const numeric = typeof points[0]?.value === 'number';
  const position = (point: SweepValue, index: number) => (numeric ? (point.value as number) : index);
  const category = points.findIndex((point) => point.value === input.here);
  return {
    title: `How the uplift moves with ${feature}`,
    summary: input.summary,
    file: `uplift-along-${feature}`,
    table,
    height: 280,
    option: (look) => {
      const marked = numeric ? input.here : category >= 0 ? category : null;
      const mark = typeof marked === 'number' ? [{ at: marked, upright: true, label: 'here', colour: look.ink, solid: true, bold: true }] : [];
      const line = (values: readonly SweepValue[], colour: string, dashed: boolean) => ({
        ...(second && numeric ? { endLabel: endLabel(dashed ? 'B' : 'A', colour) } : {}),
        z: 3,
        ...(numeric ? { type: 'line', showSymbol: false, lineStyle: { color: colour, width: 2.5, type: dashed ? 'dashed' : 'solid' } } : dots(11)),
        itemStyle: { color: colour },
        data: values.map((point, index) => [position(point, index), at(point.uplift)]),
      });
      const ranges = points.map((point, index) => ({ at: position(point, index), lower: at(point.lower), upper: at(point.upper) }));
      const [low, high] = [points[0]?.value, points.at(-1)?.value];
      return {
        ...frame(look, table, 'axis'),
        xAxis: numeric
          ? baseAxis(look, feature, (value) => tick(value), { min: low, max: high, axisLabel: { color: look.muted, formatter: (value: number) => tick(value), margin: 10, hideOverlap: true, showMinLabel: true, showMaxLabel: true } })
          : { type: 'category', data: points.map((point) => String(point.value)), axisTick: { show: false }, axisLine: { onZero: false, lineStyle: { color: look.faint } }, axisLabel: { color: look.muted, hideOverlap: true } },
        yAxis: valueAxis(look, `Uplift${suffix(unit) && `,${suffix(unit)}`}`, (value) => tick(value, 'plain', true), { scale: true }),
        series: [
          line(points, look.accent, false),
          ...(second ? [line(second, look.other, true)] : []),
          ...(banded ? [numeric ? band(ranges, look.accent) : whiskers(ranges, look.accent)] : []),
          rules(mark, look.font),
        ],
      };
    },
  };
}

/** A figure over the last minutes. */
export function timeChart(input: { title: string; summary: string; file: string; axis: string; text: (value: number) => string; tick?: (value: number) => string; times: readonly string[]; lines: readonly { name: string; values: readonly (number | null)[] }[]; band?: { lower: readonly (number | null)[]; upper: readonly (number | null)[] } }): ChartSpec {
  const clock = (time: string) => new Date(time).toLocaleTimeString('en-GB');
  // With a band the values are effects: of either sign, and not drawn from zero.
  const edges = input.band ? [{ name: 'Lower', values: input.band.lower }, { name: 'Upper', values: input.band.upper }] : [];
  const up = apart(input.lines.map((line) => line.values), 160, input.band ? edges.flatMap((edge) => edge.values) : [0]);
  const table: Table = {
    columns: [{ name: 'Time', numeric: false }, ...[...input.lines, ...edges].map((line) => ({ name: line.name, numeric: true }))],
    rows: input.times.map((time, index) => [{ raw: time, text: clock(time) }, ...[...input.lines, ...edges].map((line) => figure(line.values[index], known(line.values[index]) ? input.text(line.values[index] as number) : '–'))]),
  };
  return {
    title: input.title,
    summary: input.summary,
    file: input.file,
    table,
    height: 220,
    option: (look) => ({
      ...frame(look, table, 'axis'),
      animation: false,
      grid: { left: 8, right: 76, top: 34, bottom: 24, containLabel: true },
      xAxis: { type: 'category', boundaryGap: false, data: input.times.map(clock), axisTick: { show: false }, axisLine: { lineStyle: { color: look.faint } }, axisLabel: { color: look.muted, margin: 12, hideOverlap: true, showMinLabel: true } },
      yAxis: valueAxis(look, input.axis, input.tick ?? input.text, input.band ? { scale: true } : { min: 0, minInterval: 0 }),
      series: [...input.lines.map((line, index) => ({
        type: 'line',
        name: line.name,
        showSymbol: false,
        connectNulls: false,
        endLabel: endLabel(line.name, index === 0 ? look.accent : index === 1 ? look.other : look.muted, up[index]),
        lineStyle: { color: index === 0 ? look.accent : index === 1 ? look.other : look.muted, width: 2, type: index === 0 ? 'solid' : index === 1 ? 'dashed' : 'dotted' },
        itemStyle: { color: index === 0 ? look.accent : look.other },
        data: line.values,
      })), ...(input.band ? [band(input.times.map((_, at) => ({ at, lower: input.band?.lower[at] ?? null, upper: input.band?.upper[at] ?? null })), look.accent), rules([{ at: 0, upright: false, colour: look.faint }], look.font)] : [])],
    }),
  };
}

/** How many rows have which predicted effect. */
export function histogramChart(values: readonly number[], unit: Unit, summary: string): ChartSpec {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const n = high > low ? Math.min(30, Math.max(8, Math.ceil(Math.sqrt(values.length)))) : 1;
  const width = (high - low) / n || 1;
  const counts = new Array<number>(n).fill(0);
  for (const value of values) {
    const bin = Math.min(n - 1, Math.floor((value - low) / width));
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  const table: Table = {
    columns: [{ name: 'From', numeric: true }, { name: 'To', numeric: true }, { name: 'Rows', numeric: true }],
    rows: counts.map((count, bin) => [figure(low + bin * width, withUnit(low + bin * width, unit)), figure(low + (bin + 1) * width, withUnit(low + (bin + 1) * width, unit)), figure(count, thousands(count))]),
  };
  return {
    title: 'Predicted effects of the file',
    summary,
    file: 'predicted-effects',
    table,
    height: 240,
    option: (look) => ({
      ...frame(look, table, 'axis'),
      xAxis: { type: 'category', name: `Predicted effect${suffix(unit) && `,${suffix(unit)}`}`, nameLocation: 'middle', nameGap: 30, nameTextStyle: { color: look.muted }, data: counts.map((_, bin) => bare(low + (bin + 0.5) * width, unit)), axisTick: { show: false }, axisLine: { lineStyle: { color: look.faint } }, axisLabel: { color: look.muted, hideOverlap: true } },
      yAxis: valueAxis(look, 'Rows', thousands, { minInterval: 1 }),
      series: [{ type: 'bar', data: counts, barCategoryGap: '8%', itemStyle: { color: look.accent, borderRadius: [3, 3, 0, 0] } }],
    }),
  };
}

/** How far each column of the rows scored now is from the training rows. */
export function driftChart(columns: readonly { column: string; psi: number; alarm: boolean }[], summary: string): ChartSpec {
  const sorted = [...columns].sort((a, b) => Number(b.alarm) - Number(a.alarm) || b.psi - a.psi).slice(0, 20);
  const table: Table = {
    columns: [{ name: 'Column', numeric: false }, { name: 'Drift (PSI)', numeric: true }, { name: 'Reading', numeric: false }],
    rows: sorted.map(({ column, psi, alarm }) => [words(column), figure(psi, plain(psi)), words(alarm ? 'moved' : 'calm')]),
  };
  return {
    title: 'Are the people the same as in training?',
    summary,
    file: 'drift',
    table,
    height: 74 + sorted.length * 26,
    option: (look, width) => ({
      ...frame(look, table, 'item'),
      animation: false,
      grid: { left: 8, right: 24, top: 10, bottom: 34, containLabel: true },
      xAxis: baseAxis(look, 'Drift (population stability index)', (value) => tick(value), { min: 0, max: (range: { max: number }) => Math.max(0.1, range.max) }),
      yAxis: { type: 'category', inverse: true, data: sorted.map((entry) => entry.column), axisLine: { show: false }, axisTick: { show: false }, axisLabel: { color: look.ink, width: Math.min(190, width * 0.36), overflow: 'truncate', interval: 0 } },
      series: [
        {
          type: 'bar',
          barMaxWidth: 14,
          data: sorted.map(({ psi, alarm }) => ({ value: psi, itemStyle: { color: alarm ? look.bad : look.accent, borderRadius: 4 } })),
        },
      ],
    }),
  };
}
