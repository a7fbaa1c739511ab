/**
 * Segment descriptors and the GDT that the 32-bit and 64-bit boot protocols ask for (boot.rst, "32-bit Boot
 * Protocol" and "64-bit Boot Protocol"; Intel SDM vol. 3, 3.4.5 and 3.5.1).
 */
import type { SegmentState } from './plan.js';

/** __BOOT_CS and __BOOT_DS of boot.rst. */
export const BOOT_CS = 0x10;
export const BOOT_DS = 0x18;

/** A flat segment: base 0, limit 4 GiB, ring 0, present, accessed; code execute/read, data read/write. */
function flat(selector: number, access: number): SegmentState {
  return { selector, base: 0n, limit: 0xffffffff, access };
}

export const FLAT_CODE_32 = flat(BOOT_CS, 0xc09b);
export const FLAT_CODE_64 = flat(BOOT_CS, 0xa09b);
export const FLAT_DATA = flat(BOOT_DS, 0xc093);

/** A real-mode segment as the hardware holds it: base selector << 4, 64 KiB. */
export function realModeSegment(selector: number, kind: 'code' | 'data'): SegmentState {
  return { selector, base: BigInt(selector) << 4n, limit: 0xffff, access: kind === 'code' ? 0x9b : 0x93 };
}

/** The 8-byte descriptor of a segment. The limit is stored in pages when the access word has G (bit 15). */
export function encodeDescriptor(segment: SegmentState): Uint8Array {
  const limit = (segment.access & 0x8000) === 0 ? segment.limit : segment.limit >>> 12;
  const base = Number(segment.base);
  return Uint8Array.of(
    limit & 0xff,
    (limit >>> 8) & 0xff,
    base & 0xff,
    (base >>> 8) & 0xff,
    (base >>> 16) & 0xff,
    segment.access & 0xff,
    ((segment.access >>> 8) & 0xf0) | ((limit >>> 16) & 0xf),
    (base >>> 24) & 0xff,
  );
}

/** A table with the given code and data segments at their selectors, everything else null: 32 bytes for 0x10 and 0x18. */
export function buildGdt(...segments: readonly SegmentState[]): Uint8Array {
  const size = Math.max(...segments.map(({ selector }) => (selector & ~7) + 8));
  const table = new Uint8Array(size);
  for (const segment of segments) table.set(encodeDescriptor(segment), segment.selector & ~7);
  return table;
}
