/**
 * Program headers against what the image and its run say independently of them. Memory alone does not show every lie:
 * the decompressor obeys p_offset and p_paddr, and reads neither p_vaddr nor p_memsz.
 */
import { BootImageError } from '../bytes/error.js';
import { isPowerOfTwo } from '../bytes/numbers.js';
import { PT_LOAD, PT_NOTE, SHF_ALLOC, SHT_NOBITS, SHT_NOTE } from '../elf/definitions.js';
import type { ElfFile, ProgramHeader, SectionHeader } from '../elf/elf-file.js';
import { iterateNotes } from '../elf/notes.js';
import { segmentView } from '../elf/read-elf.js';

/** What a field was held against. */
export const EVIDENCE = {
  sections: 'section headers',
  mapping: 'the mapping of the kernel',
  relocations: 'relocation table',
  setup: 'setup header',
  run: 'paging is off when setup enters it',
  entry: 'control comes there',
  segments: 'the other program headers',
  notes: 'the notes',
} as const;

export type Evidence = (typeof EVIDENCE)[keyof typeof EVIDENCE];

/** A field that is not what something else says it is. */
export interface HeaderDifference {
  /** Index in the program header table; null for what is wrong with all of them. */
  readonly segment: number | null;
  readonly field: string;
  /** An address or a size; in words where there is more than one right value. */
  readonly expected: bigint | string;
  readonly found: bigint | string;
  readonly evidence: Evidence;
}

export interface HeaderCheck {
  readonly segment: number | null;
  readonly field: string;
  /** Null if nothing but the header itself says it. */
  readonly evidence: Evidence | null;
}

export interface HeaderProof {
  readonly checks: readonly HeaderCheck[];
  readonly differences: readonly HeaderDifference[];
}

export const NO_HEADERS: HeaderProof = { checks: [], differences: [] };

export interface IndexedHeader extends ProgramHeader {
  readonly index: number;
}

export function headersOf(elf: ElfFile, type: number): IndexedHeader[] {
  return elf.programHeaders.flatMap((header, index) =>
    header.p_type === type && header.p_memsz + header.p_filesz > 0n ? [{ ...header, index }] : [],
  );
}

const FIELDS = ['p_offset', 'p_vaddr', 'p_paddr', 'p_filesz', 'p_memsz', 'p_flags', 'p_align'] as const;

/** Collects what was compared. Of several differences in a field the first stays: the best evidence comes first. */
export class HeaderComparison {
  readonly #checks = new Map<string, HeaderCheck>();
  readonly #differences = new Map<string, HeaderDifference>();

  compare(
    segment: number | null,
    field: string,
    expected: bigint | string,
    found: bigint | string,
    evidence: Evidence,
  ): void {
    this.#checks.set(`${segment} ${field} ${evidence}`, { segment, field, evidence });
    const key = `${segment} ${field}`;
    if (expected !== found && !this.#differences.has(key)) {
      this.#differences.set(key, { segment, field, expected, found, evidence });
    }
  }

  /** For what has no single right value. */
  require(
    segment: number | null,
    field: string,
    holds: boolean,
    expected: string,
    found: bigint | string,
    evidence: Evidence,
  ): void {
    this.compare(segment, field, expected, holds ? expected : found, evidence);
  }

  result(elf: ElfFile): HeaderProof {
    const checks = [...this.#checks.values()];
    const bare = [...headersOf(elf, PT_LOAD), ...headersOf(elf, PT_NOTE)].flatMap(({ index }) =>
      FIELDS.filter((field) => !checks.some((check) => check.segment === index && check.field === field)).map(
        (field) => ({ segment: index, field, evidence: null }),
      ),
    );
    return { checks: [...checks, ...bare], differences: [...this.#differences.values()] };
  }
}

const endOf = ({ sh_addr, sh_size }: SectionHeader): bigint => sh_addr + sh_size;
const hasBytes = ({ sh_type }: SectionHeader): boolean => sh_type !== SHT_NOBITS;

/** Which segment each loaded section lies in. One wrong field still leaves the file offsets or the addresses. */
function sectionsBySegment(elf: ElfFile, loads: readonly IndexedHeader[]): Map<number, SectionHeader[]> {
  const homes = new Map<number, SectionHeader[]>();
  let last: IndexedHeader | undefined = undefined;
  for (const section of elf.sectionHeaders) {
    const { sh_flags, sh_size, sh_addr, sh_offset } = section;
    if ((sh_flags & SHF_ALLOC) === 0n || sh_size === 0n) continue;
    const inFile = loads.filter(
      ({ p_offset, p_filesz }) => hasBytes(section) && sh_offset >= p_offset && sh_offset < p_offset + p_filesz,
    );
    const inMemory = loads.filter(({ p_vaddr, p_memsz }) => sh_addr >= p_vaddr && sh_addr < p_vaddr + p_memsz);
    // What lies in none is with the section before it: linkers keep the order.
    const home: IndexedHeader | undefined =
      inFile.find((load) => inMemory.includes(load)) ?? inFile[0] ?? inMemory[0] ?? last ?? loads[0];
    if (home === undefined) continue;
    last = home;
    homes.set(home.index, [...(homes.get(home.index) ?? []), section]);
  }
  return homes;
}

/**
 * A linker makes segments of sections: a segment begins where its first section does and ends with its last.
 * @returns the virtual address of each segment that has sections
 */
export function compareSections(elf: ElfFile, comparison: HeaderComparison): Map<number, bigint> {
  const starts = new Map<number, bigint>();
  const loads = headersOf(elf, PT_LOAD);
  const homes = sectionsBySegment(elf, loads);
  const highest = (sections: readonly SectionHeader[], least: bigint): bigint =>
    sections.reduce((end, section) => (endOf(section) > end ? endOf(section) : end), least);
  for (const { index, p_offset, p_vaddr, p_filesz, p_memsz } of loads) {
    const sections = homes.get(index) ?? [];
    const [first, ...others] = sections;
    if (first === undefined) continue;
    const lowest = others.reduce((low, section) => (section.sh_addr < low.sh_addr ? section : low), first);
    // A first segment may begin with the file's own headers, which are no section.
    const start = lowest.sh_addr - (p_offset === 0n ? lowest.sh_offset : 0n);
    starts.set(index, start);
    const filled = sections.filter(hasBytes);
    comparison.compare(index, 'p_vaddr', start, p_vaddr, EVIDENCE.sections);
    for (const { sh_addr, sh_offset } of filled) {
      comparison.compare(index, 'p_offset', sh_offset - (sh_addr - start), p_offset, EVIDENCE.sections);
    }
    comparison.compare(index, 'p_filesz', highest(filled, start) - start, p_filesz, EVIDENCE.sections);
    comparison.compare(index, 'p_memsz', highest(sections, start) - start, p_memsz, EVIDENCE.sections);
  }
  return starts;
}

/** A note segment that is no part of memory: `pack --note` puts one behind everything. */
function isUnloaded(elf: ElfFile, { p_offset, p_vaddr, p_paddr }: ProgramHeader): boolean {
  const loaded = headersOf(elf, PT_LOAD).some((load) => p_offset < load.p_offset + load.p_filesz);
  const section = elf.sectionHeaders.some((s) => hasBytes(s) && p_offset < s.sh_offset + s.sh_size);
  return p_vaddr === 0n && p_paddr === 0n && !loaded && !section;
}

function notesFault(elf: ElfFile, header: ProgramHeader): string | null {
  try {
    Array.from(iterateNotes(segmentView(elf, header)));
    return null;
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
    return error.message;
  }
}

/** A PT_NOTE repeats what a PT_LOAD has at the same place. @param map virtual minus physical address */
export function compareNotes(elf: ElfFile, map: bigint, comparison: HeaderComparison): void {
  const sections = elf.sectionHeaders.filter(
    ({ sh_type, sh_flags, sh_size }) => sh_type === SHT_NOTE && (sh_flags & SHF_ALLOC) !== 0n && sh_size > 0n,
  );
  const loads = headersOf(elf, PT_LOAD);
  if (sections.length > 0) {
    const present = elf.programHeaders.some(({ p_type }) => p_type === PT_NOTE);
    comparison.require(null, 'p_type', present, 'a PT_NOTE', 'none', EVIDENCE.sections);
  }
  for (const header of headersOf(elf, PT_NOTE)) {
    const { index, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz } = header;
    const unloaded = isUnloaded(elf, header);
    comparison.compare(index, 'p_memsz', p_filesz, p_memsz, EVIDENCE.segments);
    const section =
      sections.find(({ sh_offset }) => sh_offset === p_offset) ??
      sections.find(({ sh_addr }) => sh_addr === p_vaddr) ??
      sections[0];
    if (!unloaded && section !== undefined) {
      const ends = sections.some(({ sh_offset, sh_size }) => sh_offset + sh_size === p_offset + p_filesz);
      comparison.compare(index, 'p_offset', section.sh_offset, p_offset, EVIDENCE.sections);
      comparison.compare(index, 'p_vaddr', section.sh_addr, p_vaddr, EVIDENCE.sections);
      comparison.compare(index, 'p_filesz', ends ? p_filesz : section.sh_size, p_filesz, EVIDENCE.sections);
      comparison.compare(index, 'p_paddr', BigInt.asUintN(elf.class, section.sh_addr - map), p_paddr, EVIDENCE.mapping);
    } else if (!unloaded) {
      const home = loads.find((l) => p_offset >= l.p_offset && p_offset + p_filesz <= l.p_offset + l.p_filesz);
      comparison.require(index, 'p_offset', home !== undefined, 'inside a PT_LOAD', p_offset, EVIDENCE.segments);
      if (home !== undefined) {
        const inside = p_offset - home.p_offset;
        comparison.compare(
          index,
          'p_vaddr',
          BigInt.asUintN(elf.class, home.p_paddr + map + inside),
          p_vaddr,
          EVIDENCE.segments,
        );
        comparison.compare(index, 'p_paddr', home.p_paddr + inside, p_paddr, EVIDENCE.segments);
      }
    }
    const fault = notesFault(elf, header);
    comparison.require(index, 'p_offset', fault === null, 'notes that parse', fault ?? '', EVIDENCE.notes);
    comparison.require(index, 'p_filesz', fault === null, 'notes that parse', fault ?? '', EVIDENCE.notes);
  }
}

/** As the gABI has it for loaders that map pages of the file. */
export function compareAlignment(elf: ElfFile, comparison: HeaderComparison): void {
  for (const { index, p_align, p_vaddr, p_offset } of [...headersOf(elf, PT_LOAD), ...headersOf(elf, PT_NOTE)]) {
    const right = p_align === 0n || (isPowerOfTwo(p_align) && (p_vaddr - p_offset) % p_align === 0n);
    const expected = 'a power of two that divides p_vaddr - p_offset';
    comparison.require(index, 'p_align', right, expected, p_align, EVIDENCE.segments);
  }
}
