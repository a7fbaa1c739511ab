/** What a plan writes, as offsets in a window: checked as a whole before the first access. */
import { BootImageError } from '../../bytes/error.js';
import { hex } from '../../bytes/numbers.js';
import { findOverlap } from '../../bytes/ranges.js';
import type { Region } from '../../boot/plan.js';
import type { AccessWidth, MemoryWindow } from './memory-window.js';

/** A region's place, in bytes from the beginning of the window's memory. */
export interface Placed {
  readonly start: number;
  readonly end: number;
  readonly region: Region;
}

/** Memory that the plan covers without a gap; the words at its edges are the only ones it may cover in part. */
export interface Span {
  readonly start: number;
  readonly end: number;
  readonly parts: readonly Placed[];
}

/**
 * What to do with a word that the plan covers only in part.
 * `merge`: read it, replace the plan's bytes and write it whole, so that its other bytes are written with the value
 * that they had. `refuse`: such a plan is refused; nothing but the plan's bytes is ever written.
 */
export type EdgeRule = 'merge' | 'refuse';

function place(region: Region, window: Pick<MemoryWindow, 'address' | 'size'>): Placed {
  const start = region.address - window.address;
  const end = start + BigInt(region.size);
  if (start < 0n || end > BigInt(window.size)) {
    const shown = `${hex(window.address)}-${hex(window.address + BigInt(window.size))}`;
    const wanted = `${hex(region.address)}-${hex(region.address + BigInt(region.size))}`;
    throw new BootImageError('does-not-fit', `${region.label} (${wanted}) is not inside the window's ${shown}`, {
      field: 'regions',
      hint: 'plan with no more memory than the window reaches; nothing was written',
    });
  }
  return { start: Number(start), end: Number(end), region };
}

function checkEdge(offset: number, label: string, address: bigint, width: AccessWidth): void {
  if (offset % width === 0) return;
  const where = hex(address + BigInt(offset));
  throw new BootImageError(
    'does-not-fit',
    `${label} has an edge at ${where}, inside a word of ${String(width)} bytes`,
    { field: 'regions', hint: 'use narrower accesses, or allow edges to be merged; nothing was written' },
  );
}

/**
 * The regions as spans in address order.
 * @throws BootImageError `does-not-fit`, `overlap`, and `bad-field` for a region whose bytes exceed its size
 */
export function planSpans(
  regions: readonly Region[],
  window: Pick<MemoryWindow, 'address' | 'size'>,
  width: AccessWidth,
  edges: EdgeRule,
): Span[] {
  const placed = regions.map((region) => place(region, window)).sort((a, b) => a.start - b.start);
  for (const { region } of placed) {
    if (region.size <= 0 || (region.bytes?.length ?? 0) > region.size) {
      throw new BootImageError('bad-field', `${region.label} holds more bytes than its size`, { field: 'regions' });
    }
  }
  const clash = findOverlap(
    placed.map(({ start, end, region }) => ({ start: BigInt(start), end: BigInt(end), region })),
  );
  if (clash !== null) {
    const [{ region: first }, { region: second }] = clash;
    throw new BootImageError('overlap', `${first.label} and ${second.label} claim the same memory`, {
      field: 'regions',
    });
  }
  const spans: { start: number; end: number; parts: Placed[] }[] = [];
  for (const part of placed) {
    const last = spans.at(-1);
    if (last?.end === part.start) {
      last.parts.push(part);
      last.end = part.end;
    } else {
      spans.push({ start: part.start, end: part.end, parts: [part] });
    }
  }
  if (edges === 'refuse') {
    for (const { start, end, parts } of spans) {
      checkEdge(start, parts[0]?.region.label ?? '', window.address, width);
      checkEdge(end, parts.at(-1)?.region.label ?? '', window.address, width);
    }
  }
  return spans;
}
