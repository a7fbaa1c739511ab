/**
 * The structures and constants of ELF as elf.h names them (System V gABI, chapters 4 and 5), for both classes,
 * little-endian. Readers and writers use these tables; nothing here reads a file.
 */
import { defineStruct } from '../bytes/struct.js';

export type ElfClass = 32 | 64;

export const ELF_MAGIC = '\x7fELF';

/** Indexes in e_ident. */
export const EI_CLASS = 4;
export const EI_DATA = 5;
export const EI_VERSION = 6;
export const ELFCLASS32 = 1;
export const ELFCLASS64 = 2;
export const ELFDATA2LSB = 1;
export const EV_CURRENT = 1;

export const ET_REL = 1;
export const ET_EXEC = 2;
export const ET_DYN = 3;
export const ET_CORE = 4;

export const EM_386 = 3;
export const EM_X86_64 = 62;

export const PT_NULL = 0;
export const PT_LOAD = 1;
export const PT_DYNAMIC = 2;
export const PT_INTERP = 3;
export const PT_NOTE = 4;
export const PT_PHDR = 6;
export const PT_TLS = 7;
export const PT_GNU_STACK = 0x6474e551;

export const PF_X = 1;
export const PF_W = 2;
export const PF_R = 4;

/** e_phnum when the count does not fit: it then stands in section header 0's sh_info. */
export const PN_XNUM = 0xffff;

export const SHT_NULL = 0;
export const SHT_PROGBITS = 1;
export const SHT_SYMTAB = 2;
export const SHT_STRTAB = 3;
export const SHT_RELA = 4;
export const SHT_NOTE = 7;
export const SHT_NOBITS = 8;
export const SHT_REL = 9;

export const SHF_WRITE = 1n;
export const SHF_ALLOC = 2n;
export const SHF_EXECINSTR = 4n;

export const SHN_UNDEF = 0;
export const SHN_LORESERVE = 0xff00;
export const SHN_ABS = 0xfff1;
/** e_shstrndx when the index does not fit: it then stands in section header 0's sh_link. */
export const SHN_XINDEX = 0xffff;

export const STB_LOCAL = 0;
export const STB_GLOBAL = 1;
export const STB_WEAK = 2;
export const STT_NOTYPE = 0;
export const STT_OBJECT = 1;
export const STT_FUNC = 2;

export const PT_NAMES: Readonly<Record<number, string>> = {
  [PT_NULL]: 'NULL',
  [PT_LOAD]: 'LOAD',
  [PT_DYNAMIC]: 'DYNAMIC',
  [PT_INTERP]: 'INTERP',
  [PT_NOTE]: 'NOTE',
  [PT_PHDR]: 'PHDR',
  [PT_TLS]: 'TLS',
  [PT_GNU_STACK]: 'GNU_STACK',
};

export const EM_NAMES: Readonly<Record<number, string>> = { [EM_386]: 'i386', [EM_X86_64]: 'x86_64' };

const GABI = 'System V gABI, elf.h';
const doc = {
  e_ident: 'magic, class, data encoding, version, OS ABI',
  e_type: 'object file type (ET_EXEC for a kernel)',
  e_machine: 'architecture (EM_386, EM_X86_64)',
  e_version: 'EV_CURRENT',
  e_entry: 'entry point; for a kernel a physical address',
  e_phoff: 'file offset of the program header table',
  e_shoff: 'file offset of the section header table',
  e_flags: 'processor flags; 0 on x86',
  e_ehsize: 'size of this header',
  e_phentsize: 'size of a program header',
  e_phnum: 'number of program headers',
  e_shentsize: 'size of a section header',
  e_shnum: 'number of section headers',
  e_shstrndx: 'index of the section with the section names',
  p_type: 'segment type',
  p_flags: 'PF_R 4, PF_W 2, PF_X 1',
  p_offset: 'file offset of the segment',
  p_vaddr: 'virtual address',
  p_paddr: 'physical address',
  p_filesz: 'bytes in the file',
  p_memsz: 'bytes in memory; what the file does not fill is zero',
  p_align: 'alignment of addresses and of the file offset',
  sh_name: 'offset of the name in the section name table',
  sh_type: 'section type',
  sh_flags: 'SHF_WRITE 1, SHF_ALLOC 2, SHF_EXECINSTR 4',
  sh_addr: 'virtual address',
  sh_offset: 'file offset',
  sh_size: 'bytes',
  sh_link: 'index of an associated section',
  sh_info: 'depends on the type',
  sh_addralign: 'alignment',
  sh_entsize: 'size of an entry, for tables',
  st_name: 'offset of the name in the string table',
  st_value: 'address',
  st_size: 'bytes',
  st_info: 'binding << 4 | type',
  st_other: 'visibility',
  st_shndx: 'index of the section it belongs to',
} as const;

export const ELF32_EHDR = defineStruct('Elf32_Ehdr', 52, GABI, [
  { name: 'e_ident', offset: 0, type: 'bytes', length: 16, doc: doc.e_ident },
  { name: 'e_type', offset: 16, type: 'u16', doc: doc.e_type },
  { name: 'e_machine', offset: 18, type: 'u16', doc: doc.e_machine },
  { name: 'e_version', offset: 20, type: 'u32', doc: doc.e_version },
  { name: 'e_entry', offset: 24, type: 'u32', shown: 'hex', doc: doc.e_entry },
  { name: 'e_phoff', offset: 28, type: 'u32', doc: doc.e_phoff },
  { name: 'e_shoff', offset: 32, type: 'u32', doc: doc.e_shoff },
  { name: 'e_flags', offset: 36, type: 'u32', shown: 'hex', doc: doc.e_flags },
  { name: 'e_ehsize', offset: 40, type: 'u16', doc: doc.e_ehsize },
  { name: 'e_phentsize', offset: 42, type: 'u16', doc: doc.e_phentsize },
  { name: 'e_phnum', offset: 44, type: 'u16', doc: doc.e_phnum },
  { name: 'e_shentsize', offset: 46, type: 'u16', doc: doc.e_shentsize },
  { name: 'e_shnum', offset: 48, type: 'u16', doc: doc.e_shnum },
  { name: 'e_shstrndx', offset: 50, type: 'u16', doc: doc.e_shstrndx },
]);

export const ELF64_EHDR = defineStruct('Elf64_Ehdr', 64, GABI, [
  { name: 'e_ident', offset: 0, type: 'bytes', length: 16, doc: doc.e_ident },
  { name: 'e_type', offset: 16, type: 'u16', doc: doc.e_type },
  { name: 'e_machine', offset: 18, type: 'u16', doc: doc.e_machine },
  { name: 'e_version', offset: 20, type: 'u32', doc: doc.e_version },
  { name: 'e_entry', offset: 24, type: 'u64', shown: 'hex', doc: doc.e_entry },
  { name: 'e_phoff', offset: 32, type: 'u64', doc: doc.e_phoff },
  { name: 'e_shoff', offset: 40, type: 'u64', doc: doc.e_shoff },
  { name: 'e_flags', offset: 48, type: 'u32', shown: 'hex', doc: doc.e_flags },
  { name: 'e_ehsize', offset: 52, type: 'u16', doc: doc.e_ehsize },
  { name: 'e_phentsize', offset: 54, type: 'u16', doc: doc.e_phentsize },
  { name: 'e_phnum', offset: 56, type: 'u16', doc: doc.e_phnum },
  { name: 'e_shentsize', offset: 58, type: 'u16', doc: doc.e_shentsize },
  { name: 'e_shnum', offset: 60, type: 'u16', doc: doc.e_shnum },
  { name: 'e_shstrndx', offset: 62, type: 'u16', doc: doc.e_shstrndx },
]);

export const ELF32_PHDR = defineStruct('Elf32_Phdr', 32, GABI, [
  { name: 'p_type', offset: 0, type: 'u32', doc: doc.p_type },
  { name: 'p_offset', offset: 4, type: 'u32', doc: doc.p_offset },
  { name: 'p_vaddr', offset: 8, type: 'u32', shown: 'hex', doc: doc.p_vaddr },
  { name: 'p_paddr', offset: 12, type: 'u32', shown: 'hex', doc: doc.p_paddr },
  { name: 'p_filesz', offset: 16, type: 'u32', doc: doc.p_filesz },
  { name: 'p_memsz', offset: 20, type: 'u32', doc: doc.p_memsz },
  { name: 'p_flags', offset: 24, type: 'u32', doc: doc.p_flags },
  { name: 'p_align', offset: 28, type: 'u32', shown: 'hex', doc: doc.p_align },
]);

export const ELF64_PHDR = defineStruct('Elf64_Phdr', 56, GABI, [
  { name: 'p_type', offset: 0, type: 'u32', doc: doc.p_type },
  { name: 'p_flags', offset: 4, type: 'u32', doc: doc.p_flags },
  { name: 'p_offset', offset: 8, type: 'u64', doc: doc.p_offset },
  { name: 'p_vaddr', offset: 16, type: 'u64', shown: 'hex', doc: doc.p_vaddr },
  { name: 'p_paddr', offset: 24, type: 'u64', shown: 'hex', doc: doc.p_paddr },
  { name: 'p_filesz', offset: 32, type: 'u64', doc: doc.p_filesz },
  { name: 'p_memsz', offset: 40, type: 'u64', doc: doc.p_memsz },
  { name: 'p_align', offset: 48, type: 'u64', shown: 'hex', doc: doc.p_align },
]);

export const ELF32_SHDR = defineStruct('Elf32_Shdr', 40, GABI, [
  { name: 'sh_name', offset: 0, type: 'u32', doc: doc.sh_name },
  { name: 'sh_type', offset: 4, type: 'u32', doc: doc.sh_type },
  { name: 'sh_flags', offset: 8, type: 'u32', shown: 'hex', doc: doc.sh_flags },
  { name: 'sh_addr', offset: 12, type: 'u32', shown: 'hex', doc: doc.sh_addr },
  { name: 'sh_offset', offset: 16, type: 'u32', doc: doc.sh_offset },
  { name: 'sh_size', offset: 20, type: 'u32', doc: doc.sh_size },
  { name: 'sh_link', offset: 24, type: 'u32', doc: doc.sh_link },
  { name: 'sh_info', offset: 28, type: 'u32', doc: doc.sh_info },
  { name: 'sh_addralign', offset: 32, type: 'u32', doc: doc.sh_addralign },
  { name: 'sh_entsize', offset: 36, type: 'u32', doc: doc.sh_entsize },
]);

export const ELF64_SHDR = defineStruct('Elf64_Shdr', 64, GABI, [
  { name: 'sh_name', offset: 0, type: 'u32', doc: doc.sh_name },
  { name: 'sh_type', offset: 4, type: 'u32', doc: doc.sh_type },
  { name: 'sh_flags', offset: 8, type: 'u64', shown: 'hex', doc: doc.sh_flags },
  { name: 'sh_addr', offset: 16, type: 'u64', shown: 'hex', doc: doc.sh_addr },
  { name: 'sh_offset', offset: 24, type: 'u64', doc: doc.sh_offset },
  { name: 'sh_size', offset: 32, type: 'u64', doc: doc.sh_size },
  { name: 'sh_link', offset: 40, type: 'u32', doc: doc.sh_link },
  { name: 'sh_info', offset: 44, type: 'u32', doc: doc.sh_info },
  { name: 'sh_addralign', offset: 48, type: 'u64', doc: doc.sh_addralign },
  { name: 'sh_entsize', offset: 56, type: 'u64', doc: doc.sh_entsize },
]);

export const ELF32_SYM = defineStruct('Elf32_Sym', 16, GABI, [
  { name: 'st_name', offset: 0, type: 'u32', doc: doc.st_name },
  { name: 'st_value', offset: 4, type: 'u32', shown: 'hex', doc: doc.st_value },
  { name: 'st_size', offset: 8, type: 'u32', doc: doc.st_size },
  { name: 'st_info', offset: 12, type: 'u8', doc: doc.st_info },
  { name: 'st_other', offset: 13, type: 'u8', doc: doc.st_other },
  { name: 'st_shndx', offset: 14, type: 'u16', doc: doc.st_shndx },
]);

export const ELF64_SYM = defineStruct('Elf64_Sym', 24, GABI, [
  { name: 'st_name', offset: 0, type: 'u32', doc: doc.st_name },
  { name: 'st_info', offset: 4, type: 'u8', doc: doc.st_info },
  { name: 'st_other', offset: 5, type: 'u8', doc: doc.st_other },
  { name: 'st_shndx', offset: 6, type: 'u16', doc: doc.st_shndx },
  { name: 'st_value', offset: 8, type: 'u64', shown: 'hex', doc: doc.st_value },
  { name: 'st_size', offset: 16, type: 'u64', doc: doc.st_size },
]);

/** The note header is the same in both classes (gABI, "Note Section"). */
export const ELF_NHDR = defineStruct('Elf_Nhdr', 12, GABI, [
  { name: 'n_namesz', offset: 0, type: 'u32', doc: 'bytes of the owner, with its NUL, without padding' },
  { name: 'n_descsz', offset: 4, type: 'u32', doc: 'bytes of the descriptor, without padding' },
  { name: 'n_type', offset: 8, type: 'u32', doc: 'type, as the owner defines it' },
]);

/** The tables of one class. */
export const ELF_STRUCTS = {
  32: { ehdr: ELF32_EHDR, phdr: ELF32_PHDR, shdr: ELF32_SHDR, sym: ELF32_SYM },
  64: { ehdr: ELF64_EHDR, phdr: ELF64_PHDR, shdr: ELF64_SHDR, sym: ELF64_SYM },
} as const;
