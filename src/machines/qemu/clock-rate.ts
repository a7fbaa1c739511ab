/**
 * How fast an emulated processor's time-stamp counter runs: as fast as the host's, which no system call tells. A guest
 * program writes it into the memory that this process shares, over and over; the host looks twice.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { PROGRAM, withProgram } from './bare-program.js';
import type { QemuSession } from './session.js';

const COUNTER = PROGRAM + 0x1000n;
/** loop: rdtsc; mov %eax, COUNTER; jmp loop */
const CODE = Uint8Array.of(0x0f, 0x31, 0x89, 0x04, 0x25, 0x00, 0x10, 0x01, 0x00, 0xeb, 0xf5);

/** Milliseconds between the two looks: the counter's 32 bits last for 400 ms at 10 GHz. */
const INTERVAL_MS = 60;
/** Two reads in a row that are no further apart, and differ, tell that the guest was running all the time. */
const CLOSE_MS = 0.05;
const PATIENCE_MS = 20_000;

interface Look {
  /** Milliseconds. */
  readonly time: number;
  readonly counter: number;
}

/** Looks until the counter is seen to move: the host may have set the guest aside. */
async function look({ ram }: QemuSession): Promise<Look> {
  const read = (): number => new DataView(ram.read(COUNTER, 4).buffer).getUint32(0, true);
  for (;;) {
    for (let attempt = 0; attempt < 100; attempt++) {
      const started = performance.now();
      const before = read();
      const counter = read();
      const time = performance.now();
      if (counter !== before && time - started <= CLOSE_MS) return { time, counter };
    }
    await delay(1);
  }
}

async function measure(session: QemuSession): Promise<number> {
  await session.gdb.detach();
  for (;;) {
    const first = await look(session);
    await delay(INTERVAL_MS);
    const last = await look(session);
    const ticks = (last.counter - first.counter) >>> 0;
    if (last.time - first.time < 4 * INTERVAL_MS) return Math.round(ticks / (last.time - first.time));
  }
}

const known = new Map<string, Promise<number>>();

/**
 * Kilohertz, to about a part in a thousand. Measured once for each `binary`; takes about a fifth of a second.
 * @throws BootImageError `machine-failed`
 */
export function clockRate(binary: string): Promise<number> {
  const rate = known.get(binary) ?? withProgram(binary, 'tcg', CODE, PATIENCE_MS, measure);
  known.set(binary, rate);
  return rate;
}
