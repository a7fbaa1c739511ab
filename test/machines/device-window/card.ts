/** A machine that stands still until others have written into its memory: a QEMU guest in the part of a card. */
import type { BootPlan, CpuState } from '../../../src/boot/plan.js';
import { latin1 } from '../../../src/bytes/byte-view.js';
import { setCpuState } from '../../../src/machines/qemu/cpu-state.js';
import { findQemu } from '../../../src/machines/qemu/find-qemu.js';
import { GuestRecord, QemuGuest } from '../../../src/machines/qemu/qemu-guest.js';
import { ramLayout } from '../../../src/machines/qemu/ram-layout.js';
import { QemuSession } from '../../../src/machines/qemu/session.js';

/** For the kernel's way to user space; a busy host may take long. */
const PATIENCE_MS = 100_000;
const LAST_LINE = 'INIT-END';

export class Card {
  readonly session: QemuSession;
  readonly #record: GuestRecord;
  readonly #console: { text: string; onText: () => void };

  private constructor(session: QemuSession, record: GuestRecord, console: { text: string; onText: () => void }) {
    this.session = session;
    this.#record = record;
    this.#console = console;
  }

  /** @param plan what its memory has to be large enough for; nothing of it is written. */
  static async start(plan: BootPlan): Promise<Card> {
    const layout = ramLayout(plan, 'q35');
    if (layout === null) throw new Error('no q35 for this plan');
    const console = { text: '', onText: (): void => undefined };
    const record = new GuestRecord((bytes) => {
      console.text += latin1(bytes);
      console.onText();
    });
    const session = await QemuSession.start({
      ...{ binary: findQemu(), type: 'q35', accel: 'tcg', smp: 1, bios: false, extraArgs: [], layout, needed: 0 },
      onConsole: (bytes) => record.console(bytes),
      onEvent: (event) => record.event(event),
    });
    return new Card(session, record, console);
  }

  /** The name by which other programs open its memory, which is a file without a name. */
  get path(): string {
    return `/proc/${String(process.pid)}/fd/${String(this.session.ram.fd)}`;
  }

  /** All of its memory, a copy. */
  memory(): Uint8Array {
    return this.session.ram.read(0n, Number(this.session.options.layout.low));
  }

  fill(value: number): void {
    this.session.ram.write(0n, new Uint8Array(Number(this.session.options.layout.low)).fill(value));
  }

  /** Lets it run until its user space has said its last line, or it has ended. @returns its console's text */
  async run(cpu: CpuState): Promise<string> {
    const { session } = this;
    await setCpuState(session.gdb, session.ram, cpu, true);
    const guest = new QemuGuest(session, this.#record);
    this.#console.onText = () => {
      if (this.#console.text.includes(LAST_LINE)) void guest.stop();
    };
    const limit = setTimeout(() => void guest.stop(), PATIENCE_MS);
    await guest.exited;
    clearTimeout(limit);
    return this.#console.text;
  }

  async stop(): Promise<void> {
    await this.session.stop();
  }
}
