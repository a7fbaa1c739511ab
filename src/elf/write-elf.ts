/** Writes ELF structures of either class through the same tables that read them. */
import { writeField, type Field, type FieldValue } from '../bytes/struct.js';
import {
  EI_CLASS,
  EI_DATA,
  EI_VERSION,
  ELF_MAGIC,
  ELF_NHDR,
  ELF_STRUCTS,
  ELFCLASS32,
  ELFCLASS64,
  ELFDATA2LSB,
  EV_CURRENT,
  type ElfClass,
} from './definitions.js';
import type { ElfHeader, ElfSymbol, ProgramHeader, SectionHeader } from './elf-file.js';
import { latin1Bytes } from '../bytes/byte-view.js';
import { alignNumber } from '../bytes/numbers.js';

function write(fields: readonly Field[], target: Uint8Array, at: number, values: object): void {
  const given = values as Readonly<Record<string, FieldValue | undefined>>;
  for (const field of fields) {
    const value = given[field.name];
    if (value !== undefined) writeField(target, at, field, value);
  }
}

/** e_ident of a little-endian System V file. */
export function elfIdent(cls: ElfClass): Uint8Array {
  const ident = new Uint8Array(16);
  ident.set(latin1Bytes(ELF_MAGIC));
  ident[EI_CLASS] = cls === 64 ? ELFCLASS64 : ELFCLASS32;
  ident[EI_DATA] = ELFDATA2LSB;
  ident[EI_VERSION] = EV_CURRENT;
  return ident;
}

/**
 * Writes the ELF header fields given; others stay as they are. Use `newElfHeader` for a header from nothing.
 * @throws BootImageError `does-not-fit` if the target is too short or a value too wide for the class.
 */
export function writeElfHeader(cls: ElfClass, target: Uint8Array, at: number, values: Partial<ElfHeader>): void {
  write(ELF_STRUCTS[cls].ehdr.fields, target, at, values);
}

/** The fields that every header has: identification, version and the sizes of the structures. */
export function newElfHeader(cls: ElfClass, values: Partial<ElfHeader>): Partial<ElfHeader> {
  const { ehdr, phdr, shdr } = ELF_STRUCTS[cls];
  return {
    e_ident: elfIdent(cls),
    e_version: EV_CURRENT,
    e_ehsize: ehdr.size,
    e_phentsize: phdr.size,
    e_shentsize: shdr.size,
    ...values,
  };
}

/** Writes the program header fields given. @throws BootImageError `does-not-fit` */
export function writeProgramHeader(
  cls: ElfClass,
  target: Uint8Array,
  at: number,
  values: Partial<ProgramHeader>,
): void {
  write(ELF_STRUCTS[cls].phdr.fields, target, at, values);
}

/** Writes the section header fields given (`name` is ignored: sh_name counts). @throws BootImageError `does-not-fit` */
export function writeSectionHeader(
  cls: ElfClass,
  target: Uint8Array,
  at: number,
  values: Partial<SectionHeader>,
): void {
  write(ELF_STRUCTS[cls].shdr.fields, target, at, values);
}

/** Writes the symbol fields given (`name` is ignored: st_name counts). @throws BootImageError `does-not-fit` */
export function writeSymbol(cls: ElfClass, target: Uint8Array, at: number, values: Partial<ElfSymbol>): void {
  write(ELF_STRUCTS[cls].sym.fields, target, at, values);
}

/** A whole note: header, owner with its NUL, descriptor, each padded to 4 bytes. @throws BootImageError `bad-argument` */
export function buildNote(owner: string, type: number, desc: Uint8Array): Uint8Array {
  const name = latin1Bytes(`${owner}\0`);
  const descAt = ELF_NHDR.size + alignNumber(name.length, 4);
  const note = new Uint8Array(descAt + alignNumber(desc.length, 4));
  ELF_NHDR.write(note, 0, { n_namesz: name.length, n_descsz: desc.length, n_type: type });
  note.set(name, ELF_NHDR.size);
  note.set(desc, descAt);
  return note;
}
