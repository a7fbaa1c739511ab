/**
 * Strips a vmlinux as the kernel's build does before it compresses it (objcopy -R .comment -S): what is not loaded goes,
 * and with it symbols and the relocations that the linker kept; what is loaded stays where it is.
 */
import { latin1Bytes } from '../bytes/byte-view.js';
import { alignNumber } from '../bytes/numbers.js';
import {
  ELF_STRUCTS,
  SHF_ALLOC,
  SHT_NOBITS,
  SHT_NULL,
  SHT_REL,
  SHT_RELA,
  SHT_STRTAB,
  SHT_SYMTAB,
} from '../elf/definitions.js';
import type { ElfFile, SectionHeader } from '../elf/elf-file.js';
import { sectionView } from '../elf/read-elf.js';
import { writeElfHeader, writeSectionHeader } from '../elf/write-elf.js';

const NAME_TABLE = '.shstrtab';

function isLoaded(section: SectionHeader): boolean {
  return (section.sh_flags & SHF_ALLOC) !== 0n;
}

/** `.smp_locks` of a uniprocessor kernel and the like: empty and unloaded, but kept. */
function isKept(section: SectionHeader): boolean {
  if (isLoaded(section)) return true;
  return (
    section.sh_size === 0n &&
    ![SHT_NULL, SHT_SYMTAB, SHT_STRTAB, SHT_REL, SHT_RELA].includes(section.sh_type) &&
    section.name !== '.comment'
  );
}

/** True for a vmlinux as the linker leaves it: with a symbol table, or with relocations of loaded sections. */
export function needsStripping(elf: ElfFile): boolean {
  return elf.sectionHeaders.some(
    ({ sh_type, sh_flags }) =>
      sh_type === SHT_SYMTAB || ((sh_type === SHT_REL || sh_type === SHT_RELA) && (sh_flags & SHF_ALLOC) === 0n),
  );
}

const reversed = (text: string): string => Array.from(text).reverse().join('');

/**
 * A section name table as binutils lays it out: names in order of sections behind the table's own, a name that ends
 * another one inside that.
 */
function nameTable(names: readonly string[]): {
  readonly bytes: Uint8Array;
  readonly offsets: ReadonlyMap<string, number>;
} {
  const unique = [...new Set(names.filter((name) => name !== ''))];
  const inside = new Map<string, string>();
  const sorted = [...unique].sort((a, b) => (reversed(a) < reversed(b) ? -1 : 1));
  let holder = sorted.at(-1);
  for (const name of sorted.slice(0, -1).reverse()) {
    if (holder?.endsWith(name) === true) inside.set(name, holder);
    else holder = name;
  }
  const offsets = new Map<string, number>([['', 0]]);
  let text = '\0';
  for (const name of unique) {
    if (inside.has(name)) continue;
    offsets.set(name, text.length);
    text += `${name}\0`;
  }
  for (const [name, longer] of inside) offsets.set(name, (offsets.get(longer) ?? 0) + longer.length - name.length);
  return { bytes: latin1Bytes(text), offsets };
}

/** A new file; loaded bytes are the same and at the same offsets. @throws BootImageError `elf-malformed` */
export function stripElf(elf: ElfFile): Uint8Array {
  const sizes = ELF_STRUCTS[elf.class];
  const kept = elf.sectionHeaders.filter((section) => section.sh_type !== SHT_NULL && isKept(section));
  const names = nameTable([NAME_TABLE, ...kept.map(({ name }) => name)]);
  const headersEnd = Number(elf.header.e_phoff) + elf.header.e_phnum * elf.header.e_phentsize;
  const nameOffset = kept.reduce(
    (end, { sh_type, sh_offset, sh_size }) =>
      Math.max(end, Number(sh_offset + (sh_type === SHT_NOBITS ? 0n : sh_size))),
    headersEnd,
  );
  const tableOffset = alignNumber(nameOffset + names.bytes.length, elf.class / 8);
  const bytes = new Uint8Array(tableOffset + (kept.length + 2) * sizes.shdr.size);

  bytes.set(elf.view.slice(0, headersEnd));
  for (const section of kept) {
    if (section.sh_type !== SHT_NOBITS) bytes.set(sectionView(elf, section).bytes, Number(section.sh_offset));
  }
  bytes.set(names.bytes, nameOffset);
  writeElfHeader(elf.class, bytes, 0, {
    e_shoff: BigInt(tableOffset),
    e_shnum: kept.length + 2,
    e_shstrndx: kept.length + 1,
  });
  for (const [i, section] of kept.entries()) {
    const sh_name = names.offsets.get(section.name) ?? 0;
    writeSectionHeader(elf.class, bytes, tableOffset + (i + 1) * sizes.shdr.size, { ...section, sh_name });
  }
  writeSectionHeader(elf.class, bytes, tableOffset + (kept.length + 1) * sizes.shdr.size, {
    sh_name: names.offsets.get(NAME_TABLE) ?? 0,
    sh_type: SHT_STRTAB,
    sh_offset: BigInt(nameOffset),
    sh_size: BigInt(names.bytes.length),
    sh_addralign: 1n,
  });
  return bytes;
}
