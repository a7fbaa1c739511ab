/** struct hvm_start_info, version 1 (Xen's public header arch-x86/hvm/start_info.h; docs/misc/pvh). */
import { defineStruct } from '../bytes/struct.js';

const SOURCE = 'xen/include/public/arch-x86/hvm/start_info.h';

/** "xEn3" with bit 7 of the E set. */
export const START_INFO_MAGIC = 0x336ec578;

export const HVM_START_INFO = defineStruct('hvm_start_info', 56, SOURCE, [
  { name: 'magic', offset: 0, type: 'u32', shown: 'hex', doc: '0x336ec578' },
  { name: 'version', offset: 4, type: 'u32', doc: '1: with a memory map' },
  { name: 'flags', offset: 8, type: 'u32', shown: 'hex', doc: 'SIF_ flags; 0 outside Xen' },
  { name: 'nr_modules', offset: 12, type: 'u32', doc: 'entries of the module list' },
  { name: 'modlist_paddr', offset: 16, type: 'u64', shown: 'hex', doc: 'address of the module list' },
  { name: 'cmdline_paddr', offset: 24, type: 'u64', shown: 'hex', doc: 'address of the command line' },
  { name: 'rsdp_paddr', offset: 32, type: 'u64', shown: 'hex', doc: 'address of the ACPI RSDP; 0: none' },
  { name: 'memmap_paddr', offset: 40, type: 'u64', shown: 'hex', doc: 'address of the memory map' },
  { name: 'memmap_entries', offset: 48, type: 'u32', doc: 'entries of the memory map' },
  { name: 'reserved', offset: 52, type: 'u32', doc: '0' },
]);

export const HVM_MODLIST_ENTRY = defineStruct('hvm_modlist_entry', 32, SOURCE, [
  { name: 'paddr', offset: 0, type: 'u64', shown: 'hex', doc: 'address of the module' },
  { name: 'size', offset: 8, type: 'u64', doc: 'bytes' },
  {
    name: 'cmdline_paddr',
    offset: 16,
    type: 'u64',
    shown: 'hex',
    doc: "address of the module's command line; 0: none",
  },
  { name: 'reserved', offset: 24, type: 'u64', doc: '0' },
]);

export const HVM_MEMMAP_ENTRY = defineStruct('hvm_memmap_table_entry', 24, SOURCE, [
  { name: 'addr', offset: 0, type: 'u64', shown: 'hex', doc: 'address' },
  { name: 'size', offset: 8, type: 'u64', shown: 'hex', doc: 'bytes' },
  { name: 'type', offset: 16, type: 'u32', doc: 'as in e820' },
  { name: 'reserved', offset: 20, type: 'u32', doc: '0' },
]);
