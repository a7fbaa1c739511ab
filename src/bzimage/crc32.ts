/** CRC-32 as the kernel's build uses it: polynomial 0x04C11DB7 reflected, initial remainder 0xffffffff, no final inversion. */
import type { ByteView } from '../bytes/byte-view.js';
import type { PeImage } from './pe.js';

const POLYNOMIAL = 0xedb88320;
const SLICES = 8;

/** Tables for slicing-by-8: SLICES tables of 256 words, the first being the classic one. */
function makeTables(): Int32Array {
  const tables = new Int32Array(SLICES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ POLYNOMIAL;
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const before = tables[i - 256] ?? 0;
    tables[i] = (before >>> 8) ^ (tables[before & 0xff] ?? 0);
  }
  return tables;
}

let shared: Int32Array | undefined;

/** The register before the first byte. */
export const CRC32_START = 0xffffffff;

/** The register after `bytes`, as an unsigned 32-bit number. The common CRC-32 (zlib's) is its bitwise complement. */
export function crc32Register(bytes: Uint8Array, start: number = CRC32_START): number {
  const t = (shared ??= makeTables());
  let crc = start | 0;
  const { length } = bytes;
  const blocks = length - (length % SLICES);
  let at = 0;
  // Indexes are in range by construction: non-null assertions keep the hot loop free of checks.
  /* eslint-disable @typescript-eslint/no-non-null-assertion */
  for (; at < blocks; at += SLICES) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc =
      t[1792 + (crc & 0xff)]! ^
      t[1536 + ((crc >>> 8) & 0xff)]! ^
      t[1280 + ((crc >>> 16) & 0xff)]! ^
      t[1024 + (crc >>> 24)]! ^
      t[768 + bytes[at + 4]!]! ^
      t[512 + bytes[at + 5]!]! ^
      t[256 + bytes[at + 6]!]! ^
      t[bytes[at + 7]!]!;
  }
  for (; at < length; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 0xff]!;
  /* eslint-enable @typescript-eslint/no-non-null-assertion */
  return crc >>> 0;
}

const NO_CHECKSUM = 4;

/**
 * Whether the checksum of boot.rst, "The Image Checksum", holds: over the file up to the limit that syssize gives, with
 * the CRC in the last four of these bytes, the register ends at 0.
 *
 * Signing changes two places in the PE header after the CRC was computed; with their old contents (zero) put back, the
 * checksum of a signed image can still be proved.
 *
 * @param end file offset up to which syssize counts
 * @returns null if the image has no checksum: its place holds zeroes (6.16 and newer), or it was signed and cannot be told
 */
export function imageCrcHolds(file: ByteView, end: number, pe: PeImage | null): boolean | null {
  const limit = Math.min(end, file.length);
  if (limit <= NO_CHECKSUM) return null;
  const { bytes } = file;
  if (crc32Register(bytes.subarray(0, limit)) === 0) return true;
  if (file.u32(limit - NO_CHECKSUM) === 0) return null;
  if (pe === null || pe.certificateTable === null) return false;
  let register = CRC32_START;
  let at = 0;
  for (const { offset, length } of pe.signedFields) {
    register = crc32Register(new Uint8Array(length), crc32Register(bytes.subarray(at, offset), register));
    at = offset + length;
  }
  return crc32Register(bytes.subarray(at, limit), register) === 0 ? true : null;
}
