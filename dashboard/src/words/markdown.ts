// The few marks a model card uses, read into blocks; text stays text, so nothing in a card can run.

/** A block of a card. */
export type Block =
  | { kind: 'heading'; level: number; text: Span[] }
  | { kind: 'paragraph'; text: Span[] }
  | { kind: 'list'; items: Span[][] }
  | { kind: 'table'; header: Span[][]; rows: Span[][][] };

/** A run of text. */
export interface Span {
  text: string;
  style: 'plain' | 'code' | 'strong' | 'emphasis';
}

/** `code` and **strong** inside a line. */
export function spans(line: string): Span[] {
  return line
    .split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s][^*]*\*)/)
    .filter((part) => part !== '')
    .map((part): Span => {
      if (part.startsWith('`') && part.endsWith('`') && part.length > 2) return { text: part.slice(1, -1), style: 'code' };
      if (part.startsWith('**') && part.endsWith('**') && part.length > 4) return { text: part.slice(2, -2), style: 'strong' };
      if (part.startsWith('*') && part.endsWith('*') && part.length > 2) return { text: part.slice(1, -1), style: 'emphasis' };
      return { text: part, style: 'plain' };
    });
}

const cells = (line: string) => line.replace(/^\|/, '').replace(/\|\s*$/, '').split('|').map((cell) => spans(cell.trim()));

/** Reads a card. */
export function readMarkdown(source: string): Block[] {
  const blocks: Block[] = [];
  for (const chunk of source.replaceAll('\r\n', '\n').split(/\n{2,}/)) {
    let lines = chunk.split('\n').filter((line) => line.trim() !== '');
    const heading = /^(#{1,6})\s+(.*)$/.exec(lines[0] ?? '');
    if (heading) {
      blocks.push({ kind: 'heading', level: heading[1]?.length ?? 1, text: spans(heading[2] ?? '') });
      lines = lines.slice(1);
    }
    if (lines.length === 0) continue;
    if (lines.every((line) => /^\s*[-*]\s+/.test(line))) blocks.push({ kind: 'list', items: lines.map((line) => spans(line.replace(/^\s*[-*]\s+/, ''))) });
    else if (lines.length > 1 && lines.every((line) => line.trimStart().startsWith('|'))) {
      const [header = '', , ...rows] = lines;
      blocks.push({ kind: 'table', header: cells(header), rows: rows.map(cells) });
    } else blocks.push({ kind: 'paragraph', text: spans(lines.join(' ')) });
  }
  return blocks;
}
