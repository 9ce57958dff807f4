// The two shapes uncertainty takes on every chart: a band along a curve, a whisker at a point.
import type { CustomSeriesRenderItemAPI, CustomSeriesRenderItemParams } from 'echarts';
import { known } from '../numbers/format';

/** Where a band or whisker stands: position, lower and upper end. */
export interface Range {
  at: number;
  lower: number | null;
  upper: number | null;
}

/** A polygon between the lower and the upper ends of a curve. */
export function band(ranges: readonly Range[], colour: string, opacity = 0.14): object {
  const drawn = ranges.filter((range) => known(range.lower) && known(range.upper));
  return {
    type: 'custom',
    silent: true,
    animation: false,
    tooltip: { show: false },
    clip: true,
    z: 1,
    // One item draws the whole polygon; the axes still see every end.
    data: drawn.map((range) => [range.at, range.lower, range.upper]),
    encode: { x: 0, y: [1, 2] },
    renderItem: (params: CustomSeriesRenderItemParams, api: CustomSeriesRenderItemAPI) => {
      if (params.dataIndex !== 0) return null;
      const upper = drawn.map((range) => api.coord([range.at, range.upper as number]));
      const lower = drawn.map((range) => api.coord([range.at, range.lower as number])).reverse();
      return { type: 'polygon', shape: { points: [...upper, ...lower] }, style: { fill: colour, opacity } };
    },
  };
}

/** A line with caps from the lower to the upper end, upright or lying. */
export function whiskers(ranges: readonly Range[], colour: string, lying = false): object {
  return {
    type: 'custom',
    silent: true,
    animation: false,
    tooltip: { show: false },
    z: 3,
    data: ranges.map((range) => (lying ? [range.lower ?? null, range.at, range.upper ?? null] : [range.at, range.lower ?? null, range.upper ?? null])),
    encode: lying ? { x: [0, 2], y: 1 } : { x: 0, y: [1, 2] },
    renderItem: (params: CustomSeriesRenderItemParams, api: CustomSeriesRenderItemAPI) => {
      const range = ranges[params.dataIndex];
      if (!range || !known(range.lower) || !known(range.upper)) return null;
      const [x1 = 0, y1 = 0] = api.coord(lying ? [range.lower, range.at] : [range.at, range.lower]);
      const [x2 = 0, y2 = 0] = api.coord(lying ? [range.upper, range.at] : [range.at, range.upper]);
      const cap = 4;
      const line = (a: number, b: number, c: number, d: number) => ({
        type: 'line' as const,
        shape: { x1: a, y1: b, x2: c, y2: d },
        style: { stroke: colour, lineWidth: 1.5 },
      });
      const caps = lying
        ? [line(x1, y1 - cap, x1, y1 + cap), line(x2, y2 - cap, x2, y2 + cap)]
        : [line(x1 - cap, y1, x1 + cap, y1), line(x2 - cap, y2, x2 + cap, y2)];
      return { type: 'group', children: [line(x1, y1, x2, y2), ...caps] };
    },
  };
}

/** Straight lines across the drawing: at an x (`upright`) or at a y, each with an optional word at its end. */
export function rules(lines: readonly { at: number; upright: boolean; label?: string; colour: string; solid?: boolean; bold?: boolean }[], font: string): object {
  return {
    type: 'custom',
    silent: true,
    animation: false,
    tooltip: { show: false },
    clip: false,
    z: 4,
    // No position of its own: axes keep the range of the data.
    data: [[null, null]],
    encode: { tooltip: [] },
    renderItem: (params: CustomSeriesRenderItemParams, api: CustomSeriesRenderItemAPI) => {
      const area = params.coordSys as unknown as { x: number; y: number; width: number; height: number };
      const children = lines.flatMap((line) => {
        const [x = 0, y = 0] = api.coord([line.upright ? line.at : 0, line.upright ? 0 : line.at]);
        const inside = line.upright ? x >= area.x - 1 && x <= area.x + area.width + 1 : y >= area.y - 1 && y <= area.y + area.height + 1;
        if (!inside) return [];
        const shape = line.upright ? { x1: x, y1: area.y, x2: x, y2: area.y + area.height } : { x1: area.x, y1: y, x2: area.x + area.width, y2: y };
        const stroke = { type: 'line' as const, silent: true, shape, style: { stroke: line.colour, lineWidth: 1.5, ...(line.solid ? {} : { lineDash: [4, 4] }) } };
        if (!line.label) return [stroke];
        const near = line.upright ? x > area.x + area.width - 30 : true;
        const text = {
          type: 'text' as const,
          silent: true,
          x: line.upright ? x : area.x + area.width,
          y: line.upright ? area.y - 7 : y - 5,
          style: { text: line.label, fill: line.colour, font: `${line.bold ? '600 ' : ''}12px ${font}`, align: line.upright && !near ? ('center' as const) : ('right' as const), verticalAlign: 'bottom' as const },
        };
        return [stroke, text];
      });
      // Lines that fell outside since the last drawing must go, not stay where they were.
      return children.length === 0 ? null : { type: 'group', $mergeChildren: false, children };
    },
  };
}
