/** The result of proving an image: what was compared at each hand-over, and what differed. */
import { ByteView } from '../bytes/byte-view.js';
import type { CpuState } from '../boot/plan.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { isElf } from '../elf/read-elf.js';
import type { KernelMove } from '../kernel/relocate.js';
import { readVmlinux } from '../kernel/read-vmlinux.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { type HeaderProof, NO_HEADERS } from './prove-headers.js';
import { proveKernelHeaders } from './prove-kernel-headers.js';
import { type MemoryProof, proveMemory } from './prove-memory.js';
import { elfPromise, type PayloadPromise, type PossibleEntry, rawPromise, type ReadMemory } from './prove-payload.js';
import { proveStageHeaders, stageRanges } from './prove-stage.js';
import { compareCpu, compareZeroPage, type FoundCpu, type StateDifference } from './prove-state.js';

/** What the decompressor yields, as the thing to be proved. */
export interface ProofSubject {
  readonly image: BootImage;
  /** Null for a raw binary. */
  readonly vmlinux: Vmlinux | null;
  readonly promise: PayloadPromise;
}

/** @param raw what the image's decompressor yields (`decompressPayload`) @throws BootImageError as `readVmlinux` */
export function proofSubject(image: BootImage, raw: Uint8Array): ProofSubject {
  if (!isElf(new ByteView(raw))) return { image, vmlinux: null, promise: rawPromise(image, raw) };
  const vmlinux = readVmlinux(raw);
  return { image, vmlinux, promise: elfPromise(image, vmlinux) };
}

/** Setup's jump to the protected-mode part, of an image whose protected-mode part is an ELF file. */
export interface StageProof {
  readonly headers: HeaderProof;
  readonly memory: MemoryProof;
  readonly entry: { readonly expected: bigint; readonly found: bigint };
}

/** The decompressor's jump to the kernel. */
export interface KernelProof {
  readonly kind: 'elf' | 'raw';
  /** Empty for a raw binary. */
  readonly headers: HeaderProof;
  readonly memory: MemoryProof;
  /** Where control came to the kernel, and where the headers say. */
  readonly entry: { readonly expected: bigint; readonly found: bigint };
  /** Guest physical address of the kernel's lowest byte. */
  readonly base: bigint;
  readonly move: KernelMove;
  readonly cpu: readonly StateDifference[];
  /** Null for a raw binary, which no plan enters in the decompressor's stead. */
  readonly zeroPage: readonly StateDifference[] | null;
}

export interface Proof {
  readonly commandLine: string;
  /** Null for an image whose protected-mode part is no ELF file. */
  readonly stage: StageProof | null;
  /** Null if the kernel was never entered where its headers allow; `failure` says more. */
  readonly kernel: KernelProof | null;
  readonly failure: string | null;
  /** What the guest said last before it failed, line by line. */
  readonly lastWords: readonly string[];
}

/** Nothing differs that must not differ. */
export function isProved({ stage, kernel, failure }: Proof): boolean {
  if (failure !== null || kernel === null) return false;
  const states = [...kernel.cpu, ...(kernel.zeroPage ?? [])];
  return (
    [stage, kernel].every(
      (part) =>
        part === null ||
        (part.headers.differences.length === 0 &&
          part.memory.differences.length === 0 &&
          part.entry.expected === part.entry.found),
    ) && states.every(({ reason }) => reason !== null)
  );
}

/** Holds memory against a stage ELF's program headers; null if the image has none. */
export function proveStage({ image, vmlinux }: ProofSubject, address: bigint, read: ReadMemory): StageProof | null {
  if (image.stageElf === null) return null;
  const entry = image.stageElf.elf.header.e_entry;
  const move = BigInt(image.setup?.values.code32_start ?? 0) - entry;
  return {
    headers: proveStageHeaders(image, image.stageElf, vmlinux),
    memory: proveMemory(stageRanges(image.stageElf, move), read, { output: 0n, raw: new Uint8Array(0), end: 0n }),
    entry: { expected: entry + move, found: address },
  };
}

/** What a plan hands over that enters the kernel in the decompressor's stead. */
export interface PlannedState {
  readonly cpu: CpuState;
  /** The zero page's 4096 bytes; null for a raw binary. */
  readonly zeroPage: Uint8Array | null;
}

/** Holds memory, CPU and zero page against the kernel's program headers and the plan. */
export function proveKernel(
  { image, promise, vmlinux }: ProofSubject,
  entry: PossibleEntry,
  cpu: FoundCpu,
  read: ReadMemory,
  planned: PlannedState,
): KernelProof {
  const move = promise.moveTo(entry, read);
  const initSize = BigInt(image.setup?.values.init_size ?? 0);
  const memory = proveMemory(promise.ranges(move), read, {
    output: entry.base,
    raw: promise.raw,
    end: entry.base + (initSize > BigInt(promise.span) ? initSize : BigInt(promise.span)),
  });
  const expected = vmlinux === null ? entry.base : vmlinux.elf.header.e_entry + move.physicalDelta;
  const bootParams = cpu.registers['rsi'] ?? 0n;
  return {
    kind: promise.kind,
    headers: vmlinux === null ? NO_HEADERS : proveKernelHeaders(image, vmlinux),
    memory,
    entry: { expected, found: entry.address },
    base: entry.base,
    move,
    // Each way has its own place for boot_params.
    cpu: compareCpu({ ...planned.cpu, rip: expected, registers: { ...planned.cpu.registers, rsi: bootParams } }, cpu),
    zeroPage: planned.zeroPage === null ? null : compareZeroPage(planned.zeroPage, read(bootParams, 4096)),
  };
}
