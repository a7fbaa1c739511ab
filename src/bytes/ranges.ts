import { BootImageError } from './error.js';
import { hex } from './numbers.js';

/** A half-open range of addresses or file offsets: [start, end). */
export interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
}

export function rangesOverlap(a: AddressRange, b: AddressRange): boolean {
  return a.start < b.end && b.start < a.end;
}

export function rangeContains(outer: AddressRange, inner: AddressRange): boolean {
  return outer.start <= inner.start && inner.end <= outer.end;
}

/** The first pair of overlapping ranges (in address order), or null. Empty ranges overlap nothing. */
export function findOverlap<T extends AddressRange>(ranges: readonly T[]): readonly [T, T] | null {
  const sorted = ranges
    .filter((range) => range.end > range.start)
    .sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  let highest: T | undefined;
  for (const range of sorted) {
    if (highest !== undefined && rangesOverlap(highest, range)) return [highest, range];
    if (highest === undefined || range.end > highest.end) highest = range;
  }
  return null;
}

/** `outer` without the `holes`, in address order. */
export function subtractRanges(outer: AddressRange, holes: readonly AddressRange[]): AddressRange[] {
  const sorted = [...holes].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  const free: AddressRange[] = [];
  let start = outer.start;
  for (const hole of sorted) {
    if (hole.end <= start || hole.start >= outer.end) continue;
    if (hole.start > start) free.push({ start, end: hole.start });
    start = hole.end;
  }
  if (start < outer.end) free.push({ start, end: outer.end });
  return free;
}

/** @throws BootImageError `bad-field` if `start + size` wraps around 2^64. */
export function rangeOf(start: bigint, size: bigint, field?: string): AddressRange {
  const end = start + size;
  if (start < 0n || size < 0n || end > 1n << 64n) {
    throw new BootImageError('bad-field', `range ${hex(start)} + ${hex(size)} wraps around the address space`, {
      field,
    });
  }
  return { start, end };
}
