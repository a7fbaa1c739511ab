/**
 * A plan as one ELF file that multiboot loaders (GRUB's `multiboot`, QEMU, v86) and PVH loaders start.
 *
 * Loaders differ in where they let a file's segments go (not below 1 MiB, not to the top of RAM, not far apart), so
 * the file is a single segment at a place that the plan does not use. Code at its beginning moves every piece to where
 * the plan wants it, clears what has to be zero, and brings the CPU into the planned state. What the loader tells (its
 * multiboot information or start_info) is not needed: the plan has its own zero page or start_info.
 */
import { BootImageError } from '../../bytes/error.js';
import { alignNumber } from '../../bytes/numbers.js';
import { HIGH_MEMORY_START } from '../../boot/memory-map.js';
import { FOUR_GIB, PAGE_SIZE, Placement } from '../../boot/placement.js';
import { regionRange } from '../../boot/plan-check.js';
import type { BootPlan } from '../../boot/plan.js';
import { buildTrampoline } from '../../boot/trampoline.js';
import { ELF32_EHDR, ELF32_PHDR, EM_386, ET_EXEC, PT_LOAD, PT_NOTE } from '../../elf/definitions.js';
import { buildNote, newElfHeader, writeElfHeader, writeProgramHeader } from '../../elf/write-elf.js';
import { XEN_ELFNOTE_PHYS32_ENTRY } from '../../kernel/notes.js';

/** The multiboot header: three words within the first 8 KiB, their sum 0 (Multiboot specification 0.6.96, 3.1.1). */
const MULTIBOOT_MAGIC = 0x1badb002;
/** No requirements: neither aligned modules nor memory information. */
const MULTIBOOT_FLAGS = 0;

const READ_WRITE_EXECUTE = 7;
const READ = 4;
/** Source, destination, bytes to copy and bytes to clear behind them: four words. */
const ENTRY_SIZE = 16;
const ALIGNMENT = 16;
/** Between the code that moves and the code that sets the CPU. */
const NOP = 0x90;

function words(...values: readonly number[]): number[] {
  return values.flatMap((value) => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]);
}

/** Works off the table [start, end) of moves and goes on behind its own last byte. No stack, flat segments. */
function moverCode(start: number, end: number): number[] {
  const loop = [
    ...[0x8b, 0x75, 0x00], // mov esi, [ebp]
    ...[0x8b, 0x7d, 0x04], // mov edi, [ebp + 4]
    ...[0x8b, 0x4d, 0x08, 0xc1, 0xe9, 0x02, 0xf3, 0xa5], // mov ecx, [ebp + 8]; shr ecx, 2; rep movsd
    ...[0x8b, 0x4d, 0x08, 0x83, 0xe1, 0x03, 0xf3, 0xa4], // mov ecx, [ebp + 8]; and ecx, 3; rep movsb
    ...[0x31, 0xc0], // xor eax, eax
    ...[0x8b, 0x4d, 0x0c, 0xc1, 0xe9, 0x02, 0xf3, 0xab], // mov ecx, [ebp + 12]; shr ecx, 2; rep stosd
    ...[0x8b, 0x4d, 0x0c, 0x83, 0xe1, 0x03, 0xf3, 0xaa], // mov ecx, [ebp + 12]; and ecx, 3; rep stosb
    ...[0x83, 0xc5, ENTRY_SIZE], // add ebp, 16
    ...[0x81, 0xfd, ...words(end)], // cmp ebp, end
  ];
  const back = -(loop.length + 2);
  return [0xfa, 0xfc, 0xbd, ...words(start), ...loop, 0x72, back & 0xff]; // cli; cld; mov ebp, start; ...; jb loop
}

/** File offsets; the segment is loaded so that address = offset + base. */
interface Layout {
  readonly multiboot: number;
  readonly note: number;
  readonly table: number;
  readonly code: number;
  readonly trampoline: number;
  readonly data: number;
  readonly size: number;
}

function layOut(plan: BootPlan, noteSize: number, codeSize: number, trampolineSize: number): Layout {
  const multiboot = ELF32_EHDR.size + 2 * ELF32_PHDR.size;
  const note = multiboot + 12;
  const table = alignNumber(note + noteSize, ALIGNMENT);
  const code = table + plan.regions.length * ENTRY_SIZE;
  const trampoline = alignNumber(code + codeSize, ALIGNMENT);
  const data = alignNumber(trampoline + trampolineSize, ALIGNMENT);
  const size = plan.regions.reduce((at, { bytes }) => alignNumber(at + (bytes?.length ?? 0), ALIGNMENT), data);
  return { multiboot, note, table, code, trampoline, data, size };
}

/** @throws BootImageError `unsupported` */
function requireWrappable(plan: BootPlan): void {
  if (plan.firmware === 'bios' || plan.hook !== null) {
    throw new BootImageError(
      'unsupported',
      `the ${plan.stage} stage starts in real mode, and multiboot and PVH do not`,
      {
        field: 'stage',
        hint: 'enter the decompressor or the kernel stage',
      },
    );
  }
  const high = plan.regions.find((region) => regionRange(region).end > FOUR_GIB);
  if (high !== undefined) {
    throw new BootImageError('unsupported', `${high.label} lies above 4 GiB, where 32-bit code moves nothing`, {
      field: 'regions',
      hint: 'plan for less memory',
    });
  }
}

/**
 * The file: ELF32, i386, one segment, entered in 32-bit protected mode by e_entry or by its PHYS32_ENTRY note.
 * Its loader's machine must have the plan's memory.
 * @throws BootImageError `unsupported` for plans that begin in real mode or reach above 4 GiB, `does-not-fit` if the
 * plan leaves no memory free that holds all of it a second time.
 */
export function wrapPlan(plan: BootPlan): Uint8Array {
  requireWrappable(plan);
  const noteSize = buildNote('Xen', XEN_ELFNOTE_PHYS32_ENTRY, new Uint8Array(4)).length;
  const trampolineSize = buildTrampoline(0n, plan.cpu).length;
  const layout = layOut(plan, noteSize, moverCode(0, 0).length, trampolineSize);
  const placement = new Placement(plan.memory);
  for (const region of plan.regions) placement.claim(region.address, BigInt(region.size), region.label);
  const size = BigInt(layout.size);
  const wanted = { size, alignment: PAGE_SIZE, min: HIGH_MEMORY_START, max: FOUR_GIB };
  const base = Number(placement.takeLowest(wanted, 'the file that carries the plan'));

  const file = new Uint8Array(layout.size);
  const view = new DataView(file.buffer);
  const entry = base + layout.code;
  writeElfHeader(
    32,
    file,
    0,
    newElfHeader(32, {
      e_type: ET_EXEC,
      e_machine: EM_386,
      e_entry: BigInt(entry),
      e_phoff: BigInt(ELF32_EHDR.size),
      e_phnum: 2,
    }),
  );
  const segment = (offset: number, length: number) => ({
    p_offset: BigInt(offset),
    p_vaddr: BigInt(base + offset),
    p_paddr: BigInt(base + offset),
    p_filesz: BigInt(length),
    p_memsz: BigInt(length),
  });
  writeProgramHeader(32, file, ELF32_EHDR.size, {
    ...segment(0, layout.size),
    p_type: PT_LOAD,
    p_flags: READ_WRITE_EXECUTE,
    p_align: PAGE_SIZE,
  });
  writeProgramHeader(32, file, ELF32_EHDR.size + ELF32_PHDR.size, {
    ...segment(layout.note, noteSize),
    p_type: PT_NOTE,
    p_flags: READ,
    p_align: 4n,
  });
  file.set(words(MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)), layout.multiboot);
  file.set(buildNote('Xen', XEN_ELFNOTE_PHYS32_ENTRY, Uint8Array.from(words(entry))), layout.note);
  file.fill(NOP, layout.code, layout.trampoline);
  file.set(moverCode(base + layout.table, base + layout.code), layout.code);
  file.set(buildTrampoline(BigInt(base + layout.trampoline), plan.cpu), layout.trampoline);

  let at = layout.data;
  plan.regions.forEach(({ address, size: length, bytes = new Uint8Array(0) }, index) => {
    file.set(bytes, at);
    [base + at, Number(address), bytes.length, length - bytes.length].forEach((word, i) => {
      view.setUint32(layout.table + index * ENTRY_SIZE + i * 4, word, true);
    });
    at = alignNumber(at + bytes.length, ALIGNMENT);
  });
  return file;
}
