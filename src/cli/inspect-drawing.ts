/** Bars: a file's layout and a kernel's memory, to scale. */
import type { CliIo } from './io.js';

type Style = Parameters<CliIo['paint']>[0];

export interface Part {
  readonly label: string;
  /** Bytes; only the proportion matters. */
  readonly length: number;
  /** One character, drawn over the part's width. */
  readonly fill: string;
  readonly style: Style;
}

/** Cells for each part, in proportion, at least one each, `width` in all (if there are no more parts than cells). */
export function apportion(lengths: readonly number[], width: number): number[] {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const cells = lengths.map((length) => Math.max(1, Math.round(total === 0 ? 0 : (length / total) * width)));
  let excess = cells.reduce((sum, count) => sum + count, 0) - width;
  while (excess !== 0) {
    // Rounding is paid by the largest part, where it shows least.
    const largest = cells.indexOf(Math.max(...cells));
    const change = excess > 0 ? Math.min(excess, (cells[largest] ?? 1) - 1) : excess;
    if (change === 0) break;
    cells[largest] = (cells[largest] ?? 0) - change;
    excess -= change;
  }
  return cells;
}

/** A label inside a part if there is room for it. */
function labelled(part: Part, width: number): string {
  const text = ` ${part.label} `;
  if (part.label === '' || text.length > width) return part.fill.repeat(width);
  const left = Math.floor((width - text.length) / 2);
  return part.fill.repeat(left) + text + part.fill.repeat(width - text.length - left);
}

/** One framed line of parts to scale, `width` columns wide. */
export function bar(parts: readonly Part[], width: number, io: CliIo): string[] {
  const shown = parts.filter(({ length }) => length > 0);
  const inside = width - 2;
  if (shown.length === 0 || shown.length * 2 > inside) return [];
  const cells = apportion(
    shown.map(({ length }) => length),
    inside - (shown.length - 1),
  );
  const rule = (left: string, middle: string, right: string): string =>
    left + cells.map((count) => '─'.repeat(count)).join(middle) + right;
  const line = shown.map((part, i) => io.paint(part.style, labelled(part, cells[i] ?? 1))).join('│');
  return [rule('┌', '┬', '┐'), `│${line}│`, rule('└', '┴', '┘')];
}

/** Rows of cells, padded to columns; numbers and sizes are right-aligned by the caller's choice. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

/** Text broken at spaces into lines of at most `width` columns; a longer word keeps its length. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
