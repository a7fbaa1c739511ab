/** PeImage: what the PE/COFF header says, as EFI firmware and signing tools see the file. Definitions; read-pe.ts reads. */
import { defineStruct, type StructOf } from '../bytes/struct.js';
import type { FileRange } from './boot-image.js';

const SOURCE = 'Microsoft PE Format';

/** Magic at offset 0 of an EFI program, and the place of the pointer to the PE header. */
export const MZ_MAGIC = 'MZ';
export const PE_POINTER_OFFSET = 0x3c;
/** "PE\0\0" before the COFF header. */
export const PE_SIGNATURE = 0x00004550;

/** Magic that newer Linux images (6.12, not 6.1) carry at 0x38, so that loaders know them (include/linux/pe.h). */
export const LINUX_PE_MAGIC = 0x818223cd;
export const LINUX_PE_MAGIC_OFFSET = 0x38;

/** MajorImageVersion of an EFI stub that takes its initrd by LINUX_EFI_INITRD_MEDIA_GUID (include/linux/pe.h). */
export const LINUX_EFISTUB_MAJOR_VERSION = 1;

export const COFF_HEADER = defineStruct('COFF header', 20, SOURCE, [
  { name: 'Machine', offset: 0, type: 'u16', shown: 'hex', doc: 'target CPU' },
  { name: 'NumberOfSections', offset: 2, type: 'u16', doc: 'entries of the section table' },
  { name: 'TimeDateStamp', offset: 4, type: 'u32', doc: 'seconds since 1970' },
  { name: 'PointerToSymbolTable', offset: 8, type: 'u32', doc: 'file offset of the COFF symbols; 0' },
  { name: 'NumberOfSymbols', offset: 12, type: 'u32', doc: 'COFF symbols; Linux writes 1' },
  { name: 'SizeOfOptionalHeader', offset: 16, type: 'u16', doc: 'bytes of the optional header' },
  { name: 'Characteristics', offset: 18, type: 'u16', shown: 'hex', doc: 'flags' },
]);

const COMMON = [
  { name: 'Magic', offset: 0, type: 'u16', shown: 'hex', doc: '0x10b PE32, 0x20b PE32+' },
  { name: 'SizeOfCode', offset: 4, type: 'u32', doc: 'bytes of code' },
  { name: 'SizeOfInitializedData', offset: 8, type: 'u32', doc: 'bytes of initialised data' },
  { name: 'SizeOfUninitializedData', offset: 12, type: 'u32', doc: 'bytes of zeroed data' },
  { name: 'AddressOfEntryPoint', offset: 16, type: 'u32', shown: 'hex', doc: 'RVA of the entry' },
  { name: 'BaseOfCode', offset: 20, type: 'u32', shown: 'hex', doc: 'RVA of the code' },
  { name: 'SectionAlignment', offset: 32, type: 'u32', doc: 'alignment in memory' },
  { name: 'FileAlignment', offset: 36, type: 'u32', doc: 'alignment in the file' },
  { name: 'MajorImageVersion', offset: 44, type: 'u16', doc: 'LINUX_EFISTUB_MAJOR_VERSION' },
  { name: 'MinorImageVersion', offset: 46, type: 'u16', doc: 'LINUX_EFISTUB_MINOR_VERSION' },
  { name: 'SizeOfImage', offset: 56, type: 'u32', doc: 'bytes in memory' },
  { name: 'SizeOfHeaders', offset: 60, type: 'u32', doc: 'bytes of all headers in the file' },
  { name: 'CheckSum', offset: 64, type: 'u32', shown: 'hex', doc: 'PE checksum; 0: none' },
  { name: 'Subsystem', offset: 68, type: 'u16', doc: '10: EFI application' },
  { name: 'DllCharacteristics', offset: 70, type: 'u16', shown: 'hex', doc: 'flags; 0x100: NX compatible' },
] as const;

/** The optional header without its data directories. */
export const OPTIONAL_HEADER_32 = defineStruct('optional header (PE32)', 96, SOURCE, [
  ...COMMON,
  { name: 'ImageBase', offset: 28, type: 'u32', shown: 'hex', doc: 'preferred address' },
  { name: 'NumberOfRvaAndSizes', offset: 92, type: 'u32', doc: 'data directories' },
]);

export const OPTIONAL_HEADER_64 = defineStruct('optional header (PE32+)', 112, SOURCE, [
  ...COMMON,
  { name: 'ImageBase', offset: 24, type: 'u64', shown: 'hex', doc: 'preferred address' },
  { name: 'NumberOfRvaAndSizes', offset: 108, type: 'u32', doc: 'data directories' },
]);

export const PE32_MAGIC = 0x10b;
export const PE32_PLUS_MAGIC = 0x20b;

/** Indexes in the data directory, 8 bytes an entry: address and size. */
export const DIRECTORY_CERTIFICATES = 4;
export const DIRECTORY_RELOCATIONS = 5;
export const DIRECTORY_ENTRY_SIZE = 8;

export const SECTION_HEADER = defineStruct('section header', 40, SOURCE, [
  { name: 'Name', offset: 0, type: 'bytes', length: 8, doc: 'name, padded with NUL' },
  { name: 'VirtualSize', offset: 8, type: 'u32', doc: 'bytes in memory' },
  { name: 'VirtualAddress', offset: 12, type: 'u32', shown: 'hex', doc: 'RVA' },
  { name: 'SizeOfRawData', offset: 16, type: 'u32', doc: 'bytes in the file' },
  { name: 'PointerToRawData', offset: 20, type: 'u32', doc: 'file offset' },
  { name: 'Characteristics', offset: 36, type: 'u32', shown: 'hex', doc: 'flags' },
]);

export const WIN_CERTIFICATE = defineStruct('WIN_CERTIFICATE', 8, `${SOURCE}, attribute certificate table`, [
  { name: 'dwLength', offset: 0, type: 'u32', doc: 'bytes with this header, padded to 8 in the table' },
  { name: 'wRevision', offset: 4, type: 'u16', shown: 'hex', doc: '0x200' },
  { name: 'wCertificateType', offset: 6, type: 'u16', shown: 'hex', doc: '2: PKCS#7 signed data (Authenticode)' },
]);

export const MACHINE_NAMES: Readonly<Record<number, string>> = {
  0x14c: 'i386',
  0x8664: 'x86_64',
  0xaa64: 'aarch64',
  0x1c2: 'arm',
  0x5064: 'riscv64',
  0x6264: 'loongarch64',
};

export const SUBSYSTEM_EFI_APPLICATION = 10;

export const DLL_CHARACTERISTICS_NX_COMPAT = 0x100;

export interface PeSection extends FileRange {
  readonly name: string;
  readonly virtualSize: number;
  /** RVA: relative to the image base. */
  readonly virtualAddress: number;
  /** IMAGE_SCN_* flags. */
  readonly characteristics: number;
  /** False if the file ends before the section does; `length` is what SizeOfRawData says. */
  readonly inFile: boolean;
}

export interface Certificate extends FileRange {
  readonly revision: number;
  readonly type: number;
}

/** COFF and optional header under the names of the specification, and what they point at. */
export interface PeImage {
  /** File offset of "PE\0\0". */
  readonly offset: number;
  readonly coff: StructOf<typeof COFF_HEADER.fields>;
  /** Null if the optional header is missing or of an unknown kind. ImageBase is `bigint` in both kinds. */
  readonly optional:
    (Omit<StructOf<typeof OPTIONAL_HEADER_64.fields>, 'ImageBase'> & { readonly ImageBase: bigint }) | null;
  readonly sections: readonly PeSection[];
  /** Data directory 4; null if it is empty. Its address is a file offset. */
  readonly certificateTable: FileRange | null;
  readonly certificates: readonly Certificate[];
  /** Data directory 5; an RVA. Null if it is empty. */
  readonly relocationDirectory: { readonly virtualAddress: number; readonly size: number } | null;
  /** Text of the .sbat section; null if there is none. */
  readonly sbat: string | null;
  /** LINUX_PE_MAGIC stands at 0x38. */
  readonly linuxMagic: boolean;
  /** The places that signing changes: CheckSum and the certificate directory, in file order. */
  readonly signedFields: readonly FileRange[];
}
