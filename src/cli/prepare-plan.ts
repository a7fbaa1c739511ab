/** From a file name and options to a plan: what `plan`, `boot` and `load` have in common. */
import { parseMemoryMap } from '../boot/e820.js';
import { parseMemorySize, pcMemoryMap } from '../boot/memory-map.js';
import type { BootPlan } from '../boot/plan.js';
import type { PlanRequest } from '../boot/request.js';
import type { BootImage } from '../bzimage/boot-image.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { readImage } from '../node/files.js';
import { planStart } from '../verify/obey.js';
import { createSubject, subjectOf } from '../verify/subject.js';
import { checkStandardInput, type PlanOptions } from './options.js';
import { openBootImage, type ProbeChoice } from './probe.js';

/** Milliseconds that the host took; what was not done took none. */
export interface HostTimes {
  read: number;
  decompress: number;
  /** Planning, relocating the kernel included. */
  relocate: number;
}

export interface PreparedPlan {
  readonly image: BootImage;
  /** Null unless the kernel stage is entered, which alone needs it at once. */
  readonly vmlinux: Vmlinux | null;
  readonly request: PlanRequest;
  readonly plan: BootPlan;
  readonly times: HostTimes;
}

/** The request that the options make. @throws BootImageError `bad-argument`, `file-not-found`, `file-unreadable` */
export function requestFromOptions(options: PlanOptions, commandLine: string): PlanRequest {
  const { enter = 'kernel', protocol, memory, e820, initrd, append = commandLine, kaslr, role } = options;
  return {
    stage: enter,
    memory: e820 === undefined ? pcMemoryMap(parseMemorySize(memory)) : parseMemoryMap(readText(e820)),
    commandLine: append,
    // Nobody else looks at the kernel's buffer afterwards.
    consumeKernel: true,
    ...(protocol === undefined ? {} : { protocol }),
    ...(role === undefined ? {} : { role }),
    ...(initrd === undefined ? {} : { initrd: readImage(initrd) }),
    ...(kaslr === undefined ? {} : { kaslr: { seed: kaslr === true ? null : kaslr } }),
  };
}

function readText(path: string): string {
  return new TextDecoder().decode(readImage(path));
}

/**
 * @param commandLine the kernel command line without `--append`.
 * @throws BootImageError `bad-argument`; whatever reading, decompressing and planning refuse.
 */
export async function preparePlan(
  path: string,
  options: PlanOptions & ProbeChoice,
  commandLine: string,
  signal?: AbortSignal,
): Promise<PreparedPlan> {
  checkStandardInput({ image: path, '--initrd': options.initrd, '--e820': options.e820 });
  const started = performance.now();
  const image = await openBootImage(path, options);
  const request = requestFromOptions(options, commandLine);
  const read = performance.now();
  const recover = { limit: options.limit, ...(signal === undefined ? {} : { signal }) };
  const subject = request.stage === 'kernel' ? await createSubject(image, recover) : subjectOf(image, null);
  const recovered = performance.now();
  const plan = planStart(subject, request);
  const times = { read: read - started, decompress: recovered - read, relocate: performance.now() - recovered };
  return { image, vmlinux: subject.vmlinux, request, plan, times };
}
