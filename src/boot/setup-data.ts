/** The linked list of struct setup_data (boot.rst, field setup_data; protocol 2.09 and newer). */
import { defineStruct } from '../bytes/struct.js';

/** Types of uapi/asm/setup_data.h. */
export const SETUP_DATA_TYPES = {
  SETUP_NONE: 0,
  SETUP_E820_EXT: 1,
  SETUP_DTB: 2,
  SETUP_PCI: 3,
  SETUP_EFI: 4,
  SETUP_APPLE_PROPERTIES: 5,
  SETUP_JAILHOUSE: 6,
  SETUP_CC_BLOB: 7,
  SETUP_IMA: 8,
  SETUP_RNG_SEED: 9,
  SETUP_KEXEC_KHO: 10,
} as const;

export const SETUP_DATA = defineStruct('setup_data', 16, 'Documentation/arch/x86/boot.rst, field setup_data', [
  { name: 'next', offset: 0, type: 'u64', shown: 'hex', doc: 'physical address of the next node; 0 ends the list' },
  { name: 'type', offset: 8, type: 'u32', doc: 'what the data are' },
  { name: 'len', offset: 12, type: 'u32', doc: 'bytes of data behind this header' },
]);

/** One node, header and data, as the last of its list. */
export function buildSetupData(type: keyof typeof SETUP_DATA_TYPES, data: Uint8Array): Uint8Array {
  const node = new Uint8Array(SETUP_DATA.size + data.length);
  SETUP_DATA.write(node, 0, { next: 0n, type: SETUP_DATA_TYPES[type], len: data.length });
  node.set(data, SETUP_DATA.size);
  return node;
}
