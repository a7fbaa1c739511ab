/** The decompressor's parameter table; the guest's side of it is guest/decompressor/parameters.h. */
import { defineStruct } from '../bytes/struct.js';
import { wordsOf } from '../kernel/words.js';

/** Offset in the protected-mode part. */
export const PARAMETERS_OFFSET = 0x210;

export const PARAMETER_FLAGS = {
  /** May run at any address that kernel_alignment allows. */
  RELOCATABLE: 1,
  /** Chooses a random base unless the command line says nokaslr. */
  KASLR: 2,
  /** The kernel can run with five paging levels: they are turned on if the processor has them. */
  LA57: 8,
} as const;

export const PARAMETERS = defineStruct('parameters', 0x60, 'docs/format.md, "Parameter table"', [
  { name: 'magic', offset: 0x00, type: 'u32', shown: 'hex', doc: '"bzSP"' },
  { name: 'length', offset: 0x04, type: 'u32', doc: 'bytes of this table' },
  { name: 'flags', offset: 0x08, type: 'u32', shown: 'hex', doc: 'RELOCATABLE, KASLR, LA57' },
  { name: 'image_size', offset: 0x0c, type: 'u32', doc: 'bytes of head, payload and tail; a multiple of 16' },
  { name: 'memory_size', offset: 0x10, type: 'u32', doc: 'image_size, the tail’s zeroed data and its page tables' },
  { name: 'tail_offset', offset: 0x14, type: 'u32', shown: 'hex', doc: 'a multiple of 16' },
  { name: 'payload_offset', offset: 0x18, type: 'u32', shown: 'hex', doc: 'where the payload begins' },
  { name: 'payload_length', offset: 0x1c, type: 'u32', doc: 'what the codec gets, without a size word' },
  { name: 'elf_size', offset: 0x20, type: 'u32', doc: 'bytes of the decompressed ELF file' },
  { name: 'relocations_size', offset: 0x24, type: 'u32', doc: 'bytes of the relocation table behind it' },
  { name: 'relocation_groups', offset: 0x28, type: 'u32', doc: '0 to 3' },
  { name: 'output_size', offset: 0x2c, type: 'u32', doc: 'room at the kernel’s address' },
  { name: 'init_size', offset: 0x30, type: 'u32', doc: 'as in the setup header' },
  { name: 'kernel_alignment', offset: 0x34, type: 'u32', doc: 'as in the setup header' },
  { name: 'min_alignment', offset: 0x38, type: 'u32', doc: 'a power of two, not its exponent' },
  { name: 'kernel_image_size', offset: 0x3c, type: 'u32', doc: 'how far the kernel’s virtual mapping reaches' },
  { name: 'load_physical_addr', offset: 0x40, type: 'u64', shown: 'hex', doc: 'where the kernel is linked to' },
  { name: 'command_line_offset', offset: 0x48, type: 'u32', doc: 'default command line, 0 for none' },
  { name: 'initrd_offset', offset: 0x4c, type: 'u32', doc: 'initial RAM disk; a multiple of 4096' },
  { name: 'checksum', offset: 0x50, type: 'u64', shown: 'hex', doc: 'of the decompressed bytes; 0: not checked' },
  { name: 'initrd_size', offset: 0x58, type: 'u32', doc: '0: there is none' },
]);

/** "bzSP", little-endian. */
export const PARAMETERS_MAGIC = 0x50537a62;

/**
 * The checksum of ELF file and relocations as the decompressor computes it: over little-endian 32-bit words (the last
 * one filled up with zeroes), their sum in the low half and the sum of these sums after each word in the high half.
 */
export function payloadChecksum(bytes: Uint8Array): bigint {
  const whole = bytes.length - (bytes.length % 4);
  const words = wordsOf(bytes);
  let sum = 0;
  let sums = 0;
  for (const word of words) {
    sum = (sum + word) | 0;
    sums = (sums + sum) | 0;
  }
  if (whole < bytes.length) {
    let rest = 0;
    for (let i = whole; i < bytes.length; i++) rest |= (bytes[i] ?? 0) << (8 * (i - whole));
    sum = (sum + rest) | 0;
    sums = (sums + sum) | 0;
  }
  return (BigInt(sums >>> 0) << 32n) | BigInt(sum >>> 0);
}
