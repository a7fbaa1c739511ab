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

/** struct screen_info (uapi/linux/screen_info.h), as far as a loader without a display has to fill it in. */
const SCREEN_INFO = defineStruct('screen_info', 0x40, 'include/uapi/linux/screen_info.h', [
  { name: 'ext_mem_k', offset: 0x02, type: 'u16', doc: 'KiB from 1 MiB on by BIOS call 88h, at most 0xffff' },
  { name: 'orig_video_cols', offset: 0x07, type: 'u8', doc: 'columns of text' },
  { name: 'orig_video_lines', offset: 0x0e, type: 'u8', doc: 'lines of text' },
  { name: 'orig_video_isVGA', offset: 0x0f, type: 'u8', doc: '1: VGA text mode; 0: none' },
  { name: 'orig_video_points', offset: 0x10, type: 'u16', doc: 'height of a character' },
]);

/**
 * What kexec-tools tells without a BIOS, too. Kernels before boot protocol 2.08 do not know "no display": 2.4 stops at
 * a console of 0 columns. Newer ones are told the truth, zeros.
 */
const ASSUMED_TEXT_MODE = {
  orig_video_cols: 80,
  orig_video_lines: 25,
  orig_video_isVGA: 1,
  orig_video_points: 16,
} as const;
const NO_DISPLAY_KNOWN = 0x0208;

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

/** KiB of RAM that follow 1 MiB in one piece. */
function extendedMemory(map: MemoryMap): bigint {
  const start = 0x100000n;
  const range = map.find(({ address, size, type }) => type === 'ram' && address <= start && address + size > start);
  return range === undefined ? 0n : (range.address + range.size - start) >> 10n;
}

/**
 * Fields that tell what setup finds out by asking a BIOS: memory, by e820_table with its count (at most 128 entries) and
 * the two older sizes, and the display.
 * @param version boot protocol of the kernel
 */
export function machineFields(
  map: MemoryMap,
  version: number,
): Pick<BootParams, 'screen_info' | 'alt_mem_k' | 'e820_entries' | 'e820_table'> {
  const shown = map.slice(0, E820_MAX_ENTRIES_ZEROPAGE);
  const kib = extendedMemory(map);
  return {
    screen_info: SCREEN_INFO.build({
      ext_mem_k: Number(kib > 0xffffn ? 0xffffn : kib),
      ...(version < NO_DISPLAY_KNOWN ? ASSUMED_TEXT_MODE : {}),
    }),
    alt_mem_k: Number(kib > 0xffffffffn ? 0xffffffffn : kib),
    e820_entries: shown.length,
    e820_table: encodeE820(shown),
  };
}
