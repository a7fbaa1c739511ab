/** A few instructions in 64-bit mode on a QEMU of their own, to find out something about it. */
import { longModeState } from '../../boot/cpu.js';
import { buildGdt, FLAT_CODE_64, FLAT_DATA } from '../../boot/gdt.js';
import { buildIdentityMap } from '../../boot/page-tables.js';
import type { Region } from '../../boot/plan.js';
import { setCpuState } from './cpu-state.js';
import { QemuSession } from './session.js';

const MIB = 1n << 20n;
const GDT = 0x1000n;
const TABLES = 0x2000n;

/** Where the program's first instruction lies; what is above it is the program's own, up to 64 MiB. */
export const PROGRAM = 0x10000n;

function region(address: bigint, bytes: Uint8Array): Region {
  return { address, size: bytes.length, bytes, purpose: 'trampoline', label: 'program' };
}

/**
 * Starts QEMU, brings its CPU before the program's first instruction, lets `work` do the rest, and ends it.
 * @param patience milliseconds for `work` and what comes before it; QEMU's own start has its own.
 * @throws BootImageError `machine-failed` with what QEMU said, or if the time is over; what `work` throws.
 */
export async function withProgram<T>(
  binary: string,
  accel: 'tcg' | 'kvm',
  program: Uint8Array,
  patience: number,
  work: (session: QemuSession) => Promise<T>,
): Promise<T> {
  const session = await QemuSession.start({
    ...{ binary, type: 'q35', accel, smp: 1, bios: false, extraArgs: [], needed: 0, onConsole: () => undefined },
    layout: { low: 64n * MIB, high: 0n, spare: { address: 0n, size: 0n } },
  });
  try {
    return await session.guarded(async () => {
      const gdt = buildGdt(FLAT_CODE_64, FLAT_DATA);
      const tables = buildIdentityMap(TABLES, []);
      session.ram.place([region(GDT, gdt), region(TABLES, tables), region(PROGRAM, program)], true);
      const state = longModeState(PROGRAM, { base: GDT, limit: gdt.length - 1 }, TABLES, {});
      await setCpuState(session.gdb, session.ram, state, true);
      return work(session);
    }, patience);
  } finally {
    await session.stop();
  }
}
