/** Identity-mapped four-level page tables in 2 MiB pages (Intel SDM vol. 3, 4.5; AMD APM vol. 2, 5.3). */
import { BootImageError } from '../bytes/error.js';
import type { AddressRange } from '../bytes/ranges.js';
import { FOUR_GIB } from './placement.js';

const PRESENT_WRITABLE = 0x3n;
const LARGE_PAGE = 0x80n;
const ENTRIES = 512;
const TABLE_SIZE = 4096;
const GIB_SHIFT = 30n;
/** What one level-4 table reaches without the upper canonical half. */
const LIMIT = 1n << 47n;

/** Numbers of the GiB-sized pieces of address space that have to be mapped: the first four, and those the ranges touch. */
function gigabytes(ranges: readonly AddressRange[]): bigint[] {
  const numbers = new Set<bigint>();
  for (const { start, end } of [{ start: 0n, end: FOUR_GIB }, ...ranges]) {
    if (end > LIMIT) {
      throw new BootImageError('does-not-fit', 'four-level page tables reach no address above 128 TiB', {
        field: 'cr3',
      });
    }
    if (end === start) continue;
    for (let gib = start >> GIB_SHIFT; gib <= (end - 1n) >> GIB_SHIFT; gib++) numbers.add(gib);
  }
  return [...numbers].sort((a, b) => (a < b ? -1 : 1));
}

/** Bytes that `buildIdentityMap` needs for the same ranges. */
export function identityMapSize(ranges: readonly AddressRange[]): number {
  const directories = gigabytes(ranges);
  const pointerTables = new Set(directories.map((gib) => gib >> 9n)).size;
  return (1 + pointerTables + directories.length) * TABLE_SIZE;
}

/**
 * Tables that map the first 4 GiB and every GiB that a range touches onto themselves, readable, writable and
 * executable. The first page is the top table (cr3 = `address`).
 * @param address where they will lie: guest physical, 4 KiB aligned.
 * @throws BootImageError `does-not-fit` for a range above 128 TiB.
 */
export function buildIdentityMap(address: bigint, ranges: readonly AddressRange[]): Uint8Array {
  const bytes = new Uint8Array(identityMapSize(ranges));
  const entries = new BigUint64Array(bytes.buffer);
  const top = 0;
  let next = 1;
  /** The table an entry points to, made on first use. */
  const table = (parent: number, index: number): number => {
    const slot = parent * ENTRIES + index;
    const present = entries[slot] ?? 0n;
    if (present !== 0n) return Number((present - address) >> 12n);
    entries[slot] = (address + BigInt(next * TABLE_SIZE)) | PRESENT_WRITABLE;
    return next++;
  };
  for (const gib of gigabytes(ranges)) {
    const pointers = table(top, Number(gib >> 9n));
    const directory = table(pointers, Number(gib & 511n));
    for (let i = 0; i < ENTRIES; i++) {
      entries[directory * ENTRIES + i] = (gib << GIB_SHIFT) | (BigInt(i) << 21n) | LARGE_PAGE | PRESENT_WRITABLE;
    }
  }
  return bytes;
}
