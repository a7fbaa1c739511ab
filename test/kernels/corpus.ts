/**
 * Where the tests find real kernels: the directory that BZELF_KERNELS names, then `../shared/kernels`. Debian's own
 * kernels come from a cache (see debian.ts). What is missing is skipped, visibly.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/** The corpus directory (it has a manifest.json), or null. */
export const corpusDirectory: string | null =
  [process.env['BZELF_KERNELS'], join(root, '../shared/kernels')].find(
    (directory) => directory !== undefined && existsSync(join(directory, 'manifest.json')),
  ) ?? null;

export interface ManifestNote {
  readonly owner: string;
  readonly type: number;
  /** Hexadecimal. */
  readonly desc: string;
  readonly name: string;
  readonly section: string;
}

export interface ManifestPhdr {
  readonly type: string;
  readonly offset: number;
  readonly vaddr: string;
  readonly paddr: string;
  readonly filesz: number;
  readonly memsz: number;
  /** "R-X" */
  readonly flags: string;
  readonly align: string;
}

/** One image's truth from the build tree; see the corpus' own README. */
export interface ManifestImage {
  readonly file: string;
  readonly name: string;
  readonly size: number;
  readonly sha256: string;
  readonly arch_bits: 32 | 64;
  readonly compression: string;
  readonly boot_protocol: string;
  readonly setup_sects: number;
  readonly syssize_paragraphs: number;
  readonly loadflags: string;
  readonly code32_start: string;
  readonly payload_offset: number;
  readonly payload_length: number;
  readonly payload_file_offset: number;
  readonly payload_sha256: string;
  readonly init_size: number;
  readonly pref_address: string;
  readonly kernel_alignment: number;
  readonly xloadflags: string;
  readonly relocatable: boolean;
  readonly kaslr: boolean;
  readonly has_relocs: boolean;
  readonly decompressed: {
    readonly size: number;
    readonly sha256: string;
    readonly vmlinux_bin: {
      readonly size: number;
      readonly sha256: string;
      readonly entry: string;
      readonly shnum: number;
      readonly phdrs: readonly ManifestPhdr[];
      readonly elf_end: number;
    };
    readonly relocs: null | {
      readonly offset: number;
      readonly size: number;
      readonly sha256: string;
      readonly entries: { readonly abs32: number; readonly inverse32?: number; readonly abs64?: number };
    };
  };
  readonly notes: readonly ManifestNote[];
  readonly build_id: string;
  readonly uname_r: string;
  readonly linux_banner: string;
  readonly ikconfig: boolean;
  readonly config_sha256: string;
  readonly config_file: string;
  readonly system_map_file: string;
  readonly system_map_sha256: string;
  /** Fields used by one test only are read from here. */
  readonly [key: string]: unknown;
}

/** All images of the corpus; empty if there is none. */
export const corpus: readonly ManifestImage[] =
  corpusDirectory === null
    ? []
    : (JSON.parse(readFileSync(join(corpusDirectory, 'manifest.json'), 'utf8')) as { images: ManifestImage[] }).images;

/** The path of a file of the corpus ("k64-gzip.bzImage", "field/bzImage-2.4.24"), or null. */
export function corpusFile(name: string): string | null {
  if (corpusDirectory === null) return null;
  const path = join(corpusDirectory, name);
  return existsSync(path) ? path : null;
}

/** The bytes of a file of the corpus. Call only inside tests guarded by `corpusFile(name) !== null`. */
export function readCorpus(name: string): Uint8Array {
  const path = corpusFile(name);
  if (path === null) throw new Error(`${name} is not in the corpus`);
  return readFileSync(path);
}
