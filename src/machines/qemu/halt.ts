/** QEMU tells nobody when a guest stops its CPUs for good: somebody has to look. */
import { setTimeout as delay } from 'node:timers/promises';
import type { QemuSession } from './session.js';

const LOOK_MS = 1000;
/** What nothing but a reset can wake stands in hlt without it. */
const INTERRUPTS_ON = 0x200;

/** True if every CPU stands in hlt with interrupts off. */
function allHalted(registers: string): boolean {
  const cpus = [...registers.matchAll(/EFL=([0-9a-f]+)[^\n]*HLT=([01])|RFL=([0-9a-f]+)[^\n]*HLT=([01])/g)];
  return (
    cpus.length > 0 &&
    cpus.every((cpu) => (cpu[2] ?? cpu[4]) === '1' && (parseInt(cpu[1] ?? cpu[3] ?? '', 16) & INTERRUPTS_ON) === 0)
  );
}

/**
 * Waits until the guest's processors have halted for good, or `isDone` says that the guest is at its end anyway. Only a
 * guest whose console is silent is looked at. Never resolves otherwise, never rejects.
 * @param consoleBytes how much the console has said so far.
 */
export async function untilHalted(
  session: QemuSession,
  consoleBytes: () => number,
  isDone: () => boolean = () => false,
): Promise<void> {
  const state = { over: false };
  void session.ended.then(() => (state.over = true));
  let seen = consoleBytes();
  for (;;) {
    await delay(LOOK_MS, undefined, { ref: false });
    if (state.over) return new Promise(() => undefined);
    const now = consoleBytes();
    const silent = now === seen;
    seen = now;
    if (silent && (isDone() || allHalted(await session.qmp.monitor('info registers -a').catch(() => '')))) return;
  }
}
