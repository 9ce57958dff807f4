// Reading a CSV answer for showing it: quotes, doubled quotes, either line ending.

/** The header and the rows of a CSV text. */
export function readCsv(text: string): { header: string[]; rows: string[][] } {
  const lines: string[][] = [];
  let line: string[] = [];
  let cell = '';
  let quoted = false;
  const source = text.startsWith('\uFEFF') ? text.slice(1) : text;
  for (let i = 0; i < source.length; i++) {
    const c = source[i];
    if (quoted) {
      if (c !== '"') cell += c;
      else if (source[i + 1] === '"') (cell += '"'), i++;
      else quoted = false;
    } else if (c === '"' && cell === '') quoted = true;
    else if (c === ',') line.push(cell), (cell = '');
    else if (c === '\n') line.push(cell), lines.push(line), (line = []), (cell = '');
    else if (c !== '\r' || source[i + 1] !== '\n') cell += c;
  }
  if (cell !== '' || line.length > 0) line.push(cell), lines.push(line);
  const [header = [], ...rows] = lines;
  return { header, rows };
}
