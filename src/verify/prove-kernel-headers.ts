/** The program headers of the kernel inside, held against its sections, its relocations and its mapping. */
import type { BootImage } from '../bzimage/boot-image.js';
import { PT_LOAD, PT_NOTE } from '../elf/definitions.js';
import { KERNEL_WINDOW_64 } from '../kernel/relocate.js';
import { linkedPhysicalBase, linkedPhysicalEnd, type Vmlinux } from '../kernel/vmlinux.js';
import {
  compareAlignment,
  compareNotes,
  compareSections,
  EVIDENCE,
  HeaderComparison,
  type HeaderProof,
  headersOf,
  type IndexedHeader,
} from './prove-headers.js';

/**
 * 64-bit segments with virtual addresses of their own: the per-CPU area that is linked at 0 (until Linux 6.14), and the
 * vsyscall page (until Linux 3.0).
 */
const APART = [0n, 0xffffffffff600000n];

/** So many of the words that relocations name are addresses of the kernel: 99.6 % and more where the place is right. */
const ADDRESSES = 0.95;
/** With fewer words than this nothing is said. */
const FEW = 8;

interface Mapped extends IndexedHeader {
  /** By its sections, if there are some. */
  readonly vaddr: bigint;
  readonly apart: boolean;
}

/** Virtual minus physical address: known for Linux on 64 bits, else what most program headers say. */
function mappingOf(vmlinux: Vmlinux, loads: readonly Mapped[]): bigint {
  if (vmlinux.bits === 64 && vmlinux.banner !== null) return KERNEL_WINDOW_64.start;
  const votes = new Map<bigint, number>();
  const notes = headersOf(vmlinux.elf, PT_NOTE).map((note) => ({ ...note, vaddr: note.p_vaddr }));
  for (const { vaddr, p_paddr } of [...loads.filter(({ apart }) => !apart), ...notes]) {
    votes.set(vaddr - p_paddr, (votes.get(vaddr - p_paddr) ?? 0) + 1);
  }
  return [...votes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 0n;
}

/** Where relocations find a segment: virtual addresses that end before 4 GiB, as their low 32 bits. */
interface Place {
  readonly load: Mapped;
  readonly start: number;
  readonly length: number;
  words: number;
  addresses: number;
}

/** Every relocation lies in a segment, and what it names is an address of the kernel. */
function compareRelocations(
  vmlinux: Vmlinux,
  loads: readonly Mapped[],
  map: bigint,
  comparison: HeaderComparison,
): void {
  if (vmlinux.relocations === null) return;
  const low = (address: bigint): number => Number(BigInt.asIntN(32, address));
  const places: Place[] = loads.map((load) => ({
    ...{ load, start: low(load.apart ? load.p_paddr + map : load.p_vaddr), length: Number(load.p_filesz) },
    ...{ words: 0, addresses: 0 },
  }));
  const base = low(linkedPhysicalBase(vmlinux) + map);
  const span = Number(linkedPhysicalEnd(vmlinux) - linkedPhysicalBase(vmlinux));
  const file = new DataView(vmlinux.elfBytes.buffer, vmlinux.elfBytes.byteOffset, vmlinux.elfBytes.length);
  const { abs64, abs32, inverse32 } = vmlinux.relocations;
  let outside = 0;
  for (const table of [abs64, abs32, inverse32]) {
    for (const entry of table) {
      const place = places.find(({ start, length }) => (entry - start) >>> 0 <= length - 4);
      if (place === undefined) {
        outside++;
        continue;
      }
      if (table === inverse32) continue;
      const word = file.getInt32(Number(place.load.p_offset) + ((entry - place.start) >>> 0), true);
      place.words++;
      if ((word - base) >>> 0 <= span) place.addresses++;
    }
  }
  const total = abs64.length + abs32.length + inverse32.length;
  comparison.require(
    ...([null, 'p_vaddr', outside === 0, 'every relocation inside a segment'] as const),
    ...([`${outside} of ${total} outside`, EVIDENCE.relocations] as const),
  );
  for (const { load, words, addresses } of places) {
    if (words < FEW) continue;
    comparison.require(
      ...([load.index, load.apart ? 'p_paddr' : 'p_vaddr', addresses >= words * ADDRESSES] as const),
      ...(['relocations of addresses', `${words - addresses} of ${words} are none`, EVIDENCE.relocations] as const),
    );
  }
}

/** A segment with virtual addresses of its own still lies in line with the others in physical memory. */
function compareApart(vmlinux: Vmlinux, loads: readonly Mapped[], comparison: HeaderComparison): void {
  loads.forEach(({ index, apart, vaddr, p_paddr, p_memsz }, at) => {
    if (!apart) return;
    const [before, after] = [loads[at - 1], loads[at + 1]];
    const section = vmlinux.elf.sectionHeaders.find((s) => s.sh_addr === vaddr && s.sh_size > 0n);
    const inLine =
      (before === undefined || before.p_paddr + before.p_memsz <= p_paddr) &&
      (after === undefined || p_paddr + p_memsz <= after.p_paddr) &&
      (section === undefined || section.sh_addralign <= 1n || p_paddr % section.sh_addralign === 0n);
    const expected = 'aligned, between the segments before and after';
    comparison.require(index, 'p_paddr', inLine, expected, p_paddr, EVIDENCE.segments);
  });
}

export function proveKernelHeaders(image: BootImage, vmlinux: Vmlinux): HeaderProof {
  const { elf } = vmlinux;
  const comparison = new HeaderComparison();
  const starts = compareSections(elf, comparison);
  const loads = headersOf(elf, PT_LOAD).map((header): Mapped => {
    const vaddr = starts.get(header.index) ?? header.p_vaddr;
    return { ...header, vaddr, apart: vmlinux.bits === 64 && APART.includes(vaddr) };
  });
  const map = mappingOf(vmlinux, loads);
  for (const { index, vaddr, p_vaddr, p_paddr, apart } of loads) {
    if (apart) continue;
    if (starts.has(index)) {
      comparison.compare(index, 'p_paddr', BigInt.asUintN(vmlinux.bits, vaddr - map), p_paddr, EVIDENCE.mapping);
    } else {
      comparison.compare(index, 'p_vaddr', BigInt.asUintN(vmlinux.bits, p_paddr + map), p_vaddr, EVIDENCE.mapping);
    }
  }
  compareApart(vmlinux, loads, comparison);
  compareRelocations(vmlinux, loads, map, comparison);
  // The kernel's build makes init_size no smaller than the kernel with its bss.
  const initSize = BigInt(image.setup?.values.init_size ?? 0);
  const end = linkedPhysicalEnd(vmlinux);
  const last = loads.find(({ p_paddr, p_memsz }) => p_paddr + p_memsz === end);
  if (initSize > 0n && last !== undefined) {
    const fits = end - linkedPhysicalBase(vmlinux) <= initSize;
    comparison.require(last.index, 'p_memsz', fits, 'an end within init_size', last.p_memsz, EVIDENCE.setup);
  }
  compareNotes(elf, map, comparison);
  compareAlignment(elf, comparison);
  return comparison.result(elf);
}
