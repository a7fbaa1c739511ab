/** Gives an ELF file a symbol table, for debuggers and nm. */
import { latin1Bytes } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { alignNumber } from '../bytes/numbers.js';
import {
  ELF_STRUCTS,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHN_ABS,
  SHN_LORESERVE,
  SHT_STRTAB,
  SHT_SYMTAB,
  STB_GLOBAL,
  STB_LOCAL,
  STB_WEAK,
  STT_FUNC,
  STT_NOTYPE,
  STT_OBJECT,
} from './definitions.js';
import type { ElfFile, SectionHeader } from './elf-file.js';
import { sectionView } from './read-elf.js';
import { writeElfHeader, writeSectionHeader, writeSymbol } from './write-elf.js';

/** A symbol as nm prints it. */
export interface NamedAddress {
  readonly address: bigint;
  /** One letter: upper case for global symbols, "w" and "v" for weak ones, "a" for absolute ones. */
  readonly type: string;
  readonly name: string;
}

interface Placed {
  readonly symbol: NamedAddress;
  /** Section header index, or SHN_ABS. */
  readonly section: number;
  readonly size: bigint;
}

/** Sections in memory, by address, to find the one that a symbol lies in. */
function sectionFinder(elf: ElfFile): (address: bigint) => number {
  const sections = elf.sectionHeaders
    .map(({ sh_flags, sh_addr, sh_size }, index) => ({ index, sh_flags, start: sh_addr, end: sh_addr + sh_size }))
    .filter(({ sh_flags, start, end }) => (sh_flags & SHF_ALLOC) !== 0n && end > start)
    .sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  let last = sections[0];
  return (address) => {
    if (last === undefined || address < last.start || address >= last.end) {
      last = sections.find(({ start, end }) => address >= start && address < end);
    }
    // A symbol right behind a section (_etext) belongs to it.
    return (last ?? sections.find(({ end }) => address === end))?.index ?? SHN_ABS;
  };
}

/** Sections, and sizes: kallsyms has none, so that a symbol reaches up to the next one of its section. */
function place(elf: ElfFile, symbols: readonly NamedAddress[]): Placed[] {
  const findSection = sectionFinder(elf);
  const sorted = [...symbols].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  const placed: Placed[] = [];
  let next: { address: bigint; section: number } | null = null;
  let end = 0n;
  for (const symbol of sorted.reverse()) {
    const section = findSection(symbol.address);
    if (next === null || next.section !== section) {
      const header = elf.sectionHeaders[section];
      end = header === undefined ? symbol.address : header.sh_addr + header.sh_size;
    } else if (next.address > symbol.address) {
      end = next.address;
    }
    next = { address: symbol.address, section };
    placed.push({ symbol, section, size: section !== SHN_ABS && end > symbol.address ? end - symbol.address : 0n });
  }
  return placed.reverse();
}

function binding(type: string): number {
  if (/^[WwVv]$/.test(type)) return STB_WEAK;
  return type === type.toUpperCase() ? STB_GLOBAL : STB_LOCAL;
}

function symbolType(section: SectionHeader | undefined, type: string): number {
  if (section === undefined) return STT_NOTYPE;
  if (/^[TtWw]$/.test(type)) return (section.sh_flags & SHF_EXECINSTR) !== 0n ? STT_FUNC : STT_NOTYPE;
  return /^[DdBbRrVv]$/.test(type) ? STT_OBJECT : STT_NOTYPE;
}

/** Strings one after another, with the offset of each. */
class StringTable {
  readonly #parts: string[] = ['\0'];
  #length = 1;

  add(text: string): number {
    const at = this.#length;
    this.#parts.push(text, '\0');
    this.#length += text.length + 1;
    return at;
  }

  bytes(): Uint8Array {
    return latin1Bytes(this.#parts.join(''));
  }
}

/**
 * A copy of the ELF file with .symtab and .strtab behind it, and behind them its section names and section headers anew;
 * nothing else moves. The old tables stay where they were, as bytes that nobody refers to.
 *
 * @param elfBytes the file that `elf` was read from, exactly
 * @throws BootImageError `unsupported` if it has a symbol table already, or too many sections to add two
 */
export function addSymbols(elf: ElfFile, elfBytes: Uint8Array, symbols: readonly NamedAddress[]): Uint8Array {
  const cls = elf.class;
  const old = elf.sectionHeaders;
  if (old.some(({ sh_type }) => sh_type === SHT_SYMTAB)) {
    throw new BootImageError('unsupported', 'the ELF file has a symbol table already', { field: '.symtab' });
  }
  if (old.length + 4 >= SHN_LORESERVE) {
    throw new BootImageError('unsupported', `the ELF file has ${old.length} sections`, { field: 'e_shnum' });
  }
  const { sym, shdr } = ELF_STRUCTS[cls];
  const word = BigInt(cls / 8);

  // Local symbols come first (gABI, "Symbol Table"); sh_info is where the others begin.
  const placed = place(elf, symbols);
  const locals = placed.filter(({ symbol }) => binding(symbol.type) === STB_LOCAL);
  const ordered = [...locals, ...placed.filter(({ symbol }) => binding(symbol.type) !== STB_LOCAL)];
  const strings = new StringTable();
  const table = new Uint8Array((ordered.length + 1) * sym.size);
  ordered.forEach(({ symbol, section, size }, i) =>
    writeSymbol(cls, table, (i + 1) * sym.size, {
      st_name: strings.add(symbol.name),
      st_value: symbol.address,
      st_size: size,
      st_info: (binding(symbol.type) << 4) | symbolType(old[section], symbol.type),
      st_shndx: section,
    }),
  );
  const stringBytes = strings.bytes();

  // Section names: the old ones keep their offsets.
  const oldNames = old[elf.header.e_shstrndx];
  const nameBytes = oldNames === undefined ? Uint8Array.of(0) : sectionView(elf, oldNames).bytes;
  const newNames = latin1Bytes('.symtab\0.strtab\0.shstrtab\0');
  const names = new Uint8Array(nameBytes.length + newNames.length);
  names.set(nameBytes);
  names.set(newNames, nameBytes.length);

  const tableAt = alignNumber(elfBytes.length, 8);
  const stringsAt = tableAt + table.length;
  const namesAt = stringsAt + stringBytes.length;
  const headersAt = alignNumber(namesAt + names.length, 8);
  const kept = Math.max(old.length, 1);
  const hasNames = oldNames !== undefined;
  const count = kept + (hasNames ? 2 : 3);
  const out = new Uint8Array(headersAt + count * shdr.size);
  out.set(elfBytes);
  out.set(table, tableAt);
  out.set(stringBytes, stringsAt);
  out.set(names, namesAt);

  const namesHeader: Partial<SectionHeader> = {
    sh_name: nameBytes.length + '.symtab\0.strtab\0'.length,
    sh_type: SHT_STRTAB,
    sh_offset: BigInt(namesAt),
    sh_size: BigInt(names.length),
    sh_addralign: 1n,
  };
  const headers: Partial<SectionHeader>[] = [
    ...(old.length > 0 ? old : [{}]),
    {
      sh_name: nameBytes.length,
      sh_type: SHT_SYMTAB,
      sh_offset: BigInt(tableAt),
      sh_size: BigInt(table.length),
      sh_link: kept + 1,
      sh_info: locals.length + 1,
      sh_addralign: word,
      sh_entsize: BigInt(sym.size),
    },
    {
      sh_name: nameBytes.length + '.symtab\0'.length,
      sh_type: SHT_STRTAB,
      sh_offset: BigInt(stringsAt),
      sh_size: BigInt(stringBytes.length),
      sh_addralign: 1n,
    },
    ...(hasNames ? [] : [namesHeader]),
  ];
  const namesIndex = hasNames ? elf.header.e_shstrndx : kept + 2;
  if (hasNames) headers[namesIndex] = { ...oldNames, ...namesHeader, sh_name: oldNames.sh_name };
  headers.forEach((header, i) => writeSectionHeader(cls, out, headersAt + i * shdr.size, header));
  writeElfHeader(cls, out, 0, {
    e_shoff: BigInt(headersAt),
    e_shentsize: shdr.size,
    e_shnum: count,
    e_shstrndx: namesIndex,
  });
  return out;
}
