/**
 * The relocation table that arch/x86/tools/relocs.c writes and the kernel's build appends to vmlinux before
 * compressing. Nothing in the ELF file or the setup header announces it; its structure does.
 *
 * Little-endian 32-bit words, each group preceded by a zero word:
 *
 *     32-bit             0 abs32...
 *     64-bit, 3 groups   0 abs64... 0 inverse32... 0 abs32...
 *     64-bit, 2 groups   0 abs64... 0 abs32...          (since the per-CPU area is no longer linked at zero, Linux 6.15)
 *
 * A group may be empty. Entries are virtual addresses, sign-extended to 64 bits; 0 is none of them, so that the count of
 * zero words tells the layouts apart.
 */
import { BootImageError } from '../bytes/error.js';
import { wordsOf } from './words.js';

export interface RelocationTable {
  /** Everything behind the ELF file, shared. */
  readonly bytes: Uint8Array;
  /** How many groups it has: 1 (32-bit), 2 or 3. */
  readonly groups: 1 | 2 | 3;
  /** Addresses of 64-bit words that move with the kernel. Sign-extend them to get virtual addresses. */
  readonly abs64: Int32Array;
  /** Addresses of 32-bit words that move against it (relative to the per-CPU area, which does not move). */
  readonly inverse32: Int32Array;
  /** Addresses of 32-bit words that move with the kernel. */
  readonly abs32: Int32Array;
}

function malformed(message: string, offset: number): BootImageError {
  return new BootImageError('relocations-malformed', message, {
    offset,
    field: 'relocations',
    hint: 'the kernel can only run at the addresses it was linked for',
  });
}

/**
 * Recognises the table by its structure alone. Whether the addresses lie inside the kernel is checked when they are used.
 *
 * @param bytes what follows the ELF file
 * @param bits class of the kernel
 * @param base offset of `bytes` in the decompressed kernel, for messages
 * @throws BootImageError `relocations-malformed`
 */
export function readRelocationTable(bytes: Uint8Array, bits: 32 | 64, base = 0): RelocationTable {
  if (bytes.length % 4 !== 0) throw malformed(`${bytes.length} bytes behind the ELF file are no table of words`, base);
  const words = wordsOf(bytes);
  const zeros: number[] = [];
  for (let at = words.indexOf(0); at >= 0 && zeros.length < 4; at = words.indexOf(0, at + 1)) zeros.push(at);
  const [first, second, third] = zeros;
  if (first !== 0) throw malformed('the bytes behind the ELF file do not begin with the zero word of a table', base);
  const none = words.subarray(0, 0);
  if (bits === 32) {
    if (second !== undefined) throw malformed('a 32-bit table has one group, here are more', base + second * 4);
    return { bytes, groups: 1, abs64: none, inverse32: none, abs32: words.subarray(1) };
  }
  if (second === undefined) throw malformed('a 64-bit table has two or three groups, here is one', base);
  if (zeros.length > 3)
    throw malformed('a 64-bit table has two or three groups, here are more', base + (zeros[3] ?? 0) * 4);
  const abs64 = words.subarray(1, second);
  return third === undefined
    ? { bytes, groups: 2, abs64, inverse32: none, abs32: words.subarray(second + 1) }
    : { bytes, groups: 3, abs64, inverse32: words.subarray(second + 1, third), abs32: words.subarray(third + 1) };
}
