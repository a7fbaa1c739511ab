/** What a guest said last tells why it stopped: a kernel without a power switch halts the CPU instead. */
import { latin1 } from '../bytes/byte-view.js';

const KEPT = 16384;

/**
 * Linux's messages (kernel/reboot.c, kernel/panic.c; before 3.x without the "reboot: " in front), at the beginning of
 * a console line behind an optional time stamp.
 */
const POWERED_DOWN = /^(?:\[[ \d.]+\] )?(?:reboot: )?(?:Power down|System halted)\.?\s*$/m;
const PANIC = /^(?:\[[ \d.]+\] )?Kernel panic(?: - not syncing)?: .*$/m;

/** The end of a console's output. */
export class LastWords {
  #tail = '';

  add(bytes: Uint8Array): void {
    const fresh = latin1(bytes.length > KEPT ? bytes.subarray(bytes.length - KEPT) : bytes);
    this.#tail = (this.#tail + fresh).slice(-KEPT);
  }

  /** The last lines that are not empty, without carriage returns. */
  lines(count: number): string[] {
    return this.#tail
      .split('\n')
      .map((line) => line.replaceAll('\r', ''))
      .filter((line) => line.trim() !== '')
      .slice(-count);
  }

  /** The kernel said that it is done: "Power down", or "System halted" where there is no power switch. */
  get poweredDown(): boolean {
    return POWERED_DOWN.test(this.#tail.replaceAll('\r', '')) && this.panic === null;
  }

  /** The kernel's panic message, or null. */
  get panic(): string | null {
    return (
      PANIC.exec(this.#tail.replaceAll('\r', ''))?.[0]
        .replace(/^\[[ \d.]+\] /, '')
        .trim() ?? null
    );
  }
}
