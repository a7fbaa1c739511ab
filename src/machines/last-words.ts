/** What a guest said last tells why it stopped: a kernel without a power switch halts its CPU instead. */
import { latin1 } from '../bytes/byte-view.js';

/** More than a panic's report. */
const KEPT = 16384;

/**
 * Linux's messages (kernel/reboot.c and kernel/panic.c; before 3.x without "reboot: ") at the end of a console line:
 * a time stamp may stand in front, and a prompt whose line was not finished.
 */
const POWERED_DOWN = /(?:^|\s)(?:Power down|System halted)\.?$/m;
const PANIC = /(?:^|\s)(Kernel panic(?: - not syncing)?: .*)$/m;
const INIT_DIED = 'Attempted to kill init!';

/** The end of a console's output. */
export class LastWords {
  #tail = '';

  add(bytes: Uint8Array): void {
    const fresh = latin1(bytes.subarray(Math.max(0, bytes.length - KEPT))).replaceAll('\r', '');
    this.#tail = (this.#tail + fresh).slice(-KEPT);
  }

  /** The last lines that are not empty. */
  lines(count: number): string[] {
    return this.#tail
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-count);
  }

  includes(text: string): boolean {
    return this.#tail.includes(text);
  }

  /** The kernel said that it is done: "Power down", or "System halted" where it knows no power switch. */
  get poweredDown(): boolean {
    return POWERED_DOWN.test(this.#tail);
  }

  /**
   * Old kernels (2.6.24 is one) return from halting and then panic because init has ended: they are done nevertheless,
   * and go on executing for ever.
   */
  get initDiedPoweringDown(): boolean {
    const end = POWERED_DOWN.exec(this.#tail);
    return end !== null && this.#tail.includes(INIT_DIED, end.index);
  }

  /** The kernel's panic message, or null. */
  get panic(): string | null {
    return this.initDiedPoweringDown ? null : (PANIC.exec(this.#tail)?.[1] ?? null);
  }
}
