/** A guest that runs in QEMU. */
import type { Guest, GuestExit } from '../machine.js';
import { LastWords } from '../last-words.js';
import { untilHalted } from './halt.js';
import type { ProcessEnd } from './qemu-process.js';
import type { QmpEvent } from './qmp.js';
import type { QemuSession } from './session.js';
import { readTextScreen } from './text-screen.js';

/** Collects what the guest does, before and after there is a session to ask. */
export class GuestRecord {
  readonly words = new LastWords();
  readonly #onConsole: (bytes: Uint8Array) => void;
  /** Bytes that came from the console. */
  bytes = 0;
  shutdown: string | null = null;

  constructor(onConsole: (bytes: Uint8Array) => void) {
    this.#onConsole = onConsole;
  }

  console(bytes: Uint8Array): void {
    this.bytes += bytes.length;
    this.words.add(bytes);
    this.#onConsole(bytes);
  }

  event({ event, data }: QmpEvent): void {
    if (event === 'SHUTDOWN' && data['guest'] === true) this.shutdown = String(data['reason']);
  }
}

export class QemuGuest implements Guest {
  readonly exited: Promise<GuestExit>;
  readonly #session: QemuSession;
  readonly #record: GuestRecord;
  #verdict: GuestExit | null = null;
  #screen: readonly string[] = [];

  /** @param hooked what has still to be done with the guest at its hook before it runs freely. */
  constructor(session: QemuSession, record: GuestRecord, hooked: Promise<void> = Promise.resolve()) {
    this.#session = session;
    this.#record = record;
    this.exited = session.ended.then((end) => this.#verdict ?? this.#judge(end));
    void this.#run(hooked);
    void this.#watch();
  }

  write(bytes: Uint8Array): void {
    this.#session.process.console.write(bytes);
  }

  async stop(): Promise<void> {
    const first = this.#verdict === null;
    this.#verdict ??= { end: 'stopped', reason: '' };
    if (first && this.#record.bytes === 0 && this.#session.options.bios) {
      this.#screen = await readTextScreen(this.#session.qmp);
    }
    await this.#session.stop();
  }

  /** What a guest that never used its serial port had on its VGA text screen when it was stopped. */
  screen(): readonly string[] {
    return this.#screen;
  }

  async #run(hooked: Promise<void>): Promise<void> {
    try {
      await hooked;
      await this.#session.gdb.detach();
    } catch (error) {
      // A guest that ends before its hook takes QEMU with it and is judged by that.
      if (this.#record.shutdown !== null) return;
      this.#verdict ??= { end: 'failed', reason: error instanceof Error ? error.message : String(error) };
      await this.#session.stop();
    }
  }

  #judge(end: ProcessEnd): GuestExit {
    const { words, shutdown } = this.#record;
    if (shutdown === null) return { end: 'failed', reason: this.#session.process.failure(end).message };
    if (shutdown === 'guest-panic') return { end: 'halted', reason: words.panic ?? 'the guest reported a panic' };
    if (shutdown === 'guest-shutdown') return { end: 'powered-off', reason: '' };
    if (words.panic !== null) return { end: 'halted', reason: words.panic };
    if (this.#session.process.log.includes('Triple fault')) return { end: 'halted', reason: 'triple fault' };
    return { end: 'powered-off', reason: 'the guest reset' };
  }

  async #watch(): Promise<void> {
    const { words } = this.#record;
    await untilHalted(
      this.#session,
      () => this.#record.bytes,
      () => words.initDiedPoweringDown,
    );
    if (this.#verdict !== null) return;
    this.#verdict = words.poweredDown
      ? { end: 'powered-off', reason: 'the guest halted' }
      : { end: 'halted', reason: words.panic ?? 'the guest halted its processors' };
    await this.#session.stop();
  }
}
