/** Writes a plan's regions into a file that is, or becomes, a guest's memory. */
import { writeSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { BootImageError } from '../../bytes/error.js';
import type { Region } from '../../boot/plan.js';

/** A file's blocks and the guest's pages are this large; holes are left in such units. */
const PAGE = 4096;
const ZERO = new Uint8Array(1 << 20);

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length;) {
    at += writeSync(fd, bytes, at, bytes.length - at, position + at);
  }
}

function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  // Most pages show it in their first or last byte.
  if (bytes[start] !== 0 || bytes[end - 1] !== 0) return false;
  return Buffer.compare(bytes.subarray(start, end), ZERO.subarray(0, end - start)) === 0;
}

/** First byte at or behind `from` (a page boundary) whose page is not all zero, or all zero if `zero`. */
function findPage(bytes: Uint8Array, from: number, zero: boolean): number {
  let at = from;
  for (; at < bytes.length; at += PAGE) {
    if (isZero(bytes, at, Math.min(at + PAGE, bytes.length)) === zero) return at;
  }
  return bytes.length;
}

/** So much is written without a look at anything else: a few hundredths of a second on a slow disk. */
const BLOCK = 4 << 20;

/** Writes what is not zero, in as few calls as possible. */
function writeSparsely(fd: number, bytes: Uint8Array, position: number): void {
  for (let start = findPage(bytes, 0, false); start < bytes.length;) {
    const end = findPage(bytes, start, true);
    writeAll(fd, bytes.subarray(start, end), position + start);
    start = findPage(bytes, end, false);
  }
}

function writeZeros(fd: number, position: number, length: number): void {
  for (let at = 0; at < length; at += ZERO.length) {
    writeAll(fd, ZERO.subarray(0, Math.min(ZERO.length, length - at)), position + at);
  }
}

/**
 * @param offsetOf where a region's first byte lies in the file; throws for a region that does not fit, and is asked
 * for every region before anything is written.
 * @param fresh the file still reads as zeros: holes are left where the plan has zeros. Otherwise they are written.
 * @throws BootImageError `machine-failed` when the file cannot take the bytes (a full disk)
 */
export function writeRegions(
  fd: number,
  regions: readonly Region[],
  offsetOf: (region: Region) => number,
  fresh: boolean,
): void {
  const places = regions.map((region) => ({ region, offset: offsetOf(region) }));
  try {
    for (const { region, offset } of places) {
      const bytes = region.bytes ?? new Uint8Array(0);
      if (fresh) {
        writeSparsely(fd, bytes, offset);
      } else {
        writeAll(fd, bytes, offset);
        writeZeros(fd, offset + bytes.length, region.size - bytes.length);
      }
    }
  } catch (error) {
    throw new BootImageError('machine-failed', "the file for the guest's memory cannot be written", {
      hint: error instanceof Error ? error.message : undefined,
      cause: error,
    });
  }
}

/**
 * Writes regions at their addresses into a file that still reads as zeros, as `writeRegions` does, but lets the event
 * loop turn in between; what the system refuses is thrown as it is.
 */
export async function writeRegionsInTurns(fd: number, regions: readonly Region[]): Promise<void> {
  for (const { address, bytes = new Uint8Array(0) } of regions) {
    for (let at = 0; at < bytes.length; at += BLOCK) {
      writeSparsely(fd, bytes.subarray(at, at + BLOCK), Number(address) + at);
      await nextTurn();
    }
  }
}
