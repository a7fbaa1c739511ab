/**
 * QEMU as a machine: a PC (q35, pc) or microvm, 32 or 64 bits, emulated or by KVM. A plan without firmware is written
 * into the guest's memory and the CPU set by hand; the host then plays firmware's part for ACPI and no firmware runs.
 */
import { BootImageError } from '../../bytes/error.js';
import { ramEnd } from '../../boot/memory-map.js';
import type { BootPlan } from '../../boot/plan.js';
import type { Machine, StartOptions } from '../machine.js';
import { clockRate } from './clock-rate.js';
import { setCpuState } from './cpu-state.js';
import { findQemu } from './find-qemu.js';
import { kvmTrouble } from './kvm.js';
import { GuestRecord, QemuGuest } from './qemu-guest.js';
import { type QemuMachineType, type RamLayout, ramLayout } from './ram-layout.js';
import { QemuSession } from './session.js';

export type { QemuMachineType };

export interface QemuOptions {
  /** Program name on PATH, or a path; `qemu-system-x86_64` by default. */
  readonly binary?: string;
  /** `q35` by default, or `pc` where the plan wants RAM that a q35 cannot have. */
  readonly machine?: QemuMachineType;
  /** `auto` (the default) takes KVM if it really executes code, else TCG. */
  readonly accel?: 'auto' | 'tcg' | 'kvm';
  /** Processors; 1 by default. */
  readonly smp?: number;
  /** Further options for QEMU, behind the machine's own. */
  readonly extraArgs?: readonly string[];
}

function requireSupported(plan: BootPlan): void {
  if (plan.protocol === 'xen-pv') {
    throw new BootImageError('unsupported', 'a Xen PV domain needs the Xen hypervisor, not a bare machine', {
      hint: 'use another --protocol',
    });
  }
}

function chooseLayout(
  plan: BootPlan,
  wanted: QemuMachineType | undefined,
): { type: QemuMachineType; layout: RamLayout } {
  for (const type of wanted === undefined ? (['q35', 'pc'] as const) : [wanted]) {
    const layout = ramLayout(plan, type);
    if (layout !== null) return { type, layout };
  }
  throw new BootImageError('does-not-fit', `QEMU's ${wanted ?? 'PC'} cannot have RAM where the memory map wants it`, {
    hint: 'give the guest less --memory below 4 GiB',
  });
}

async function chooseAccel(
  binary: string,
  wanted: 'auto' | 'tcg' | 'kvm',
  onNote: (line: string) => void,
): Promise<'tcg' | 'kvm'> {
  if (wanted !== 'auto') return wanted;
  const trouble = await kvmTrouble(binary);
  if (trouble === null) return 'kvm';
  if (trouble !== '') onNote(`KVM is there but of no use (${trouble}): QEMU emulates the processor`);
  return 'tcg';
}

/**
 * What a kernel has to be told on its command line to run on such a machine: words, empty for nearly all of them.
 *
 * A microvm has no clock to compare the TSC with but the i8254, and the jitter of emulation on a busy host fails that
 * for good. With one processor QEMU can count instructions instead of time (see session.ts), with more it starves
 * them; there the kernel is told the TSC's frequency (Linux 5.9 and newer; older ones have to be lucky).
 * @throws BootImageError `tool-missing`, `machine-failed`
 */
export async function kernelParameters(options: QemuOptions): Promise<readonly string[]> {
  const { machine, smp = 1, accel = 'auto' } = options;
  if (machine !== 'microvm' || smp === 1) return [];
  const binary = findQemu(options.binary);
  const chosen = await chooseAccel(binary, accel, () => undefined);
  return chosen === 'kvm' ? [] : [`tsc_early_khz=${String(await clockRate(binary))}`];
}

/** Waits for the guest at the hook, hands control to the host's own code there, and resumes with its plan. */
async function answerHook(
  session: QemuSession,
  address: bigint,
  onHook: NonNullable<StartOptions['onHook']>,
  timing: { place: number },
): Promise<void> {
  const { gdb, ram } = session;
  await gdb.setBreakpoint(address);
  await gdb.resume();
  await gdb.clearBreakpoint(address);
  const bootParams = (await gdb.readRegister('rsi')) & 0xffffffffn;
  const next = await onHook(bootParams, (from, length) => Promise.resolve(ram.read(from, length)));
  const started = performance.now();
  await session.placeLive(next.regions);
  await setCpuState(gdb, ram, next.cpu, false);
  timing.place += performance.now() - started;
}

function hookHandler(plan: BootPlan, options: StartOptions): NonNullable<StartOptions['onHook']> | null {
  if (plan.hook === null) return null;
  if (options.onHook !== undefined) return options.onHook;
  throw new BootImageError('bad-argument', 'a plan with a hook needs somebody to answer it', { field: 'onHook' });
}

/**
 * Besides what `Machine.start` promises: `reset while told not to` is every reset of a guest whose console shows no
 * kernel panic and that suffered no triple fault.
 */
export function createQemuMachine(machineOptions: QemuOptions = {}): Machine {
  const { machine, accel = 'auto', smp = 1, extraArgs = [] } = machineOptions;
  return {
    name: 'qemu',
    async start(plan, options) {
      requireSupported(plan);
      const onHook = hookHandler(plan, options);
      const note = options.onNote ?? (() => undefined);
      const { type, layout } = chooseLayout(plan, machine);
      if (machine === undefined && type !== 'q35')
        note(`a q35 cannot have RAM up to ${String(ramEnd(plan.memory) >> 20n)} MiB like this; QEMU's ${type} can`);
      const binary = findQemu(machineOptions.binary);
      const record = new GuestRecord(options.onConsole);
      const session = await QemuSession.start({
        binary,
        type,
        accel: await chooseAccel(binary, accel, note),
        smp,
        bios: plan.firmware === 'bios',
        extraArgs,
        layout,
        needed: plan.regions.reduce((sum, { bytes }) => sum + (bytes?.length ?? 0), 0),
        onConsole: (bytes) => record.console(bytes),
        onEvent: (event) => record.event(event),
        signal: options.signal,
      });
      let end = (): Promise<void> => session.stop();
      const abort = (): void => void end();
      options.signal?.addEventListener('abort', abort);
      void session.ended.then(() => options.signal?.removeEventListener('abort', abort));
      if (options.signal?.aborted === true) abort();
      const timing = { place: 0 };
      try {
        await session.guarded(async () => {
          if (plan.firmware === 'bios') await session.runBios();
          const started = performance.now();
          if (plan.firmware === 'bios') await session.placeLive(plan.regions);
          else session.ram.place(plan.regions, true);
          if (plan.firmware === 'none' && !(await session.supplyAcpi(plan))) {
            note('the guest has no ACPI: no second processor, no power switch');
          }
          await setCpuState(session.gdb, session.ram, plan.cpu, plan.firmware === 'none');
          timing.place = performance.now() - started;
        });
        const { complaint } = session.process;
        if (complaint !== '') note(`QEMU: ${complaint}`);
        const { hook } = plan;
        const hooked = hook === null || onHook === null ? undefined : answerHook(session, hook.address, onHook, timing);
        const guest = new QemuGuest(session, record, hooked);
        end = () => guest.stop();
        return { guest, timing };
      } catch (error) {
        if (options.signal?.aborted === true)
          throw new BootImageError('aborted', 'stopped before the guest began', { cause: error });
        throw error;
      }
    },
  };
}
