/** The protected-mode stage of an image, as pieces of memory. */
import { BootImageError } from '../bytes/error.js';
import { alignUp, hex, isPowerOfTwo } from '../bytes/numbers.js';
import { rangeOf } from '../bytes/ranges.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { type SetupHeader, XLOADFLAGS } from '../bzimage/setup-header.js';
import { PT_LOAD } from '../elf/definitions.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import type { Draft } from './draft.js';
import type { LoaderHeader } from './loader-header.js';
import { FOUR_GIB, PAGE_SIZE } from './placement.js';
import type { Region } from './plan.js';

/** Where a bzImage's protected-mode part is loaded. */
const HIGH_LOAD_ADDRESS = 0x100000n;
/** Where a zImage's is loaded, and where setup moves it before it jumps there. */
export const LOW_LOAD_ADDRESS = 0x10000n;

export interface StagePieces {
  /** Address of the stage's first byte (of the file, not of the first segment) as it was linked for. */
  readonly linked: bigint;
  /** Bytes from `linked` to the end of the last piece. */
  readonly size: bigint;
  /** Addresses as linked. */
  readonly pieces: readonly Region[];
  /** The 32-bit entry. */
  readonly entry: bigint;
  /** What code32_start says when the stage lies where it was linked for. */
  readonly code32Start: bigint;
}

/** The image's setup header. @throws BootImageError `unsupported` */
export function requireSetup(image: BootImage): SetupHeader {
  if (image.setup === null || image.stages.setup === null) {
    throw new BootImageError('unsupported', `there is no setup stage in this file (${image.kind})`, {
      field: 'header',
      hint: 'enter it at the kernel stage',
    });
  }
  return image.setup;
}

/** The bytes behind the setup sectors. @throws BootImageError `unsupported` if there are none. */
export function protectedModeBytes(image: BootImage): Uint8Array {
  const range = image.stages.protected_mode;
  if (range === null || range.length === 0) {
    throw new BootImageError('truncated', 'the file ends where its protected-mode part should begin', {
      field: 'setup_sects',
      offset: image.file.length,
    });
  }
  return image.file.slice(range.offset, range.length, 'protected_mode');
}

/** A stage ELF goes where its program headers say: segments at p_paddr, cleared up to p_memsz. */
function elfPieces(image: BootImage): StagePieces | null {
  if (image.stageElf === null) return null;
  const { elf } = image.stageElf;
  const segments = elf.programHeaders.filter(({ p_type, p_memsz }) => p_type === PT_LOAD && p_memsz > 0n);
  const malformed = (why: string, field: string): never => {
    throw new BootImageError('elf-malformed', `stage ELF: ${why}`, { field, offset: elf.view.base });
  };
  const pieces = segments.map(({ p_paddr, p_offset, p_filesz, p_memsz }, index): Region => {
    rangeOf(p_paddr, p_memsz, 'p_paddr');
    if (p_filesz > p_memsz || p_memsz > 0xffffffffn || !elf.view.has(Number(p_offset), Number(p_filesz))) {
      malformed(`segment ${index} lies outside the file or is larger there than in memory`, 'p_filesz');
    }
    return {
      address: p_paddr,
      size: Number(p_memsz),
      bytes: elf.view.slice(Number(p_offset), Number(p_filesz)),
      purpose: 'stage',
      label: `stage ELF, segment ${index}`,
    };
  });
  const first = segments[0] ?? malformed('it has no segment to load', 'e_phnum');
  const linked = first.p_paddr - first.p_offset;
  const end = pieces.reduce(
    (high, { address, size }) => (address + BigInt(size) > high ? address + BigInt(size) : high),
    0n,
  );
  if (linked < 0n || pieces.some(({ address }) => address < linked)) {
    malformed('its segments do not ascend from where the file is loaded', 'p_paddr');
  }
  return { linked, size: end - linked, pieces, entry: elf.header.e_entry, code32Start: elf.header.e_entry };
}

/**
 * @throws BootImageError `elf-malformed` for a stage ELF that cannot be obeyed, `truncated` if there is no
 * protected-mode part.
 */
export function stagePieces(image: BootImage, header: LoaderHeader): StagePieces {
  const elf = elfPieces(image);
  if (elf !== null) return elf;
  const bytes = protectedModeBytes(image);
  // A zImage's stage is linked for where setup moves it, which is what code32_start says.
  const linked = header.loadedHigh ? HIGH_LOAD_ADDRESS : header.big('code32_start');
  const code32Start = header.big('code32_start');
  if (code32Start < linked || code32Start >= linked + BigInt(bytes.length)) {
    throw new BootImageError(
      'bad-field',
      `code32_start ${hex(code32Start)} does not point into the protected-mode part, which is loaded at ${hex(linked)}`,
      { field: 'code32_start', offset: 0x214 },
    );
  }
  return {
    linked,
    size: BigInt(bytes.length),
    pieces: [{ address: linked, size: bytes.length, bytes, purpose: 'stage', label: 'protected-mode part' }],
    entry: code32Start,
    code32Start,
  };
}

/** GRUB's guess at the memory that a kernel without init_size needs: three times its compressed size. */
const UNKNOWN_INIT_FACTOR = 3n;

/** Memory that the decompressor works in, from the kernel's runtime start on. */
function initSize(image: BootImage, header: LoaderHeader, size: bigint): bigint {
  const announced = header.big('init_size');
  if (announced > 0n) return announced > size ? announced : size;
  const guess = size * UNKNOWN_INIT_FACTOR;
  const known = BigInt(image.payload?.sizeWord ?? 0) + size;
  return guess > known ? guess : known;
}

/** kernel_alignment, as far as this protocol has it. @throws BootImageError `bad-field` */
function kernelAlignment(header: LoaderHeader): bigint {
  const alignment = header.big('kernel_alignment') || PAGE_SIZE;
  if (isPowerOfTwo(alignment)) return alignment;
  throw new BootImageError('bad-field', `kernel_alignment ${hex(alignment)} is no power of two`, {
    field: 'kernel_alignment',
    offset: 0x230,
  });
}

/** Where the kernel runs when its protected-mode part is loaded at `load` (boot.rst, field init_size). */
function runtimeStart(header: LoaderHeader, load: bigint): bigint {
  const preferred = header.big('pref_address');
  if (!header.relocatable) return preferred || load;
  const aligned = alignUp(load, kernelAlignment(header));
  return aligned > preferred ? aligned : preferred;
}

/** Claims memory for a stage that may go anywhere: where it prefers to be, else as low above that as possible. */
function placeRelocatable(draft: Draft, header: LoaderHeader, stage: StagePieces, size: bigint): bigint {
  const preferred = header.has('pref_address') ? header.big('pref_address') : stage.linked;
  const min = preferred > 0n ? preferred : stage.linked;
  // The kernel aligns itself upwards from where it is loaded.
  const wanted = { size, alignment: kernelAlignment(header), min, max: FOUR_GIB };
  const place = draft.placement.takeLowest(wanted, 'the kernel with its init_size');
  if (place !== min) draft.remarks.push(`${hex(min)}, where the kernel prefers to be, is not free: ${hex(place)}`);
  return place;
}

/** The memory that a stage at its own load address takes: one range, or two where the kernel moves out of its way. */
function footprint(
  stage: StagePieces,
  run: bigint,
  size: bigint,
): (readonly [start: bigint, size: bigint, what: string])[] {
  const load = stage.linked;
  if (run >= load && run <= load + stage.size) return [[load, run + size - load, 'the kernel with its init_size']];
  return [
    [load, stage.size, 'the protected-mode part'],
    [run, size, 'the kernel with its init_size'],
  ];
}

/** Claims the fixed load address, and the place to which the kernel will move itself. */
function placeFixed(draft: Draft, header: LoaderHeader, stage: StagePieces, size: bigint): bigint {
  const load = stage.linked;
  const run = runtimeStart(header, load);
  const hint = header.relocatable ? undefined : 'the kernel is not relocatable: it can run nowhere else';
  for (const [start, length, what] of footprint(stage, run, size)) draft.placement.claim(start, length, what, hint);
  return load;
}

/** Keeps the kernel's own place free while nothing is loaded there yet; without effect where there is no room. */
export function holdRuntime(draft: Draft, image: BootImage, header: LoaderHeader): void {
  const { linked, size } = stagePieces(image, header);
  const needed = rangeOf(runtimeStart(header, linked), alignUp(initSize(image, header, size), PAGE_SIZE));
  draft.placement.keep(needed, 'the kernel with its init_size');
}

/** Where a stage came to lie. */
export interface PlacedStage {
  /** Address of its first byte. */
  readonly load: bigint;
  /** The 32-bit entry. */
  readonly entry: bigint;
}

/**
 * Places the protected-mode part and the memory that its decompressor will work in, and tells code32_start.
 * @param where `preferred`: at pref_address if the kernel is relocatable; `conventional`: at 1 MiB, where every loader
 * of the real-mode protocol puts it, and elsewhere only if it does not fit.
 * @throws BootImageError `does-not-fit`, `overlap`, and as `stagePieces`
 */
export function placeStage(
  draft: Draft,
  image: BootImage,
  header: LoaderHeader,
  where: 'preferred' | 'conventional',
): PlacedStage {
  const stage = stagePieces(image, header);
  const size = alignUp(initSize(image, header, stage.size), PAGE_SIZE);
  const free = footprint(stage, runtimeStart(header, stage.linked), size).every(
    ([start, length]) => draft.placement.obstacle(rangeOf(start, length)) === null,
  );
  const load =
    header.relocatable && (where === 'preferred' || !free)
      ? placeRelocatable(draft, header, stage, size)
      : placeFixed(draft, header, stage, size);
  const delta = load - stage.linked;
  for (const piece of stage.pieces) draft.add({ ...piece, address: piece.address + delta });
  header.setAddress('code32_start', stage.code32Start + delta);
  return { load, entry: stage.entry + delta };
}

/** What the kernel needs of the CPU, from what is known of it without decompressing. */
export function kernelBits(image: BootImage, vmlinux: Vmlinux | null): 32 | 64 {
  if (vmlinux !== null) return vmlinux.bits;
  return ((image.setup?.values.xloadflags ?? 0) & XLOADFLAGS.XLF_KERNEL_64) === 0 ? 32 : 64;
}
