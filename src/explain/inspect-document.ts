/** The JSON document of `inspect`: names and shapes are the command line's contract. */
import { latin1 } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { hex, hexBytes, safeNumber } from '../bytes/numbers.js';
import { fieldToJson } from '../bytes/struct.js';
import type { BootImage, FileRange, Payload, Problem, StageElf } from '../bzimage/boot-image.js';
import { KERNEL_INFO, type KernelInfo } from '../bzimage/kernel-info.js';
import type { PeImage } from '../bzimage/pe.js';
import { setBitNames, setupFieldsOf, SETUP_FIELDS, type SetupHeader } from '../bzimage/setup-header.js';
import { EM_NAMES, PF_R, PF_W, PF_X, PT_NAMES } from '../elf/definitions.js';
import type { ElfFile } from '../elf/elf-file.js';
import type { Vmlinux } from '../kernel/vmlinux.js';

type JsonNumber = number | string;

/** 64-bit sizes as numbers where they are exact, else as hex. */
const size = (value: bigint): JsonNumber => safeNumber(value) ?? hex(value);

export interface SegmentDocument {
  readonly type: string;
  readonly offset: JsonNumber;
  readonly vaddr: string;
  readonly paddr: string;
  readonly filesz: JsonNumber;
  readonly memsz: JsonNumber;
  readonly flags: string;
  readonly align: JsonNumber;
}

/** p_flags as "rwx", with "-" for what is missing. */
export function flagsText(flags: number): string {
  return `${flags & PF_R ? 'r' : '-'}${flags & PF_W ? 'w' : '-'}${flags & PF_X ? 'x' : '-'}`;
}

function segments(elf: ElfFile): SegmentDocument[] {
  return elf.programHeaders.map((header) => ({
    type: PT_NAMES[header.p_type] ?? hex(header.p_type),
    offset: size(header.p_offset),
    vaddr: hex(header.p_vaddr),
    paddr: hex(header.p_paddr),
    filesz: size(header.p_filesz),
    memsz: size(header.p_memsz),
    flags: flagsText(header.p_flags),
    align: size(header.p_align),
  }));
}

function setupDocument(setup: SetupHeader): Record<string, unknown> {
  const document: Record<string, unknown> = {
    protocol: setup.protocol,
    version_string: setup.versionString,
    header_end: setup.headerEnd,
    setup_sects_effective: setup.setupSects,
  };
  for (const field of setupFieldsOf(setup.version)) {
    const value = setup.values[field.name as (typeof SETUP_FIELDS)[number]['name']];
    if (value === undefined) continue;
    document[field.name] = fieldToJson(field, value);
    if (field.bits !== undefined) document[`${field.name}_names`] = setBitNames(field, value);
  }
  return document;
}

function stageElfDocument({ offset, elf }: StageElf) {
  return {
    offset,
    class: elf.class,
    machine: EM_NAMES[elf.header.e_machine] ?? hex(elf.header.e_machine),
    entry: hex(elf.header.e_entry),
    segments: segments(elf),
  };
}

function peDocument(pe: PeImage, setup: SetupHeader | null) {
  const { optional } = pe;
  const handover = setup?.values.handover_offset ?? 0;
  return {
    offset: pe.offset,
    machine: hex(pe.coff.Machine),
    characteristics: hex(pe.coff.Characteristics),
    optional_magic: optional === null ? null : hex(optional.Magic),
    entry: optional === null ? null : hex(optional.AddressOfEntryPoint),
    image_base: optional === null ? null : hex(optional.ImageBase),
    section_alignment: optional?.SectionAlignment ?? null,
    file_alignment: optional?.FileAlignment ?? null,
    size_of_image: optional?.SizeOfImage ?? null,
    size_of_headers: optional?.SizeOfHeaders ?? null,
    subsystem: optional?.Subsystem ?? null,
    dll_characteristics: optional === null ? null : hex(optional.DllCharacteristics),
    image_version: optional === null ? null : `${optional.MajorImageVersion}.${optional.MinorImageVersion}`,
    checksum: optional === null ? null : hex(optional.CheckSum),
    sections: pe.sections.map((section) => ({
      name: section.name,
      virtual_size: section.virtualSize,
      virtual_address: hex(section.virtualAddress),
      raw_size: section.length,
      raw_offset: section.offset,
      flags: hex(section.characteristics),
    })),
    certificate_table: pe.certificateTable,
    certificates: pe.certificates.map(({ offset, length, revision, type }) => ({
      offset,
      length,
      revision: hex(revision),
      type,
    })),
    sbat: pe.sbat,
    linux_magic: pe.linuxMagic,
    handover_offset: handover === 0 ? null : handover,
  };
}

function kernelInfoDocument(info: KernelInfo): Record<string, unknown> {
  return {
    offset: info.offset,
    ...Object.fromEntries(KERNEL_INFO.fields.map((field) => [field.name, fieldToJson(field, info[field.name])])),
    header: latin1(KERNEL_INFO.build({ header: info.header }).subarray(0, 4)),
    chunks: info.chunks,
  };
}

export interface RelocationsDocument {
  readonly abs64: number;
  readonly abs32: number;
  readonly inverse32: number;
  readonly bytes: number;
}

function vmlinuxDocument({ vmlinux, symbols, config }: RecoveredKernel) {
  const { elf, relocations } = vmlinux;
  const buildId = vmlinux.notes.find(({ name }) => name === 'NT_GNU_BUILD_ID');
  const counts: RelocationsDocument | null =
    relocations === null
      ? null
      : {
          abs64: relocations.abs64.length,
          abs32: relocations.abs32.length,
          inverse32: relocations.inverse32.length,
          bytes: relocations.bytes.length,
        };
  return {
    class: vmlinux.bits,
    machine: EM_NAMES[elf.header.e_machine] ?? hex(elf.header.e_machine),
    entry: hex(elf.header.e_entry),
    size: vmlinux.elfBytes.length,
    segments: segments(elf),
    notes: vmlinux.notes.map(({ owner, type, name, desc, value }) => ({
      owner,
      type,
      name,
      desc: hexBytes(desc),
      value,
    })),
    build_id: buildId === undefined ? null : hexBytes(buildId.desc),
    relocations: counts,
    banner: vmlinux.banner,
    release: vmlinux.release,
    symbols,
    config,
  };
}

export interface RecoveredKernel {
  readonly vmlinux: Vmlinux;
  /** How many symbols kallsyms has; null if it has none. */
  readonly symbols: number | null;
  /** The kernel's .config is inside (CONFIG_IKCONFIG). */
  readonly config: boolean;
}

/** What came out of the payload, when it was decompressed. */
export interface Recovered {
  readonly uncompressedLength: number;
  readonly sha256: string | null;
  /** The payload's true length, which for one found by scanning shows only now. */
  readonly length: number | null;
  /** Null if what came out is no ELF file. */
  readonly kernel: RecoveredKernel | null;
}

export interface InspectDocument {
  readonly kind: string;
  readonly description: string;
  readonly file: { readonly size: number; readonly sha256: string | null; readonly crc32_ok: boolean | null };
  readonly setup: Readonly<Record<string, unknown>> | null;
  readonly stages: Record<'setup' | 'protected_mode' | 'payload', FileRange | null>;
  readonly stage_elf: Readonly<ReturnType<typeof stageElfDocument>> | null;
  readonly pe: Readonly<ReturnType<typeof peDocument>> | null;
  readonly kernel_info: Readonly<Record<string, unknown>> | null;
  readonly payload:
    | (Pick<Payload, 'compression' | 'length'> & {
        readonly uncompressed_length: number | null;
        readonly sha256: string | null;
        readonly size_word: Payload['sizeWord'];
        readonly found_by: Payload['foundBy'];
      })
    | null;
  readonly vmlinux: Readonly<ReturnType<typeof vmlinuxDocument>> | null;
  readonly uki: BootImage['uki'];
  /** The document of the kernel inside a unified kernel image. */
  readonly inner: InspectDocument | null;
  readonly problems: readonly Problem[];
}

/** An error of a strict reader as one more problem of the file. */
export function problemOf(error: BootImageError): Problem {
  return {
    id: error.code,
    severity: 'error',
    offset: error.offset ?? null,
    field: error.field ?? null,
    message: error.message,
  };
}

const CRC_PROBLEM: Omit<Problem, 'offset'> = {
  id: 'crc32-mismatch',
  severity: 'warning',
  field: null,
  message: 'the CRC-32 in the last four bytes does not hold: the file was changed after it was built',
};

/**
 * @param sha256 the file's.
 * @param recovered null if the payload was not decompressed, or could not be: `failure` then says why.
 */
export function inspectDocument(
  image: BootImage,
  sha256: string | null,
  inner: InspectDocument | null,
  recovered: Recovered | null,
  failure: Problem | null,
): InspectDocument {
  const { payload, setup } = image;
  const crc = image.crc32Ok;
  const length = recovered?.length ?? payload?.length ?? 0;
  return {
    kind: image.kind,
    description: image.description,
    file: { size: image.file.length, sha256, crc32_ok: crc },
    setup: setup === null ? null : setupDocument(setup),
    stages: { ...image.stages, payload: payload === null ? null : { offset: payload.offset, length } },
    stage_elf: image.stageElf === null ? null : stageElfDocument(image.stageElf),
    pe: image.pe === null ? null : peDocument(image.pe, setup),
    kernel_info: image.kernelInfo === null ? null : kernelInfoDocument(image.kernelInfo),
    payload:
      payload === null
        ? null
        : {
            compression: payload.compression,
            length,
            uncompressed_length: recovered?.uncompressedLength ?? null,
            sha256: recovered?.sha256 ?? null,
            size_word: payload.sizeWord,
            found_by: payload.foundBy,
          },
    vmlinux: recovered?.kernel == null ? null : vmlinuxDocument(recovered.kernel),
    uki: image.uki,
    inner,
    problems: [
      ...image.problems,
      ...(crc === false ? [{ ...CRC_PROBLEM, offset: image.file.length - 4 }] : []),
      ...(failure === null ? [] : [failure]),
      ...(recovered?.kernel?.vmlinux.problems ?? []),
    ],
  };
}
