/**
 * What an image promises about the moment at which its decompressor enters the kernel: where that may be, and which
 * bytes stand where. Kernels since boot protocol 2.08 promise by their program headers; before that the payload is a
 * raw binary, which is its own memory image.
 */
import type { MemoryMap } from '../boot/memory-map.js';
import { BootImageError } from '../bytes/error.js';
import { hex, isPowerOfTwo } from '../bytes/numbers.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { type KernelMove, kernelMap, placeKernel, type PlacedSegment } from '../kernel/relocate.js';
import { linkedPhysicalBase, linkedPhysicalEnd, type Vmlinux } from '../kernel/vmlinux.js';

/** Reads guest memory; every address is guest physical. */
export type ReadMemory = (address: bigint, length: number) => Uint8Array;

/** Bytes that are promised at an address. What `bytes` does not cover, up to `size`, is promised to be zero. */
export interface PromisedRange {
  readonly address: bigint;
  readonly size: number;
  readonly bytes: Uint8Array;
  /** "segment 2 (rw-)", "gap". */
  readonly what: string;
}

export interface PayloadPromise {
  readonly kind: 'elf' | 'raw';
  /** Bytes from the lowest address to the end, bss included. */
  readonly span: number;
  /** What the decompressor yields, before its segments are moved into place. */
  readonly raw: Uint8Array;
  /** Addresses at which the kernel's lowest byte may come to lie, in guest memory. */
  bases(memory: MemoryMap): bigint[];
  /** What the first byte there may be while the kernel is being put there: the payload's, or the kernel's own. */
  readonly firstBytes: readonly number[];
  /** Where control may come to a kernel at `base`. */
  entriesAt(base: bigint): PossibleEntry[];
  /** Whether the kernel stands there, at the moment of control coming to this entry. */
  isThere(entry: PossibleEntry, read: ReadMemory): boolean;
  /** How the kernel moved, read from memory. */
  moveTo(entry: PossibleEntry, read: ReadMemory): KernelMove;
  /** Every promised byte after this move, in address order. */
  ranges(move: KernelMove): PromisedRange[];
}

export interface PossibleEntry {
  readonly address: bigint;
  /** Address of the kernel's lowest byte. */
  readonly base: bigint;
  /** Control comes to the entry point that the headers name, not merely to the kernel's first byte. */
  readonly promised: boolean;
}

const MIB = 0x100000n;
/** So many bytes at the entry tell the kernel from other code that once stands there; relocations change a few. */
const PROBE = 64;
const PROBE_EQUAL = 0.6;
/** More places than this to stop at would slow the guest down too much. */
const MOST_BASES = 1024;
/** Relocated words from which the virtual move is read. */
const WITNESSES = 63;
const FOUR_GIB = 1n << 32n;

function alignedBases(memory: MemoryMap, alignment: bigint, offset: bigint, span: bigint): bigint[] {
  const bases: bigint[] = [];
  for (const { address, size, type } of memory) {
    if (type !== 'ram') continue;
    const end = address + size < FOUR_GIB ? address + size : FOUR_GIB;
    let base = address - (address % alignment) + offset;
    while (base < address || base < MIB) base += alignment;
    for (; base + span <= end && bases.length < MOST_BASES; base += alignment) bases.push(base);
  }
  return bases;
}

/** The unit in which the kernel moves; kernel_alignment, as far as it can be used. */
function unitOf(image: BootImage, least: bigint): bigint {
  const announced = BigInt(image.setup?.values.kernel_alignment ?? 0);
  return isPowerOfTwo(announced) && announced > least ? announced : least;
}

function looksLike(found: Uint8Array, expected: Uint8Array): boolean {
  const same = found.reduce((count, byte, index) => count + (byte === expected[index] ? 1 : 0), 0);
  return expected.length > 0 && same >= expected.length * PROBE_EQUAL;
}

/** A raw binary: kernels before 2.08 are linked for one address, which is a multiple of 1 MiB, and begin at their first byte. */
export function rawPromise(image: BootImage, raw: Uint8Array): PayloadPromise {
  const unit = unitOf(image, MIB);
  return {
    kind: 'raw',
    span: raw.length,
    raw,
    bases: (memory) => alignedBases(memory, unit, 0n, BigInt(raw.length)),
    firstBytes: [raw[0] ?? 0],
    entriesAt: (base) => [{ address: base, base, promised: true }],
    isThere: ({ address }, read) => looksLike(read(address, PROBE), raw.subarray(0, PROBE)),
    moveTo: ({ base }) => ({ physicalDelta: base, virtualDelta: 0n }),
    ranges: ({ physicalDelta }) => [{ address: physicalDelta, size: raw.length, bytes: raw, what: 'raw kernel' }],
  };
}

function integer(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/** `length` bytes of the file at a physical address as linked; null outside the segments. */
function bytesAt(vmlinux: Vmlinux, paddr: bigint, length: number): Uint8Array | null {
  const home = vmlinux.segments.find((s) => paddr >= s.paddr && paddr + BigInt(length) <= s.paddr + BigInt(s.filesz));
  if (home === undefined) return null;
  const offset = home.offset + Number(paddr - home.paddr);
  return vmlinux.elfBytes.subarray(offset, offset + length);
}

/** The move of the virtual addresses: what most of a sample of relocated words say. */
function virtualMove(vmlinux: Vmlinux, physicalDelta: bigint, read: ReadMemory): bigint {
  const { abs32, abs64 } = vmlinux.relocations ?? {};
  const wide = abs64 !== undefined && abs64.length > 0;
  const words = (wide ? abs64 : abs32) ?? new Int32Array(0);
  const width = wide ? 8 : 4;
  const votes = new Map<bigint, number>();
  for (let at = 0; at < words.length; at += Math.ceil(words.length / WITNESSES)) {
    const paddr = BigInt.asUintN(vmlinux.bits, BigInt(words[at] ?? 0) - kernelMap(vmlinux));
    const linked = bytesAt(vmlinux, paddr, width);
    if (linked === null) continue;
    const move = BigInt.asIntN(8 * width, integer(read(paddr + physicalDelta, width)) - integer(linked));
    votes.set(move, (votes.get(move) ?? 0) + 1);
  }
  return [...votes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 0n;
}

/** The gaps that the segments leave between the lowest and the highest address, as promises of zeros. */
function gaps(ranges: readonly PromisedRange[]): PromisedRange[] {
  const sorted = [...ranges].sort((a, b) => (a.address < b.address ? -1 : 1));
  let end = sorted[0]?.address ?? 0n;
  return sorted.flatMap(({ address, size }) => {
    const gap =
      address > end
        ? [{ address: end, size: Number(address - end), bytes: new Uint8Array(0), what: `gap at ${hex(end)}` }]
        : [];
    if (address + BigInt(size) > end) end = address + BigInt(size);
    return gap;
  });
}

function flagText(flags: number): string {
  return [4, 2, 1].map((bit, index) => ((flags & bit) === 0 ? '-' : 'rwx'.charAt(index))).join('');
}

/** The segments relocated for a move; as they are in the file if no kernel could make it: then memory differs. */
function placedSegments(vmlinux: Vmlinux, move: KernelMove): PlacedSegment[] {
  try {
    return placeKernel(vmlinux, move);
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
    return placeKernel(vmlinux).map((piece) => ({ ...piece, address: piece.address + move.physicalDelta }));
  }
}

export function elfPromise(image: BootImage, vmlinux: Vmlinux): PayloadPromise {
  const base = linkedPhysicalBase(vmlinux);
  const span = linkedPhysicalEnd(vmlinux) - base;
  const unit = unitOf(image, vmlinux.bits === 64 ? 0x200000n : 0x1000n);
  const { e_entry } = vmlinux.elf.header;
  const physicalDelta = (entry: PossibleEntry): bigint => entry.base - base;
  return {
    kind: 'elf',
    span: Number(span),
    raw: vmlinux.raw,
    bases: (memory) => [...new Set([base, ...alignedBases(memory, unit, base % unit, span)])],
    firstBytes: [vmlinux.raw[0] ?? 0, bytesAt(vmlinux, base, 1)?.[0] ?? 0],
    entriesAt: (at) => [
      { address: at - base + e_entry, base: at, promised: true },
      ...(e_entry === base ? [] : [{ address: at, base: at, promised: false }]),
    ],
    isThere(entry, read) {
      const linked = bytesAt(vmlinux, entry.address - physicalDelta(entry), PROBE);
      return linked !== null && looksLike(read(entry.address, PROBE), linked);
    },
    moveTo(entry, read) {
      const delta = physicalDelta(entry);
      return { physicalDelta: delta, virtualDelta: virtualMove(vmlinux, delta, read) };
    },
    ranges(move) {
      const placed = placedSegments(vmlinux, move).map(({ segment, address, bytes, memsz }) => ({
        ...{ address, size: memsz, bytes, what: `segment ${segment.index} (${flagText(segment.flags)})` },
      }));
      return [...placed, ...gaps(placed)].sort((a, b) => (a.address < b.address ? -1 : 1));
    },
  };
}
