// Files a reader takes along: a chart's table as CSV or JSON, its picture as PNG.
import type { ChartSpec, Table } from '../charts/spec';

/** One CSV cell; quoted where needed, and never a formula a spreadsheet would run. */
function csvCell(value: number | string | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const safe = /^[=+@\t\r-]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The table as CSV with full precision. */
export function tableCsv(table: Table): string {
  const lines = [table.columns.map((column) => csvCell(column.name)), ...table.rows.map((row) => row.map((cell) => csvCell(cell.raw)))];
  return `${lines.map((line) => line.join(',')).join('\n')}\n`;
}

/** The chart's data as JSON: one object per row. */
export function chartJson(spec: ChartSpec): string {
  const rows = spec.table.rows.map((row) => Object.fromEntries(spec.table.columns.map((column, index) => [column.name, row[index]?.raw ?? null])));
  return `${JSON.stringify({ title: spec.title, summary: spec.summary, rows }, null, 2)}\n`;
}

/** Hands a file to the browser. */
export function saveBlob(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // The browser has taken its copy by the next second.
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** Hands text to the browser as a file. */
export function saveText(text: string, name: string, type: string): void {
  saveBlob(new Blob([text], { type: `${type};charset=utf-8` }), name);
}
