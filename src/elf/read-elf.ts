/** Reads ELF files of both classes; every access is checked, no count or size from the file is trusted. */
import type { ByteView } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { safeNumber } from '../bytes/numbers.js';
import type { Field, FieldValue } from '../bytes/struct.js';
import {
  EI_CLASS,
  EI_DATA,
  ELF_MAGIC,
  ELF_STRUCTS,
  ELFCLASS32,
  ELFCLASS64,
  ELFDATA2LSB,
  PN_XNUM,
  SHN_XINDEX,
  SHT_NOBITS,
  SHT_SYMTAB,
  type ElfClass,
} from './definitions.js';
import type { ElfFile, ElfHeader, ElfSymbol, ProgramHeader, SectionHeader } from './elf-file.js';

export interface ReadElfOptions {
  /** Collect defects of the tables in `ElfFile.defects` and go on, instead of throwing the first. */
  readonly tolerant?: boolean;
}

/** True if an ELF magic stands at `offset`. Never throws. */
export function isElf(view: ByteView, offset = 0): boolean {
  return view.startsWith(ELF_MAGIC, offset);
}

type Kind = keyof (typeof ELF_STRUCTS)[64];

/** Names of the fields that are 64 bits wide in class 64: these are bigint in both classes. */
const wideFields = Object.fromEntries(
  Object.entries(ELF_STRUCTS[64]).map(([kind, { fields }]) => [
    kind,
    new Set((fields as readonly Field[]).filter(({ type }) => type === 'u64').map(({ name }) => name)),
  ]),
) as Record<Kind, Set<string>>;

/** One structure of either class, in the shape of class 64. @throws BootImageError `truncated` */
function readStruct(view: ByteView, at: number, cls: ElfClass, kind: Kind): Record<string, FieldValue> {
  const values: Record<string, FieldValue> = ELF_STRUCTS[cls][kind].read(view, at);
  if (cls === 32) {
    for (const name of wideFields[kind]) values[name] = BigInt(values[name] as number);
  }
  return values;
}

/** A table's place, known to lie inside the data. */
interface Table {
  readonly offset: number;
  readonly entrySize: number;
  readonly count: number;
}

const EMPTY: Table = { offset: 0, entrySize: 0, count: 0 };

/** Where a table lies, or why it cannot be read. */
function locateTable(
  view: ByteView,
  field: string,
  offset: bigint,
  entrySize: number,
  minimum: number,
  count: number,
): Table | BootImageError {
  if (count === 0) return EMPTY;
  const size = field === 'e_phoff' ? 'e_phentsize' : 'e_shentsize';
  if (entrySize < minimum) {
    return new BootImageError(
      'elf-malformed',
      `${size} is ${entrySize}, but an entry of this class has ${minimum} bytes`,
      { offset: view.base, field: size },
    );
  }
  const start = safeNumber(offset);
  if (start === null || !view.has(start, count * entrySize)) {
    return new BootImageError(
      'elf-malformed',
      `a table of ${count} entries of ${entrySize} bytes lies outside the file`,
      { offset: view.base, field, hint: 'the file is damaged or truncated' },
    );
  }
  return { offset: start, entrySize, count };
}

/** Section header 0, where the gABI keeps counts that do not fit the ELF header; null if there is none. */
function sectionZero(view: ByteView, cls: ElfClass, header: ElfHeader): SectionHeader | null {
  const offset = safeNumber(header.e_shoff);
  if (offset === null || offset === 0 || !view.has(offset, ELF_STRUCTS[cls].shdr.size)) return null;
  return readStruct(view, offset, cls, 'shdr') as unknown as SectionHeader;
}

function readSections(
  view: ByteView,
  cls: ElfClass,
  table: Table,
  header: ElfHeader,
  zero: SectionHeader | null,
): SectionHeader[] {
  const raw = Array.from({ length: table.count }, (_, i) =>
    readStruct(view, table.offset + i * table.entrySize, cls, 'shdr'),
  ) as unknown as SectionHeader[];
  const names = raw[header.e_shstrndx === SHN_XINDEX ? (zero?.sh_link ?? 0) : header.e_shstrndx];
  const start = names === undefined ? null : safeNumber(names.sh_offset);
  return raw.map((section) => ({
    ...section,
    name: start === null ? '' : (view.cString(start + section.sh_name, 256) ?? ''),
  }));
}

/**
 * Reads an ELF file that begins where the window begins.
 *
 * Little-endian only: x86 has no other. The program header table is read at once, the section header table on first use.
 * @throws BootImageError `bad-magic` or `unsupported` (class, byte order); `truncated` if the ELF header is cut off;
 * `elf-malformed` (unless tolerant) for a table that lies outside the data or has impossible entry sizes.
 */
export function readElf(view: ByteView, options: ReadElfOptions = {}): ElfFile {
  if (!isElf(view)) {
    throw new BootImageError('bad-magic', 'no ELF magic', { offset: view.base, field: 'e_ident' });
  }
  const eiClass = view.u8(EI_CLASS, 'EI_CLASS');
  if (eiClass !== ELFCLASS32 && eiClass !== ELFCLASS64) {
    throw new BootImageError('unsupported', `ELF class ${eiClass} is neither 32 nor 64 bits`, {
      offset: view.base + EI_CLASS,
      field: 'EI_CLASS',
    });
  }
  const eiData = view.u8(EI_DATA, 'EI_DATA');
  if (eiData !== ELFDATA2LSB) {
    throw new BootImageError('unsupported', `ELF data encoding ${eiData} is not little-endian`, {
      offset: view.base + EI_DATA,
      field: 'EI_DATA',
    });
  }
  const cls: ElfClass = eiClass === ELFCLASS64 ? 64 : 32;
  const header = readStruct(view, 0, cls, 'ehdr') as unknown as ElfHeader;
  const zero = sectionZero(view, cls, header);

  const defects: BootImageError[] = [];
  const locate = (...args: Parameters<typeof locateTable>): Table => {
    const table = locateTable(...args);
    if (!(table instanceof BootImageError)) return table;
    if (options.tolerant !== true) throw table;
    defects.push(table);
    return EMPTY;
  };
  const phnum = header.e_phnum === PN_XNUM && zero !== null ? zero.sh_info : header.e_phnum;
  const shnum = header.e_shnum === 0 && zero !== null ? (safeNumber(zero.sh_size) ?? Infinity) : header.e_shnum;
  const { phdr, shdr } = ELF_STRUCTS[cls];
  const programs = locate(view, 'e_phoff', header.e_phoff, header.e_phentsize, phdr.size, phnum);
  const sections = locate(view, 'e_shoff', header.e_shoff, header.e_shentsize, shdr.size, shnum);

  let sectionHeaders: readonly SectionHeader[] | undefined;
  return {
    class: cls,
    header,
    programHeaders: Array.from({ length: programs.count }, (_, i) =>
      readStruct(view, programs.offset + i * programs.entrySize, cls, 'phdr'),
    ) as unknown as ProgramHeader[],
    get sectionHeaders() {
      return (sectionHeaders ??= readSections(view, cls, sections, header, zero));
    },
    view,
    defects,
  };
}

/**
 * One past the last byte that the file's own headers account for: ELF header, both tables, the file ranges of segments
 * and sections. Never beyond the data; ranges that lie outside it are left out. Whatever follows belongs to someone
 * else: behind a kernel, its relocations.
 */
export function elfEnd(elf: ElfFile): number {
  const { header, view } = elf;
  const ranges: (readonly [offset: bigint, size: bigint])[] = [
    [0n, BigInt(ELF_STRUCTS[elf.class].ehdr.size)],
    [header.e_phoff, BigInt(elf.programHeaders.length * header.e_phentsize)],
    [header.e_shoff, BigInt(elf.sectionHeaders.length * header.e_shentsize)],
    ...elf.programHeaders.map(({ p_offset, p_filesz }) => [p_offset, p_filesz] as const),
    ...elf.sectionHeaders
      .filter(({ sh_type }) => sh_type !== SHT_NOBITS)
      .map(({ sh_offset, sh_size }) => [sh_offset, sh_size] as const),
  ];
  const length = BigInt(view.length);
  return Number(
    ranges.reduce((end, [offset, size]) => {
      const last = offset + size;
      return size > 0n && last <= length && last > end ? last : end;
    }, 0n),
  );
}

/** The first section of this name, or null. */
export function findSection(elf: ElfFile, name: string): SectionHeader | null {
  return elf.sectionHeaders.find((section) => section.name === name) ?? null;
}

/** A section's bytes, shared; empty for SHT_NOBITS. @throws BootImageError `elf-malformed` if they lie outside the data. */
export function sectionView(elf: ElfFile, section: SectionHeader): ByteView {
  if (section.sh_type === SHT_NOBITS) return elf.view.view(0, 0);
  return rangeView(elf, section.sh_offset, section.sh_size, `section ${section.name}`);
}

/** A segment's bytes in the file, shared. @throws BootImageError `elf-malformed` if they lie outside the data. */
export function segmentView(elf: ElfFile, segment: ProgramHeader): ByteView {
  return rangeView(elf, segment.p_offset, segment.p_filesz, 'p_offset');
}

function rangeView(elf: ElfFile, offset: bigint, size: bigint, field: string): ByteView {
  const start = safeNumber(offset);
  const length = safeNumber(size);
  if (start === null || length === null || !elf.view.has(start, length)) {
    throw new BootImageError('elf-malformed', `${field} lies outside the file`, { offset: elf.view.base, field });
  }
  return elf.view.view(start, length);
}

/** The symbols of the first .symtab, in table order; empty if there is none. @throws BootImageError `elf-malformed` */
export function* iterateSymbols(elf: ElfFile): Generator<ElfSymbol> {
  const table = elf.sectionHeaders.find(({ sh_type }) => sh_type === SHT_SYMTAB);
  if (table === undefined) return;
  const strings = elf.sectionHeaders[table.sh_link];
  const names = strings === undefined ? null : sectionView(elf, strings);
  const symbols = sectionView(elf, table);
  const { size } = ELF_STRUCTS[elf.class].sym;
  for (let at = 0; at + size <= symbols.length; at += size) {
    const symbol = readStruct(symbols, at, elf.class, 'sym') as unknown as ElfSymbol;
    yield { ...symbol, name: names?.cString(symbol.st_name, 4096) ?? '' };
  }
}
