/** Vmlinux from the bytes of a kernel: an ELF file, with or without relocations behind it. */
import { ByteView } from '../bytes/byte-view.js';
import { BootImageError, type ErrorCode } from '../bytes/error.js';
import type { Problem } from '../bzimage/boot-image.js';
import { EM_386, EM_X86_64, ET_DYN, ET_EXEC } from '../elf/definitions.js';
import type { ElfFile } from '../elf/elf-file.js';
import { elfEnd, readElf } from '../elf/read-elf.js';
import { findBanner, releaseOf } from './banner.js';
import { readKernelNotes, type KernelNote } from './notes.js';
import { readRelocationTable, type RelocationTable } from './relocation-table.js';
import { readSegments } from './segments.js';
import type { KernelSegment, Vmlinux } from './vmlinux.js';

function problemOf(error: BootImageError, severity: Problem['severity']): Problem {
  return {
    id: error.code,
    severity,
    offset: error.offset ?? null,
    field: error.field ?? null,
    message: error.message,
  };
}

/** Runs `work` once, when its result is first asked for. */
function lazy<T>(work: () => T): () => T {
  let result: { value: T } | undefined;
  return () => (result ??= { value: work() }).value;
}

/** What is searched for or decoded only on request: most commands need a part of it. */
class KernelFile implements Vmlinux {
  readonly raw: Uint8Array;
  readonly elfBytes: Uint8Array;
  readonly elf: ElfFile;
  readonly bits: 32 | 64;
  readonly segments: readonly KernelSegment[];
  readonly #problems: readonly Problem[];
  readonly #notes: () => ReturnType<typeof readKernelNotes>;
  readonly #relocations: () => { table: RelocationTable | null; problem: Problem | null };
  readonly #banner: () => string | null;

  constructor(elf: ElfFile, segments: readonly KernelSegment[], problems: readonly Problem[]) {
    this.raw = elf.view.bytes;
    const end = elfEnd(elf);
    this.elfBytes = this.raw.subarray(0, end);
    this.elf = elf;
    this.bits = elf.class;
    this.segments = segments;
    this.#problems = problems;
    this.#notes = lazy(() => readKernelNotes(elf));
    this.#banner = lazy(() => findBanner(this.elfBytes));
    this.#relocations = lazy(() => {
      if (end === this.raw.length) return { table: null, problem: null };
      try {
        return { table: readRelocationTable(this.raw.subarray(end), elf.class, end), problem: null };
      } catch (error) {
        if (!(error instanceof BootImageError)) throw error;
        return { table: null, problem: problemOf(error, 'warning') };
      }
    });
  }

  get notes(): readonly KernelNote[] {
    return this.#notes().notes;
  }

  get relocations(): RelocationTable | null {
    return this.#relocations().table;
  }

  get banner(): string | null {
    return this.#banner();
  }

  get release(): string | null {
    return releaseOf(this.banner);
  }

  get problems(): readonly Problem[] {
    const { problem } = this.#relocations();
    return [
      ...this.#problems,
      ...this.#notes().errors.map((error) => problemOf(error, 'warning')),
      ...(problem === null ? [] : [problem]),
    ];
  }
}

function kindProblem(elf: ElfFile): Problem | null {
  const { e_machine, e_type } = elf.header;
  if (e_machine !== EM_386 && e_machine !== EM_X86_64) {
    return {
      id: 'not-x86',
      severity: 'error',
      offset: 18,
      field: 'e_machine',
      message: `an ELF file for machine ${e_machine}, not for x86`,
    };
  }
  if (e_type !== ET_EXEC && e_type !== ET_DYN) {
    return {
      id: 'not-executable',
      severity: 'error',
      offset: 16,
      field: 'e_type',
      message: `an ELF file of type ${e_type}, not an executable one`,
    };
  }
  return null;
}

export interface ReadVmlinuxOptions {
  /** Keep going on a damaged file: what is wrong then stands in `problems`, malformed segments are left out. */
  readonly tolerant?: boolean;
}

/**
 * Reads a kernel from the bytes that a decompressor yields, or from a vmlinux file. Nothing is copied; notes,
 * relocations and banner are looked for when they are first asked for.
 *
 * @throws BootImageError `bad-magic` if it is no ELF file, `unsupported` if it is one for another machine or no
 * executable, and, unless tolerant, `elf-malformed` for tables or segments that lie outside the file, overlap or wrap.
 */
export function readVmlinux(raw: Uint8Array, options: ReadVmlinuxOptions = {}): Vmlinux {
  const elf = readElf(new ByteView(raw), options);
  const wrongKind = kindProblem(elf);
  const { segments, problems } = readSegments(elf);
  const all = [
    ...(wrongKind === null ? [] : [wrongKind]),
    ...elf.defects.map((error) => problemOf(error, 'error')),
    ...problems,
  ];
  const [first] = all;
  if (first !== undefined && options.tolerant !== true) {
    const code: ErrorCode = first === wrongKind ? 'unsupported' : 'elf-malformed';
    throw new BootImageError(code, first.message, {
      offset: first.offset ?? undefined,
      field: first.field ?? undefined,
      hint: first === wrongKind ? 'only x86 kernels are understood' : 'inspect shows what can still be read',
    });
  }
  return new KernelFile(elf, segments, all);
}
