/** Guests as the tests start them: in QEMU, or on any other machine. */
import { readFileSync } from 'node:fs';
import { resumeAtKernel } from '../../src/boot/hook.js';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import type { BootPlan } from '../../src/boot/plan.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import type { PlanRequest } from '../../src/boot/request.js';
import { BOOT_PARAMS } from '../../src/boot/zero-page.js';
import { latin1, latin1Bytes } from '../../src/bytes/byte-view.js';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { demoInitramfs } from '../../src/cpio/initramfs.js';
import { recoverVmlinux } from '../../src/kernel/recover.js';
import type { Vmlinux } from '../../src/kernel/vmlinux.js';
import type { Guest, GuestExit, Machine, StartOptions } from '../../src/machines/machine.js';
import { findProgram } from '../../src/machines/qemu/find-qemu.js';
import { createQemuMachine, type QemuOptions } from '../../src/machines/qemu/qemu-machine.js';

export const haveQemu = process.platform === 'linux' && findProgram('qemu-system-x86_64') !== null;

export const QUIET = 'console=ttyS0 panic=-1';
const GUEST_LIMIT_MS = 90_000;

export interface Kernel {
  readonly image: BootImage;
  /** Null for a kernel whose payload is no ELF file. */
  readonly vmlinux: Vmlinux | null;
}

export async function openKernel(bytes: Uint8Array): Promise<Kernel> {
  const image = readBootImage(bytes);
  return { image, vmlinux: await recoverVmlinux(image).catch(() => null) };
}

export function openKernelFile(path: string): Promise<Kernel> {
  return openKernel(readFileSync(path));
}

/** 256 MiB, the demonstration initramfs, console on the serial port; the kernel stage. */
export function planFor({ image, vmlinux }: Kernel, changes: Partial<PlanRequest> = {}): BootPlan {
  return planBoot(image, vmlinux, {
    stage: 'kernel',
    memory: pcMemoryMap(256n << 20n),
    commandLine: QUIET,
    ...(vmlinux === null ? {} : { initrd: demoInitramfs(vmlinux.bits) }),
    ...changes,
  });
}

/** The host's part at the hook. */
export function hookOf({ image, vmlinux }: Kernel, plan: BootPlan): NonNullable<StartOptions['onHook']> {
  return async (bootParams, read) => {
    if (vmlinux === null) throw new Error('no ELF kernel to resume at');
    return resumeAtKernel(image, vmlinux, plan, { bootParams, page: await read(bootParams, BOOT_PARAMS.size) });
  };
}

export interface Outcome {
  readonly text: string;
  readonly exit: GuestExit;
  readonly notes: readonly string[];
  readonly screen: readonly string[];
  /** Executed by the guest; 0 where the machine does not count. */
  readonly instructions: number;
}

export interface Watch {
  /** The guest may be stopped once its console matches. */
  readonly enough?: RegExp;
  /** Sent, with a newline, when the init program's little shell asks. */
  readonly command?: string;
  readonly onHook?: StartOptions['onHook'];
  /** Stops the guest after this time, to see what it has done so far. */
  readonly milliseconds?: number;
  /** Called when the guest has begun. */
  readonly onStart?: (guest: Guest) => void;
}

/** Runs until the guest ends or has said enough. */
export async function boot(plan: BootPlan, options: QemuOptions | Machine = {}, watch: Watch = {}): Promise<Outcome> {
  const { enough, command, onHook, milliseconds = GUEST_LIMIT_MS, onStart } = watch;
  const notes: string[] = [];
  let text = '';
  let react = (): void => undefined;
  const machine = 'start' in options ? options : createQemuMachine({ accel: 'tcg', ...options });
  const { guest } = await machine.start(plan, {
    onConsole: (bytes) => {
      text += latin1(bytes);
      react();
    },
    onNote: (line) => notes.push(line),
    ...(onHook === undefined ? {} : { onHook }),
  });
  let sent = false;
  react = () => {
    if (enough?.test(text) === true) void guest.stop();
    if (command === undefined || sent || !text.endsWith('# ')) return;
    sent = true;
    guest.write(latin1Bytes(`${command}\n`));
  };
  const limit = setTimeout(() => void guest.stop(), milliseconds);
  onStart?.(guest);
  react();
  const exit = await guest.exited;
  clearTimeout(limit);
  return { text, exit, notes, screen: guest.screen?.() ?? [], instructions: guest.instructions?.() ?? 0 };
}
