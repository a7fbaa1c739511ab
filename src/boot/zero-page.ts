/** struct boot_params, the "zero page": what the 32-bit and 64-bit boot protocols hand to the kernel. */
import { BootImageError } from '../bytes/error.js';
import { defineStruct, type StructOf } from '../bytes/struct.js';
import { SETUP_HEADER_START } from '../bzimage/setup-header.js';
import { encodeE820 } from './e820.js';
import type { MemoryMap } from './memory-map.js';

/** Names and offsets of zero-page.rst; `doc` says what bzelf puts there. The setup header lies at 0x1f1. */
export const BOOT_PARAMS = defineStruct(
  'boot_params',
  4096,
  'Documentation/arch/x86/zero-page.rst, arch/x86/include/uapi/asm/bootparam.h',
  [
    { name: 'screen_info', offset: 0x000, type: 'bytes', length: 0x40, doc: 'text mode or frame buffer; zero: none' },
    { name: 'apm_bios_info', offset: 0x040, type: 'bytes', length: 0x14, doc: 'APM BIOS information' },
    { name: 'tboot_addr', offset: 0x058, type: 'u64', shown: 'hex', doc: 'physical address of the tboot page' },
    { name: 'ist_info', offset: 0x060, type: 'bytes', length: 0x10, doc: 'Intel SpeedStep BIOS support' },
    { name: 'acpi_rsdp_addr', offset: 0x070, type: 'u64', shown: 'hex', doc: 'physical address of the ACPI RSDP' },
    { name: 'hd0_info', offset: 0x080, type: 'bytes', length: 0x10, doc: 'obsolete disk parameters' },
    { name: 'hd1_info', offset: 0x090, type: 'bytes', length: 0x10, doc: 'obsolete disk parameters' },
    { name: 'sys_desc_table', offset: 0x0a0, type: 'bytes', length: 0x10, doc: 'obsolete MCA description table' },
    { name: 'olpc_ofw_header', offset: 0x0b0, type: 'bytes', length: 0x10, doc: "OLPC's Open Firmware" },
    { name: 'ext_ramdisk_image', offset: 0x0c0, type: 'u32', shown: 'hex', doc: 'high 32 bits of ramdisk_image' },
    { name: 'ext_ramdisk_size', offset: 0x0c4, type: 'u32', shown: 'hex', doc: 'high 32 bits of ramdisk_size' },
    { name: 'ext_cmd_line_ptr', offset: 0x0c8, type: 'u32', shown: 'hex', doc: 'high 32 bits of cmd_line_ptr' },
    { name: 'cc_blob_address', offset: 0x13c, type: 'u32', shown: 'hex', doc: 'confidential computing blob' },
    { name: 'edid_info', offset: 0x140, type: 'bytes', length: 0x80, doc: "the monitor's EDID" },
    { name: 'efi_info', offset: 0x1c0, type: 'bytes', length: 0x20, doc: 'EFI tables; zero: no EFI' },
    { name: 'alt_mem_k', offset: 0x1e0, type: 'u32', doc: 'KiB of RAM from 1 MiB on, for kernels that ignore e820' },
    { name: 'scratch', offset: 0x1e4, type: 'u32', shown: 'hex', doc: "the setup code's own" },
    { name: 'e820_entries', offset: 0x1e8, type: 'u8', doc: 'entries in e820_table, at most 128' },
    { name: 'eddbuf_entries', offset: 0x1e9, type: 'u8', doc: 'entries in eddbuf' },
    { name: 'edd_mbr_sig_buf_entries', offset: 0x1ea, type: 'u8', doc: 'entries in edd_mbr_sig_buffer' },
    { name: 'kbd_status', offset: 0x1eb, type: 'u8', doc: 'NumLock' },
    { name: 'secure_boot', offset: 0x1ec, type: 'u8', doc: 'Secure Boot' },
    { name: 'sentinel', offset: 0x1ef, type: 'u8', shown: 'hex', doc: '0: this page was cleared before it was filled' },
    { name: 'edd_mbr_sig_buffer', offset: 0x290, type: 'bytes', length: 0x40, doc: 'EDD MBR signatures' },
    { name: 'e820_table', offset: 0x2d0, type: 'bytes', length: 0xa00, doc: 'memory map, 20 bytes an entry' },
    { name: 'eddbuf', offset: 0xd00, type: 'bytes', length: 0x1ec, doc: 'EDD data' },
  ],
);

export type BootParams = StructOf<typeof BOOT_PARAMS.fields>;

/** The memory size of BIOS call 88h, inside screen_info: KiB from 1 MiB on, at most 0xffff (struct screen_info, ext_mem_k). */
const EXT_MEM_K = 0x02;

/** Entries that the zero page itself holds (E820_MAX_ENTRIES_ZEROPAGE); the rest goes into setup_data. */
export const E820_MAX_ENTRIES_ZEROPAGE = 128;

/** The first byte behind the room that boot_params has for the setup header: edd_mbr_sig_buffer. */
const SETUP_HEADER_LIMIT = 0x290;

/**
 * A cleared page with the image's setup header in it, as boot.rst asks ("32-bit Boot Protocol").
 * @param header the file's bytes from 0x1f1 to the end of its setup header.
 * @throws BootImageError `bad-field` if the header is longer than boot_params has room for.
 */
export function buildBootParams(header: Uint8Array, values: Partial<BootParams>): Uint8Array {
  if (SETUP_HEADER_START + header.length > SETUP_HEADER_LIMIT) {
    throw new BootImageError(
      'bad-field',
      `the setup header says that it is ${String(header.length)} bytes long; boot_params has room for ${String(SETUP_HEADER_LIMIT - SETUP_HEADER_START)}`,
      { field: 'jump', offset: 0x201 },
    );
  }
  const page = BOOT_PARAMS.build(values);
  page.set(header, SETUP_HEADER_START);
  return page;
}

/** Fields that tell a memory map: e820_table with its count, and the two older sizes. At most 128 entries are told. */
export function memoryMapFields(
  map: MemoryMap,
): Pick<BootParams, 'screen_info' | 'alt_mem_k' | 'e820_entries' | 'e820_table'> {
  const shown = map.slice(0, E820_MAX_ENTRIES_ZEROPAGE);
  const extended = map.find(
    ({ address, size, type }) => type === 'ram' && address <= 0x100000n && address + size > 0x100000n,
  );
  const kib = extended === undefined ? 0n : (extended.address + extended.size - 0x100000n) >> 10n;
  const screen_info = new Uint8Array(0x40);
  const extMemK = Number(kib > 0xffffn ? 0xffffn : kib);
  screen_info[EXT_MEM_K] = extMemK & 0xff;
  screen_info[EXT_MEM_K + 1] = extMemK >>> 8;
  return {
    screen_info,
    alt_mem_k: Number(kib > 0xffffffffn ? 0xffffffffn : kib),
    e820_entries: shown.length,
    e820_table: encodeE820(shown),
  };
}
