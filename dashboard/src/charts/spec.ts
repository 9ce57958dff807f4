// What a chart is before it is drawn: plain data, its table twin, and a recipe for the drawing.
// Nothing here fetches; the same specs can stand in a report without a server.
import type { EChartsCoreOption } from 'echarts/core';

/** A cell: the raw number or text, and how it is shown when that differs. */
export interface Cell {
  raw: number | string | null;
  text: string;
}

/** The table twin of a chart: what is drawn, to read, to copy, to export. */
export interface Table {
  columns: { name: string; numeric: boolean }[];
  rows: Cell[][];
}

/** The colours of the page's theme, read when a chart is drawn. */
export interface Look {
  ink: string;
  muted: string;
  faint: string;
  grid: string;
  surface: string;
  accent: string;
  other: string;
  good: string;
  bad: string;
  caution: string;
  font: string;
}

/** A chart ready to be drawn in any theme and width. */
export interface ChartSpec {
  title: string;
  /** One sentence that says what the picture shows; read aloud in its place. */
  summary: string;
  /** File name of exports, without an ending. */
  file: string;
  table: Table;
  height?: number;
  option: (look: Look, width: number) => EChartsCoreOption;
}

/** A text cell. */
export function words(text: string): Cell {
  return { raw: text, text };
}

/** A number cell. */
export function figure(raw: number | null | undefined, text: string): Cell {
  return { raw: raw ?? null, text };
}

/** The tooltip of a point: its row of the table twin, column by column. */
export function tooltipOf(table: Table, row: number): HTMLElement {
  const box = document.createElement('div');
  box.className = 'chart-tip';
  table.columns.forEach((column, index) => {
    const cell = table.rows[row]?.[index];
    if (!cell || cell.text === '') return;
    const line = document.createElement('div');
    const name = document.createElement('span');
    name.textContent = column.name;
    const value = document.createElement('strong');
    value.textContent = cell.text;
    line.append(name, value);
    box.append(line);
  });
  return box;
}

/** Room around the drawing, and type that fits the page. */
export function frame(look: Look, table: Table, trigger: 'axis' | 'item'): EChartsCoreOption {
  return {
    animationDuration: 240,
    animationDurationUpdate: 160,
    textStyle: { fontFamily: look.font, color: look.muted, fontSize: 12 },
    grid: { left: 8, right: 18, top: 34, bottom: 30, containLabel: true },
    tooltip: {
      trigger,
      confine: true,
      backgroundColor: look.surface,
      borderColor: look.grid,
      borderWidth: 1,
      padding: 0,
      extraCssText: 'box-shadow: 0 6px 24px rgb(0 0 0 / .14); border-radius: 10px;',
      textStyle: { color: look.ink, fontFamily: look.font, fontSize: 12 },
      axisPointer: { type: 'line', lineStyle: { color: look.faint, type: 'dashed' } },
      formatter: (given: unknown) => {
        const first = (Array.isArray(given) ? given[0] : given) as { dataIndex?: number } | undefined;
        return tooltipOf(table, first?.dataIndex ?? 0);
      },
    },
  };
}

/** A value axis that keeps quiet. */
export function valueAxis(look: Look, name: string, text: (value: number) => string, more: object = {}): object {
  return {
    type: 'value',
    name,
    nameTextStyle: { color: look.muted, align: 'left', padding: [0, 0, 4, 0] },
    axisLine: { show: false, onZero: false },
    axisTick: { show: false },
    splitLine: { lineStyle: { color: look.grid } },
    axisLabel: { color: look.muted, formatter: text, hideOverlap: true, margin: 10 },
    ...more,
  };
}

/** A horizontal axis with its name centred below. */
export function baseAxis(look: Look, name: string, text: (value: number) => string, more: object = {}): object {
  return {
    ...valueAxis(look, name, text),
    nameLocation: 'middle',
    nameGap: 30,
    nameTextStyle: { color: look.muted },
    splitLine: { show: false },
    axisLine: { show: true, onZero: false, lineStyle: { color: look.faint } },
    ...more,
  };
}

/** Points without a line between them. */
export function dots(size: number): object {
  return { type: 'line', symbol: 'circle', symbolSize: size, showAllSymbol: true, lineStyle: { width: 0 } };
}

/** A name at the end of a line, for charts with more than one. */
export function endLabel(name: string, colour: string, up = 0): object {
  return { show: true, formatter: name, color: colour, fontWeight: 600, distance: 6, offset: [0, -up] };
}

/** How far to lift the labels of lines (in pixels) so that those of lines that end side by side can be read. `beside` widens the range that `height` shows. */
export function apart(values: readonly (readonly (number | null)[])[], height: number, beside: readonly (number | null)[] = [0]): number[] {
  const shown = [...values.flat(), ...beside].filter((value) => value !== null);
  const least = Math.min(...shown);
  const span = Math.max(...shown) - least;
  const ends = values.flatMap((line, index) => {
    const end = line.findLast((value) => value !== null);
    return end === undefined || end === null ? [] : [{ index, at: span > 0 ? ((end - least) / span) * height : 0 }];
  });
  const lifted = new Array<number>(values.length).fill(0);
  let below = -Infinity;
  for (const { index, at } of [...ends].sort((a, b) => a.at - b.at || b.index - a.index)) {
    const place = Math.max(at, below + 15);
    lifted[index] = place - at;
    below = place;
  }
  return lifted;
}
