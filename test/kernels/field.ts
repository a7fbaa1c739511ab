/** Images from the field, and what an independent reader saw in them (facts.json beside them). */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { corpusDirectory } from './corpus.js';

export interface FieldFacts {
  readonly boot_flag: string;
  readonly bytes: number;
  readonly crc32_register_over_file_is_zero: boolean;
  /** Numbers, or hexadecimal strings with 0x; `jump` without it. */
  readonly header: Readonly<Record<string, unknown>> & {
    readonly header_end: string;
    readonly kernel_version_ptr: string;
    readonly version: string;
    readonly version_string: string;
    readonly jump: string;
    readonly kernel_info?: Readonly<Record<string, number | string>>;
  };
  readonly payload: {
    readonly compression: string;
    readonly file_offset: number;
    readonly decompressed_bytes: number;
    readonly decompressed_sha256: string;
    readonly compressed_bytes?: number;
    readonly size_word?: number;
    readonly found_by?: string;
  };
  readonly protected_mode_bytes: number;
  readonly sha256: string;
  readonly vmlinux?: {
    readonly banners: readonly (readonly [number, string])[];
    readonly e_entry: string;
    readonly elf_class: number;
    readonly elf_end: number;
    readonly notes_name_type_desc: readonly (readonly [string, number, string])[];
    readonly phdrs_type_flags_off_va_pa_filesz_memsz_align: readonly (readonly (number | string)[])[];
    readonly relocs_groups_from_end: readonly number[];
  };
}

const path = corpusDirectory === null ? null : join(corpusDirectory, 'field', 'facts.json');

/** Facts by file name below `field/`; empty if there are none. */
export const fieldImages: Readonly<Record<string, FieldFacts>> =
  path === null || !existsSync(path) ? {} : (JSON.parse(readFileSync(path, 'utf8')) as Record<string, FieldFacts>);
