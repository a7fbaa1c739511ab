/** ElfFile: what an ELF file says. Definitions only; `readElf` in read-elf.ts fills them in. */
import type { ByteView } from '../bytes/byte-view.js';
import type { BootImageError } from '../bytes/error.js';
import type { StructOf } from '../bytes/struct.js';
import type { ELF64_EHDR, ELF64_PHDR, ELF64_SHDR, ELF64_SYM, ElfClass } from './definitions.js';

/** Elf32_Ehdr or Elf64_Ehdr, raw. Addresses and offsets are bigint in both classes. */
export type ElfHeader = StructOf<(typeof ELF64_EHDR)['fields']>;

/** Elf32_Phdr or Elf64_Phdr, raw. Addresses, offsets and sizes are bigint in both classes. */
export type ProgramHeader = StructOf<(typeof ELF64_PHDR)['fields']>;

/** Elf32_Shdr or Elf64_Shdr, raw, with the name that sh_name points at (empty if it points outside). */
export type SectionHeader = StructOf<(typeof ELF64_SHDR)['fields']> & { readonly name: string };

/** Elf32_Sym or Elf64_Sym, raw, with its name. */
export type ElfSymbol = StructOf<(typeof ELF64_SYM)['fields']> & { readonly name: string };

export interface ElfFile {
  /** By EI_CLASS. */
  readonly class: ElfClass;
  readonly header: ElfHeader;
  readonly programHeaders: readonly ProgramHeader[];
  /** Read on first use. Empty when the table lies outside the data. */
  readonly sectionHeaders: readonly SectionHeader[];
  /** From the ELF magic on; may extend beyond the file's end (relocations stand behind a kernel's ELF). */
  readonly view: ByteView;
  /** What a tolerant reading passed over: tables that lie outside the data, entry sizes that cannot be. */
  readonly defects: readonly BootImageError[];
}
