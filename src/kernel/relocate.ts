/**
 * Relocation on the host: what handle_relocations() in arch/x86/boot/compressed/misc.c does in the guest.
 *
 * A 64-bit kernel moves twice, independently: its physical place is up to the loader (the kernel computes phys_base when
 * it starts), and only the move of its virtual addresses goes into the relocations. A 32-bit kernel has one move for both.
 */
import { bytesOfBase64 } from '../bytes/base64.js';
import { BootImageError } from '../bytes/error.js';
import { memoryOf } from '../bytes/linear-memory.js';
import { hex } from '../bytes/numbers.js';
import { addressNotes } from './address-notes.js';
import { linkedPhysicalBase, linkedPhysicalEnd, type KernelSegment, type Vmlinux } from './vmlinux.js';
import { relocateModule } from './wasm/built/relocate.js';

/** How far a kernel moves from where it was linked for, in bytes; negative moves down. */
export interface KernelMove {
  readonly physicalDelta: bigint;
  /** Equal to `physicalDelta` on 32 bits. */
  readonly virtualDelta: bigint;
}

export const NO_MOVE: KernelMove = { physicalDelta: 0n, virtualDelta: 0n };

/** A piece of the kernel in a buffer, to be relocated in place. */
export interface KernelPiece {
  /** Physical address that the first byte was linked for (a p_paddr, say). */
  readonly paddr: bigint;
  readonly bytes: Uint8Array;
}

/** A segment, ready to be written into guest memory. */
export interface PlacedSegment {
  readonly segment: KernelSegment;
  /** Guest physical address. */
  readonly address: bigint;
  /** The bytes from the file: a view on the ELF file where nothing changes, else a copy. Up to `memsz`, memory is zero. */
  readonly bytes: Uint8Array;
  /** Bytes of guest memory. */
  readonly memsz: number;
}

/** The 64-bit kernel's part of the address space: __START_KERNEL_map, and 1 GiB with CONFIG_RANDOMIZE_BASE. */
export const KERNEL_WINDOW_64 = { start: 0xffffffff80000000n, end: 0xffffffffc0000000n } as const;
const ALIGNMENT_64 = 0x200000n;
const ALIGNMENT_32 = 0x1000n;

/**
 * Virtual minus physical address of the kernel's mapping, as linked: __START_KERNEL_map on 64 bits, PAGE_OFFSET on 32
 * bits. Taken from the lowest segment; the per-CPU segment of older 64-bit SMP kernels has virtual address 0 and does
 * not belong to it.
 */
export function kernelMap(vmlinux: Vmlinux): bigint {
  const base = linkedPhysicalBase(vmlinux);
  const lowest = vmlinux.segments.find(({ paddr }) => paddr === base);
  return lowest === undefined ? 0n : lowest.vaddr - lowest.paddr;
}

/** Where an address that the kernel was linked with is after the move: a physical or a virtual one; others stay. */
export function addressMover(vmlinux: Vmlinux, move: KernelMove): (address: bigint) => bigint {
  const map = kernelMap(vmlinux);
  const base = linkedPhysicalBase(vmlinux);
  const end = linkedPhysicalEnd(vmlinux);
  const isPhysical = (address: bigint): boolean => address >= base && address < end;
  return (address) => {
    if (isPhysical(address)) return address + move.physicalDelta;
    return isPhysical(address - map) ? address + move.virtualDelta : address;
  };
}

/**
 * Checks that a kernel can make this move at all: alignment, address space, relocations. Whether there is memory at the
 * new place is for the plan to say.
 * @throws BootImageError `not-relocatable` without relocations that the move needs, `bad-argument` for a move that no
 * kernel could make
 */
export function checkMove(vmlinux: Vmlinux, move: KernelMove): void {
  const { physicalDelta, virtualDelta } = move;
  const refuse = (field: string, message: string): never => {
    throw new BootImageError('bad-argument', message, { field, hint: 'choose another address' });
  };
  const alignment = vmlinux.bits === 64 ? ALIGNMENT_64 : ALIGNMENT_32;
  for (const [field, delta] of Object.entries(move) as [string, bigint][]) {
    if (delta % alignment !== 0n) refuse(field, `a move by ${delta} bytes is no multiple of ${hex(alignment)}`);
  }
  const base = linkedPhysicalBase(vmlinux);
  const end = linkedPhysicalEnd(vmlinux);
  if (base + physicalDelta < 0n) refuse('physicalDelta', 'the kernel would lie below address 0');
  if (vmlinux.bits === 32 && physicalDelta !== virtualDelta) {
    refuse('virtualDelta', 'a 32-bit kernel moves by the same distance in physical and virtual memory');
  }
  if (virtualDelta !== 0n) {
    const window = vmlinux.bits === 64 ? KERNEL_WINDOW_64 : { start: 0n, end: 1n << 32n };
    const shift = kernelMap(vmlinux) + virtualDelta;
    if (base + shift < window.start || end + shift > window.end) {
      refuse('virtualDelta', `the kernel would leave its address space ${hex(window.start)} to ${hex(window.end)}`);
    }
    if (vmlinux.relocations === null) {
      throw new BootImageError('not-relocatable', 'the kernel has no relocations', {
        field: 'relocations',
        hint: 'it can only run at the addresses it was linked for (CONFIG_RANDOMIZE_BASE or, on 32 bits, CONFIG_RELOCATABLE is off)',
      });
    }
  }
}

/** A piece as the relocations address it. The bytes are asked for when the first relocation hits them. */
interface Target {
  /** Low 32 bits of the virtual address of the first byte, signed. */
  readonly start: number;
  readonly length: number;
  readonly open: () => Uint8Array;
  view: DataView | null;
}

/** What is added to words of `width` bytes: the low and the high 32 bits of a two's complement number. */
interface Addend {
  readonly width: 4 | 8;
  readonly low: number;
  readonly high: number;
}

/**
 * Adds to the words at `words[from...]`, as long as they lie in the view, whose first byte was linked for `start`.
 * Returns the index of the first word that was left alone.
 */
type Adder = (words: Int32Array, from: number, view: DataView, start: number, addend: Addend) => number;

function outside(address: number): BootImageError {
  return new BootImageError(
    'relocations-malformed',
    `a relocation at ${hex(address >>> 0)} lies outside the kernel's segments`,
    { field: 'relocations', hint: 'the image is damaged' },
  );
}

/** The target that holds `width` bytes at `address`, opened. */
function openTarget(targets: readonly Target[], address: number, width: number): { start: number; view: DataView } {
  for (const target of targets) {
    if ((address - target.start) >>> 0 <= target.length - width) {
      if (target.view === null) {
        const bytes = target.open();
        target.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      }
      return { start: target.start, view: target.view };
    }
  }
  throw outside(address);
}

/** Words of one call: V8 compiles a loop that is called often much sooner than one that runs on and on. */
const BATCH = 256;

/** For a kernel wherever it is. */
const addAnywhere: Adder = (words, from, view, start, { width, low, high }) => {
  const last = view.byteLength - width;
  const end = Math.min(from + BATCH, words.length);
  let index = from;
  for (; index < end; index++) {
    const at = ((words[index] ?? 0) - start) >>> 0;
    if (at > last) break;
    const sum = view.getUint32(at, true) + low;
    view.setUint32(at, sum, true);
    if (width === 8 && (high !== 0 || sum > 0xffffffff)) {
      view.setUint32(at + 4, view.getUint32(at + 4, true) + high + (sum > 0xffffffff ? 1 : 0), true);
    }
  }
  return index;
};

interface RelocateExports {
  add32(words: number, end: number, base: number, start: number, last: number, delta: number): number;
  add64(words: number, end: number, base: number, start: number, last: number, low: number, high: number): number;
}

/**
 * For a kernel that is still in the linear memory of the codec that decompressed it, as is the table behind it: compiled
 * at once, where the other way takes longer to be compiled than to run.
 */
function adderIn(memory: WebAssembly.Memory): Adder {
  const module = new WebAssembly.Module(bytesOfBase64(relocateModule));
  const code = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as RelocateExports;
  return (words, from, view, start, addend) => {
    if (view.buffer !== words.buffer) return addAnywhere(words, from, view, start, addend);
    const { width, low, high } = addend;
    const begin = words.byteOffset + from * 4;
    const end = words.byteOffset + words.byteLength;
    const base = view.byteOffset;
    const last = view.byteLength - width;
    const stopped =
      width === 4
        ? code.add32(begin, end, base, start, last, low)
        : code.add64(begin, end, base, start, last, low, high);
    return ((stopped >>> 0) - words.byteOffset) / 4;
  };
}

// The tables are sorted, so that a target serves thousands of entries in a row.
function addAll(add: Adder, words: Int32Array, targets: readonly Target[], addend: Addend): void {
  for (let index = 0; index < words.length;) {
    const { start, view } = openTarget(targets, words[index] ?? 0, addend.width);
    for (let from = -1; from !== index && index < words.length;) {
      from = index;
      index = add(words, from, view, start, addend);
    }
  }
}

function relocateTargets(vmlinux: Vmlinux, targets: readonly Target[], virtualDelta: bigint): void {
  const table = vmlinux.relocations;
  if (table === null || virtualDelta === 0n) return;
  const low = Number(BigInt.asUintN(32, virtualDelta));
  const memory = memoryOf(table.abs32.buffer);
  const add = memory === null ? addAnywhere : adderIn(memory);
  addAll(add, table.abs32, targets, { width: 4, low, high: 0 });
  addAll(add, table.inverse32, targets, { width: 4, low: -low >>> 0, high: 0 });
  addAll(add, table.abs64, targets, { width: 8, low, high: Number(BigInt.asIntN(64, virtualDelta) >> 32n) });
}

function targetOf(vmlinux: Vmlinux, paddr: bigint, length: number, open: () => Uint8Array): Target {
  const virtual = paddr + kernelMap(vmlinux);
  const space = vmlinux.bits === 64 ? BigInt.asUintN(64, BigInt.asIntN(32, virtual)) : BigInt.asUintN(32, virtual);
  // Entries are sign-extended: a piece beyond the reach of 32 bits holds none.
  return { start: Number(BigInt.asIntN(32, virtual)), length: space === virtual ? length : 0, open, view: null };
}

/**
 * Adds the move of the virtual addresses to everything that the relocation table names, in place.
 *
 * @param pieces the kernel's bytes; one piece for a flat memory image, or one for each segment
 * @throws BootImageError `relocations-malformed` for an entry outside the pieces: they are then half relocated;
 * `not-relocatable`, `bad-argument` as `checkMove`
 */
export function applyRelocations(vmlinux: Vmlinux, pieces: readonly KernelPiece[], virtualDelta: bigint): void {
  checkMove(vmlinux, { physicalDelta: vmlinux.bits === 32 ? virtualDelta : 0n, virtualDelta });
  relocateTargets(
    vmlinux,
    pieces.map(({ paddr, bytes }) => targetOf(vmlinux, paddr, bytes.length, () => bytes)),
    virtualDelta,
  );
}

export interface PlaceOptions {
  /** Relocate vmlinux itself: no copies, but nobody can use it afterwards. */
  readonly inPlace?: boolean;
  /**
   * Move the addresses in the Xen notes, too, which the kernel's own decompressor does not. The PVH entry of Linux 7.2
   * takes the word in PHYS32_ENTRY for the address that everything else in memory stands relative to, so a kernel that
   * is relocated and entered there needs it.
   */
  readonly moveNotes?: boolean;
}

/**
 * The kernel's segments where they go in guest memory, relocated. Segments in which nothing changes are views on the ELF
 * file, the others copies (or views as well, `inPlace`).
 * @throws BootImageError `not-relocatable`, `bad-argument` as `checkMove`; `relocations-malformed` for an entry outside
 * the segments
 */
export function placeKernel(vmlinux: Vmlinux, move: KernelMove = NO_MOVE, options: PlaceOptions = {}): PlacedSegment[] {
  checkMove(vmlinux, move);
  // Before the relocations, which may cover them.
  const notes = options.moveNotes === true ? addressNotes(vmlinux, addressMover(vmlinux, move)) : [];
  const file = vmlinux.elfBytes;
  const placed = vmlinux.segments.map((segment) => ({
    segment,
    address: segment.paddr + move.physicalDelta,
    bytes: file.subarray(segment.offset, segment.offset + segment.filesz),
    memsz: segment.memsz,
  }));
  const open = (piece: (typeof placed)[number]): Uint8Array => {
    if (options.inPlace !== true && piece.bytes.buffer === file.buffer) piece.bytes = new Uint8Array(piece.bytes);
    return piece.bytes;
  };
  const targets = placed.map((piece) =>
    targetOf(vmlinux, piece.segment.paddr, piece.segment.filesz, () => open(piece)),
  );
  relocateTargets(vmlinux, targets, move.virtualDelta);
  for (const { offset, desc } of notes) {
    for (const piece of placed) {
      const at = offset - piece.segment.offset;
      if (at >= 0 && at + desc.length <= piece.bytes.length) open(piece).set(desc, at);
    }
  }
  return placed;
}
