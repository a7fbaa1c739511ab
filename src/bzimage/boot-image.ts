/** BootImage: what an image file says. Definitions only; `readBootImage` in read-boot-image.ts fills them in. */
import type { ByteView } from '../bytes/byte-view.js';
import type { Compression } from '../compression/formats.js';
import type { ElfFile } from '../elf/elf-file.js';
import type { KernelInfo } from './kernel-info.js';
import type { PeImage } from './pe.js';
import type { SetupHeader } from './setup-header.js';
import type { Uki } from './uki.js';

/**
 * What kind of file it is. `bzImage` is loaded high (LOADED_HIGH), `zImage` low; the others are files that users hand
 * to boot tools and that are recognised and explained.
 */
export type ImageKind =
  | 'bzImage'
  | 'zImage'
  | 'vmlinux' // a bare ELF kernel
  | 'uki' // unified kernel image: a PE with .linux inside
  | 'lkrn' // iPXE
  | 'memtest'
  | 'memdisk'
  | 'pe' // another EFI program
  | 'elf' // an ELF file that is no x86 kernel
  | 'compressed' // a compressed file by itself (gzip'ed vmlinux, say)
  | 'unknown';

export interface FileRange {
  /** File offset in bytes. */
  readonly offset: number;
  readonly length: number;
}

/** The stages as file ranges; null where the file has no such stage. */
export interface Stages {
  readonly setup: FileRange | null;
  readonly protected_mode: FileRange | null;
  readonly payload: FileRange | null;
}

/** Where the kernel lies inside the protected-mode stage. */
export interface Payload extends FileRange {
  /** Null if no known magic stands at the offset. */
  readonly compression: Compression | null;
  /** What the image says the decompressed size is: the trailing size word, or gzip's ISIZE; null if there is none. */
  readonly sizeWord: number | null;
  /** `length` without a trailing size word: what the codec gets. */
  readonly compressedLength: number;
  /** `header`: payload_offset and payload_length (2.08 and newer); `scan`: a magic number, still to be proved by decompressing. */
  readonly foundBy: 'header' | 'scan';
}

/** Something that is not as it should be; reading went on nevertheless. */
export interface Problem {
  /** Stable, kebab-case. */
  readonly id: string;
  readonly severity: 'error' | 'warning' | 'note';
  /** File offset, or null if it has no place. */
  readonly offset: number | null;
  readonly field: string | null;
  readonly message: string;
}

/** An ELF file in place of the protected-mode stage: the founding thread's first layout. */
export interface StageElf {
  /** File offset of the ELF header: right behind the setup sectors. */
  readonly offset: number;
  readonly elf: ElfFile;
}

export interface BootImage {
  readonly kind: ImageKind;
  /** One sentence for people: "Linux kernel x86 boot image, protocol 2.15, 64-bit". */
  readonly description: string;
  readonly file: ByteView;
  /** The setup header, as far as this protocol version has it; null if there is no setup stage. */
  readonly setup: SetupHeader | null;
  readonly stages: Stages;
  readonly payload: Payload | null;
  /** Further places where a payload may begin, when `foundBy` is `scan`: best first, without the one in `payload`. */
  readonly candidates: readonly Payload[];
  readonly stageElf: StageElf | null;
  readonly pe: PeImage | null;
  readonly kernelInfo: KernelInfo | null;
  /**
   * Whether the CRC-32 over the file, up to where syssize ends, holds; null if the image has none (four zero bytes,
   * old) or was signed so that it cannot be told. Computed on first use: it reads the whole file.
   */
  readonly crc32Ok: boolean | null;
  /** What a unified kernel image carries; null for everything else. */
  readonly uki: Uki | null;
  /** The kernel inside a unified kernel image (its .linux section), read in turn. */
  readonly inner: BootImage | null;
  readonly problems: readonly Problem[];
}
