/** The CPU and the zero page at the kernel's entry: what the image's own stages hand over against what a plan does. */
import { SETUP_FIELDS } from '../bzimage/setup-header.js';
import type { CpuState } from '../boot/plan.js';
import { BOOT_PARAMS } from '../boot/zero-page.js';
import { fieldSize } from '../bytes/struct.js';
import { hex, hexBytes } from '../bytes/numbers.js';

/** A difference between the two; `reason` says why it may be, null if nothing does. */
export interface StateDifference {
  /** Register, or field of boot_params. */
  readonly name: string;
  readonly expected: string;
  readonly found: string;
  readonly reason: string | null;
}

/** A segment register as the hardware holds it. */
export interface FoundSegment {
  readonly selector: number;
  readonly base: bigint;
  readonly limit: bigint;
  /** As in `SegmentState`: type, S, DPL, P, and from bit 12 on AVL, L, D/B, G. */
  readonly access: number;
}

/** The CPU as it was found; names as in `CpuState`. */
export interface FoundCpu {
  readonly registers: Readonly<Record<string, bigint>>;
  readonly segments: Readonly<Record<'cs' | 'ds' | 'es' | 'ss', FoundSegment>>;
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly cr0: bigint;
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
}

const CR0_PE = 0x1n;
const CR0_PG = 0x8000_0000n;
const CR4_PAE = 0x20n;
const EFER_LONG = 0x500n;
/** IF, DF, TF and VM have to be off, whatever the arithmetic flags say. */
const RFLAGS_FORBIDDEN = 0x2_0700n;
/** Present, S, and code or data: what tells segments apart. Accessed (bit 0) and AVL (bit 12) do not matter. */
const ACCESS_MASK = 0xe0fe;

const LEFT_OVER = 'left over by the decompressor; the protocol gives it no meaning';
const REGISTER_REASONS: Readonly<Record<string, string>> = {
  rax: LEFT_OVER,
  rbx: LEFT_OVER,
  rcx: LEFT_OVER,
  rdx: LEFT_OVER,
  rdi: LEFT_OVER,
  rbp: LEFT_OVER,
  rsp: "the decompressor's stack; the kernel sets its own",
};

function numeric(name: string, expected: bigint, found: bigint, reason: string | null): StateDifference[] {
  return expected === found ? [] : [{ name, expected: hex(expected), found: hex(found), reason }];
}

/** More bits than the protocol asks for are harmless where the bits that it asks for agree. */
function control(name: string, expected: bigint, found: bigint, required: bigint): StateDifference[] {
  const agrees = (expected & required) === (found & required);
  return numeric(name, expected, found, agrees ? 'the bits that the protocol asks for agree' : null);
}

function describeSegment({ selector, base, limit, access }: FoundSegment): string {
  return `${hex(selector)} base ${hex(base)} limit ${hex(limit)} access ${hex(access)}`;
}

function segment(name: string, expected: CpuState['cs'], found: FoundSegment, long: boolean): StateDifference[] {
  const code = name === 'cs';
  const same =
    expected.base === found.base &&
    (expected.access & ACCESS_MASK) === (found.access & ACCESS_MASK) &&
    (long || BigInt(expected.limit) === found.limit);
  if (same && expected.selector === found.selector) return [];
  const reason =
    long && !code
      ? 'long mode does not use it'
      : same
        ? "the same segment by another selector, in the decompressor's own table"
        : null;
  const wanted = describeSegment({ ...expected, limit: BigInt(expected.limit) });
  return [{ name, expected: wanted, found: describeSegment(found), reason }];
}

/** @param expected the CPU of the plan that enters the kernel in the decompressor's stead, entry point included */
export function compareCpu(expected: CpuState, found: FoundCpu): StateDifference[] {
  const long = expected.mode === 'long';
  const general = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'] as const;
  return [
    ...numeric('rip', expected.rip, found.rip, null),
    ...general.flatMap((name) =>
      numeric(name, expected.registers[name] ?? 0n, found.registers[name] ?? 0n, REGISTER_REASONS[name] ?? null),
    ),
    ...numeric(
      'rflags',
      expected.rflags,
      found.rflags,
      (found.rflags & RFLAGS_FORBIDDEN) === 0n ? 'arithmetic flags only' : null,
    ),
    ...segment('cs', expected.cs, found.segments.cs, long),
    ...(['ds', 'es', 'ss'] as const).flatMap((name) => segment(name, expected.data, found.segments[name], long)),
    ...control('cr0', expected.cr0, found.cr0, CR0_PE | CR0_PG),
    ...numeric('cr3', expected.cr3, found.cr3, long ? "the decompressor's own page tables" : 'paging is off'),
    ...control('cr4', expected.cr4, found.cr4, long ? CR4_PAE : 0n),
    ...control('efer', expected.efer, found.efer, EFER_LONG),
  ];
}

const ASKED_OF_THE_BIOS = "the image's own setup asked the BIOS";
const LOADER = "each loader's own";

/** Why a field of boot_params may differ between the native way and a plan for the kernel stage. */
const FIELD_REASONS: Readonly<Record<string, string>> = {
  screen_info: "the BIOS' video mode; a kernel started directly finds no screen set up",
  apm_bios_info: ASKED_OF_THE_BIOS,
  ist_info: ASKED_OF_THE_BIOS,
  hd0_info: ASKED_OF_THE_BIOS,
  hd1_info: ASKED_OF_THE_BIOS,
  sys_desc_table: ASKED_OF_THE_BIOS,
  edid_info: ASKED_OF_THE_BIOS,
  alt_mem_k: "the BIOS' memory map",
  e820_entries: "the BIOS' memory map",
  e820_table: "the BIOS' memory map",
  eddbuf_entries: ASKED_OF_THE_BIOS,
  eddbuf: ASKED_OF_THE_BIOS,
  edd_mbr_sig_buf_entries: ASKED_OF_THE_BIOS,
  edd_mbr_sig_buffer: ASKED_OF_THE_BIOS,
  kbd_status: ASKED_OF_THE_BIOS,
  acpi_rsdp_addr: 'the decompressor looks for ACPI itself',
  scratch: "the stages' own scratch word",
  loadflags: 'CAN_USE_HEAP is for setup; KASLR_FLAG says whether the decompressor moved the kernel',
  heap_end_ptr: 'for setup only',
  setup_move_size: 'for setup only',
  vid_mode: 'for setup only',
  code32_start: 'where the protected-mode part was loaded',
  cmd_line_ptr: LOADER,
  type_of_loader: LOADER,
  ext_loader_ver: LOADER,
  ext_loader_type: LOADER,
  ramdisk_image: LOADER,
  ramdisk_size: LOADER,
};

/** Bits of loadflags that may differ: CAN_USE_HEAP and KASLR_FLAG. */
const LOADFLAGS_FREE = 0x82;

/**
 * @param expected the zero page of a plan for the kernel stage
 * @param found the page that the image's own stages hand over, 4096 bytes
 */
export function compareZeroPage(expected: Uint8Array, found: Uint8Array): StateDifference[] {
  const differences: StateDifference[] = [];
  const seen = new Uint8Array(BOOT_PARAMS.size);
  for (const field of [...BOOT_PARAMS.fields, ...SETUP_FIELDS]) {
    const end = field.offset + fieldSize(field);
    const [a, b] = [expected.subarray(field.offset, end), found.subarray(field.offset, end)];
    seen.fill(1, field.offset, end);
    if (a.every((byte, index) => byte === b[index])) continue;
    const allowed = field.name !== 'loadflags' || (((a[0] ?? 0) ^ (b[0] ?? 0)) & ~LOADFLAGS_FREE) === 0;
    differences.push({
      ...{ name: field.name, expected: shortHex(a), found: shortHex(b) },
      reason: allowed ? (FIELD_REASONS[field.name] ?? null) : null,
    });
  }
  for (let offset = 0; offset < BOOT_PARAMS.size; offset++) {
    if (seen[offset] === 1 || expected[offset] === found[offset]) continue;
    differences.push({
      ...{ name: `byte ${hex(offset)}`, expected: hex(expected[offset] ?? 0), found: hex(found[offset] ?? 0) },
      reason: null,
    });
  }
  return differences;
}

function shortHex(bytes: Uint8Array): string {
  const shown = hexBytes(bytes.subarray(0, 16));
  return bytes.length > 16 ? `${shown}...` : shown;
}
