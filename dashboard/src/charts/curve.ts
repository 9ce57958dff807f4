// Curves over the share of people treated, best first: Qini, gain, TOC, profit.
import { known, share } from '../numbers/format';
import type { CurvePoint } from '../numbers/profit';
import { band, rules } from './shapes';
import { baseAxis, endLabel, figure, frame, valueAxis, words, type ChartSpec, type Look, type Table } from './spec';

/** One line of a curve chart. */
export interface CurveLine {
  name: string;
  points: readonly CurvePoint[];
  /** The second model of a comparison is drawn in the other colour. */
  second?: boolean;
}

/** What a curve chart shows. */
export interface CurveInput {
  title: string;
  summary: string;
  file: string;
  lines: readonly CurveLine[];
  /** Name of the vertical axis, with its unit. */
  axis: string;
  /** A value as text, with its unit. */
  text: (value: number) => string;
  /** A value on the axis. */
  tick: (value: number) => string;
  /** `random`: a straight line to the end of the first curve; `zero`: none but the axis. */
  reference: 'random' | 'zero';
  /** A share to mark, e.g. where a slider stands. */
  marked?: { fraction: number; label: string } | null;
  height?: number;
}

function tableOf(input: CurveInput): Table {
  const several = input.lines.length > 1;
  const columns = [{ name: 'People treated', numeric: true }];
  input.lines.forEach((line) => {
    columns.push({ name: several ? line.name : 'Value', numeric: true }, { name: several ? `${line.name}, lower` : 'Lower', numeric: true }, { name: several ? `${line.name}, upper` : 'Upper', numeric: true });
  });
  const base = input.lines[0]?.points ?? [];
  const others = input.lines.map((line) => new Map(line.points.map((point) => [point.fraction.toFixed(4), point])));
  const rows = base.map((at, index) => {
    const row = [figure(at.fraction, share(at.fraction))];
    input.lines.forEach((line, which) => {
      const point = others[which]?.get(at.fraction.toFixed(4)) ?? line.points[index];
      const cell = (value: number | null | undefined) => (known(value) ? figure(value, input.text(value)) : words(''));
      row.push(cell(point?.value), cell(point?.lower), cell(point?.upper));
    });
    return row;
  });
  return { columns, rows };
}

function seriesOf(line: CurveLine, look: Look, label: boolean): object[] {
  const colour = line.second ? look.other : look.accent;
  const ranges = line.points.map(({ fraction, value, lower, upper }) => ({
    at: fraction,
    lower: lower ?? (fraction === 0 ? value : null),
    upper: upper ?? (fraction === 0 ? value : null),
  }));
  return [
    {
      type: 'line',
      name: line.name,
      showSymbol: false,
      z: 2,
      lineStyle: { color: colour, width: 2.5, type: line.second ? 'dashed' : 'solid' },
      itemStyle: { color: colour },
      ...(label ? { endLabel: endLabel(line.name, colour) } : {}),
      data: line.points.map((point) => [point.fraction, point.value]),
    },
    band(ranges, colour, line.second ? 0.1 : 0.15),
  ];
}

/** A chart of curves with their 95 % bands. */
export function curveChart(input: CurveInput): ChartSpec {
  const table = tableOf(input);
  return {
    title: input.title,
    summary: input.summary,
    file: input.file,
    table,
    height: input.height ?? 340,
    option: (look) => {
      const end = input.lines[0]?.points.at(-1);
      const random = input.reference === 'random' && end && {
        type: 'line',
        name: 'at random',
        silent: true,
        showSymbol: false,
        lineStyle: { color: look.faint, type: 'dashed', width: 1.5 },
        data: [[0, 0], [end.fraction, end.value]],
      };
      const marked = input.marked ? [{ at: input.marked.fraction, upright: true, label: input.marked.label, colour: look.ink, solid: true, bold: true }] : [];
      const zero = input.reference === 'zero' ? [{ at: 0, upright: false, colour: look.faint }] : [];
      return {
        ...frame(look, table, 'axis'),
        ...(input.lines.length > 1 ? { grid: { left: 8, right: 96, top: 34, bottom: 30, containLabel: true } } : {}),
        xAxis: baseAxis(look, 'Share of people treated, best first', share, { min: 0, max: 1 }),
        yAxis: valueAxis(look, input.axis, input.tick, { scale: false }),
        series: [...input.lines.flatMap((line) => seriesOf(line, look, input.lines.length > 1)), ...(random ? [random] : []), rules([...zero, ...marked], look.font)],
      };
    },
  };
}
