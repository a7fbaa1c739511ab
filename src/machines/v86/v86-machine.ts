/**
 * v86 (https://github.com/copy/v86) as a machine: a 32-bit PC in this process, in Node and in browsers alike.
 * Serial port 0 is the console. There is no ACPI: a guest that powers off says so and halts its CPU.
 */
import { BootImageError } from '../../bytes/error.js';
import { hex } from '../../bytes/numbers.js';
import { type MemoryMap, memorySize, ramEnd } from '../../boot/memory-map.js';
import type { Machine } from '../machine.js';
import { requireSupported } from './cpu-state.js';
import { createEmulator, type V86Bios, type V86Parts } from './emulator.js';
import { V86Guest } from './v86-guest.js';

export type { V86Bios, V86Parts };

export interface V86Resources {
  /** Called for each start; keep what can be kept. */
  readonly load: () => Promise<V86Parts>;
  /** Called for plans whose firmware is `bios`. @throws BootImageError `tool-missing` */
  readonly loadBios: () => Promise<V86Bios>;
}

/** v86 keeps guest memory below 2 GiB, in steps of 128 KiB. */
const MEMORY_LIMIT = 2n ** 31n - 2n ** 17n;

/** @throws BootImageError `does-not-fit` */
function requireRoom(memory: MemoryMap): void {
  const end = ramEnd(memory);
  if (end <= MEMORY_LIMIT) return;
  const size = `${String(memorySize(memory) >> 20n)} MiB`;
  throw new BootImageError(
    'does-not-fit',
    `v86 has memory below 2 GiB only, and the guest's ${size} end at ${hex(end)}`,
    {
      field: 'memory',
      hint: 'use --memory 2047M or less, or --machine qemu',
    },
  );
}

/**
 * Besides what `Machine.start` promises: `reset while told not to` is every reset of a guest whose console shows no
 * kernel panic, and a guest that says "Power down" or "System halted" and then halts its CPU has powered off.
 * With a BIOS the guest sees a disk of half a megabyte: our boot sector's.
 */
export function createV86Machine(resources: V86Resources): Machine {
  return {
    name: 'v86',
    async start(plan, options) {
      requireSupported(plan);
      requireRoom(plan.memory);
      const firmware = plan.firmware === 'bios' ? await resources.loadBios() : null;
      const emulator = await createEmulator(await resources.load(), ramEnd(plan.memory), firmware, (line) =>
        options.onNote?.(line),
      );
      const guest = new V86Guest(emulator, options);
      try {
        if (options.signal?.aborted === true) throw new BootImageError('aborted', 'stopped before the guest began');
        if (firmware !== null) await guest.runBios();
        guest.begin(plan);
      } catch (error) {
        await guest.stop();
        throw error;
      }
      return { guest, timing: guest.timing };
    },
  };
}
