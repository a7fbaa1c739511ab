/** Proves an image: runs its own stages in QEMU and compares what they do with what its headers promise. */
import { BootImageError, describeError } from '../../bytes/error.js';
import { longModeState, protectedModeState } from '../../boot/cpu.js';
import type { MemoryMap } from '../../boot/memory-map.js';
import { planBoot } from '../../boot/plan-boot.js';
import type { BootImage } from '../../bzimage/boot-image.js';
import { decompressPayload } from '../../kernel/recover.js';
import {
  type KernelProof,
  type PlannedState,
  type Proof,
  proofSubject,
  type ProofSubject,
  proveKernel,
  proveStage,
  type StageProof,
} from '../../verify/prove.js';
import { runStages } from './run-stages.js';

export interface ProveImageOptions {
  readonly memory: MemoryMap;
  /** True lets the decompressor choose the kernel's addresses; otherwise `nokaslr` is on the command line. */
  readonly kaslr: boolean;
  /** Milliseconds for the image's own stages. */
  readonly timeout: number;
  /** Bytes that the payload may decompress to. */
  readonly limit?: number;
  /** QEMU's program name or path. */
  readonly binary?: string;
  readonly signal?: AbortSignal;
}

/** A console, so that a kernel that was entered unseen is noticed. */
const COMMAND_LINE = 'console=ttyS0 earlyprintk=serial,ttyS0';

const NO_TABLE = { base: 0n, limit: 0 };

/** What a plan hands over in the decompressor's stead; an image that no plan can start is still held against itself. */
function plannedState(
  { image, vmlinux }: ProofSubject,
  memory: MemoryMap,
  commandLine: string,
): PlannedState & { readonly refusal: string | null } {
  const bare = vmlinux?.bits === 64 ? longModeState(0n, NO_TABLE, 0n, {}) : protectedModeState(0n, NO_TABLE, {});
  if (vmlinux === null) return { cpu: bare, zeroPage: null, refusal: null };
  try {
    const plan = planBoot(image, vmlinux, { stage: 'kernel', memory, commandLine });
    const page = plan.regions.find(({ purpose }) => purpose === 'boot-params')?.bytes;
    return { cpu: plan.cpu, zeroPage: page ?? null, refusal: null };
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
    return { cpu: bare, zeroPage: null, refusal: `no plan starts this kernel: ${describeError(error)}` };
  }
}

/**
 * @throws BootImageError `unsupported` for a file without stages to run, `payload-missing` and the like as
 * `decompressPayload`, `tool-missing`, `machine-failed`, and what planning refuses.
 */
export async function proveImage(image: BootImage, options: ProveImageOptions): Promise<Proof> {
  if (image.inner !== null) return proveImage(image.inner, options);
  if (image.setup === null || image.stages.protected_mode === null) {
    throw new BootImageError('unsupported', `there is no stage to run in this file (${image.kind})`, {
      hint: 'prove a bzImage',
    });
  }
  const { bytes } = await decompressPayload(image, options);
  const subject = proofSubject(image, bytes);
  const commandLine = options.kaslr ? COMMAND_LINE : `${COMMAND_LINE} nokaslr`;
  const planned = plannedState(subject, options.memory, commandLine);
  let stage: StageProof | null = null;
  let kernel: KernelProof | null = null;
  const failure = await runStages(
    image,
    subject.promise,
    { ...options, commandLine },
    {
      onProtectedMode: (address, read) => (stage = proveStage(subject, address, read)),
      onKernel: (entry, cpu, read) => (kernel = proveKernel(subject, entry, cpu, read, planned)),
    },
  );
  return {
    ...{ commandLine, stage, kernel },
    failure: failure?.reason ?? planned.refusal,
    lastWords: failure?.lastWords ?? [],
  };
}
