/** readBootImage: from the bytes of a file to everything that it says about itself. */
import { ByteView } from '../bytes/byte-view.js';
import type { BootImage, FileRange, ImageKind, Payload, Problem, StageElf, Stages } from './boot-image.js';
import { imageCrcHolds } from './crc32.js';
import { readKernelInfo, type KernelInfo } from './kernel-info.js';
import { recogniseOther, recognisePe, recogniseSetup, type Recognised } from './kinds.js';
import { findPayload, wholeFilePayload, type PayloadPlaces } from './payload.js';
import type { PeImage } from './pe.js';
import { ProblemList } from './problems.js';
import { readPe } from './read-pe.js';
import { hasBootFlag, hasSetupMagic, readSetupHeader, type SetupHeader } from './setup-header.js';
import { readStageElf, stagePayload } from './stage-elf.js';
import { kernelEnd, readStages } from './stages.js';
import { readUki, type Uki } from './uki.js';

/** A kernel in a kernel in a kernel is nobody's intention. */
const DEEPEST = 2;

const NO_STAGES: Stages = { setup: null, protected_mode: null, payload: null };
/** The checksum came with this protocol. */
const CRC_SINCE = 0x0208;
const KERNELS: readonly ImageKind[] = ['bzImage', 'zImage'];

interface Parts {
  readonly recognised: Recognised;
  readonly file: ByteView;
  readonly setup?: SetupHeader;
  readonly stages?: Stages;
  readonly places?: PayloadPlaces;
  readonly stageElf?: StageElf | null;
  readonly pe?: PeImage | null;
  readonly kernelInfo?: KernelInfo | null;
  readonly uki?: Uki;
  readonly inner?: BootImage | null;
  readonly problems: readonly Problem[];
}

class ImageFile implements BootImage {
  readonly kind: ImageKind;
  readonly description: string;
  readonly file: ByteView;
  readonly setup: SetupHeader | null;
  readonly stages: Stages;
  readonly payload: Payload | null;
  readonly candidates: readonly Payload[];
  readonly stageElf: StageElf | null;
  readonly pe: PeImage | null;
  readonly kernelInfo: KernelInfo | null;
  readonly uki: Uki | null;
  readonly inner: BootImage | null;
  readonly problems: readonly Problem[];
  #crc32Ok: boolean | null | undefined;

  constructor(parts: Parts) {
    this.kind = parts.recognised.kind;
    this.description = parts.recognised.description;
    this.file = parts.file;
    this.setup = parts.setup ?? null;
    this.stages = parts.stages ?? NO_STAGES;
    this.payload = parts.places?.payload ?? null;
    this.candidates = parts.places?.candidates ?? [];
    this.stageElf = parts.stageElf ?? null;
    this.pe = parts.pe ?? null;
    this.kernelInfo = parts.kernelInfo ?? null;
    this.uki = parts.uki ?? null;
    this.inner = parts.inner ?? null;
    this.problems = parts.problems;
  }

  /** Computed on first use: it reads the whole file. */
  get crc32Ok(): boolean | null {
    return (this.#crc32Ok ??= this.#checkCrc());
  }

  #checkCrc(): boolean | null {
    const { setup, stages } = this;
    if (setup === null || stages.protected_mode === null || setup.version < CRC_SINCE || !KERNELS.includes(this.kind)) {
      return null;
    }
    return imageCrcHolds(this.file, kernelEnd(this.file, setup, stages.protected_mode), this.pe);
  }
}

function readKernelFile(
  file: ByteView,
  setup: SetupHeader,
  recognised: Recognised,
  pe: PeImage | null,
  problems: ProblemList,
): BootImage {
  const { setup: setupRange, protected_mode } = readStages(file, setup, problems);
  const parts = { recognised, file, setup, pe, problems: problems.all };
  if (!KERNELS.includes(recognised.kind)) {
    return new ImageFile({ ...parts, stages: { setup: setupRange, protected_mode, payload: null } });
  }
  const stageElf = readStageElf(file, protected_mode, problems);
  const from = (protected_mode?.offset ?? 0) + (stageElf === null ? 0 : 1);
  const end = protected_mode === null ? 0 : kernelEnd(file, setup, protected_mode);
  const places = findPayload(
    file,
    setup,
    protected_mode,
    { from, end },
    stageElf === null ? null : stagePayload(stageElf),
    problems,
  );
  const { payload } = places;
  if (payload === null && protected_mode !== null) {
    problems.add(
      'error',
      'payload-missing',
      'no compressed or plain kernel was found',
      protected_mode.offset,
      'payload_offset',
    );
  }
  return new ImageFile({
    ...parts,
    stages: { setup: setupRange, protected_mode, payload: payload === null ? null : rangeOf(payload) },
    places,
    stageElf,
    kernelInfo: protected_mode === null ? null : readKernelInfo(file, setup, protected_mode, problems),
  });
}

const rangeOf = ({ offset, length }: FileRange): FileRange => ({ offset, length });

function readPeFile(file: ByteView, pe: PeImage, depth: number, problems: ProblemList): BootImage {
  const recognised = recognisePe(pe);
  const parts = { recognised, file, pe, problems: problems.all };
  if (recognised.kind !== 'uki') return new ImageFile(parts);
  const uki = readUki(file, pe);
  if (uki.linux === null) {
    problems.add('error', 'uki-linux', 'the .linux section is empty or lies outside the file', pe.offset, '.linux');
  }
  const inner =
    uki.linux === null || depth >= DEEPEST
      ? null
      : read(new ByteView(file.slice(uki.linux.offset, uki.linux.length)), depth + 1);
  return new ImageFile({ ...parts, uki, inner });
}

function read(file: ByteView, depth: number): BootImage {
  const problems = new ProblemList();
  const pe = readPe(file, problems);
  if (hasSetupMagic(file) || hasBootFlag(file)) {
    const headerProblems = new ProblemList();
    const setup = readSetupHeader(file, headerProblems);
    const recognised = recogniseSetup(file, setup, pe);
    // A boot sector alone makes no kernel: what its bytes would mean in a setup header is of no interest then.
    if (setup.version !== 0 || KERNELS.includes(recognised.kind) || recognised.kind === 'memtest') {
      problems.all.push(...headerProblems.all);
      return readKernelFile(file, setup, recognised, pe, problems);
    }
  }
  if (pe !== null) return readPeFile(file, pe, depth, problems);
  const recognised = recogniseOther(file);
  const parts = { recognised, file, problems: problems.all };
  if (recognised.kind !== 'compressed') return new ImageFile(parts);
  const payload = wholeFilePayload(file);
  return new ImageFile({
    ...parts,
    stages: { ...NO_STAGES, payload: rangeOf(payload) },
    places: { payload, candidates: [] },
  });
}

/**
 * Reads any file that people hand to boot tools: bzImage, zImage, vmlinux, unified kernel images and the rest of
 * `ImageKind`. Nothing is copied and nothing decompressed.
 *
 * Tolerant: never throws, whatever the bytes are. What is damaged or contradictory stands in `problems`, what could
 * not be read is null. Sources: boot.rst, the PE format, the UAPI group's UKI specification.
 */
export function readBootImage(bytes: Uint8Array): BootImage {
  return read(new ByteView(bytes), 0);
}
