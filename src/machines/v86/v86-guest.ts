/** A guest in v86: its clock, its console, and how it ends. */
import { BootImageError, describeError } from '../../bytes/error.js';
import { hex } from '../../bytes/numbers.js';
import type { BootPlan, HookPoint } from '../../boot/plan.js';
import { LastWords } from '../last-words.js';
import type { Guest, GuestExit, StartOptions, StartTiming } from '../machine.js';
import { placeRegions, requireSupported, setCpuState } from './cpu-state.js';
import type { V86Cpu, V86Emulator } from './internals.js';
import { LANDING_PORT } from './landing.js';

/** SeaBIOS takes about a second; where it never starts our boot sector, this ends the wait. */
const BIOS_LIMIT_MS = 120_000;

/** Why the CPU stopped, from the trap that v86's WebAssembly raised. */
function explainTrap(error: unknown): GuestExit {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  // v86 gives up where an exception finds no handler: what a real CPU answers with a triple fault.
  if (stack.includes('call_interrupt_vector')) return { end: 'halted', reason: 'triple fault' };
  return { end: 'failed', reason: `v86 gave up: ${stack.split('\n', 1)[0] ?? ''}` };
}

/** Without ACPI a Linux guest that powers off halts its CPU, and one that reboots resets the machine. */
function explainEnd(cause: 'halt' | 'reset', words: LastWords): GuestExit {
  const { panic } = words;
  if (panic !== null) return { end: 'halted', reason: panic };
  if (cause === 'reset') return { end: 'powered-off', reason: 'the guest reset the machine' };
  return words.poweredDown
    ? { end: 'powered-off', reason: '' }
    : { end: 'halted', reason: 'the guest halted its CPU with interrupts off' };
}

export class V86Guest implements Guest {
  readonly timing: StartTiming = { place: 0 };
  readonly exited: Promise<GuestExit>;
  readonly #emulator: V86Emulator;
  readonly #cpu: V86Cpu;
  readonly #options: StartOptions;
  readonly #words = new LastWords();
  readonly #onAbort = (): void => void this.stop();
  #output: number[] = [];
  #resolveExit!: (exit: GuestExit) => void;
  #ended = false;
  /** The CPU executes nothing until `#go`. */
  #standing = true;
  /** Seen within a tick, obeyed at its end. */
  #cause: 'halt' | 'reset' | null = null;
  #whenStanding: (() => void) | null = null;
  #counted = 0;
  #counter: number;

  constructor(emulator: V86Emulator, options: StartOptions) {
    this.#emulator = emulator;
    this.#cpu = emulator.v86.cpu;
    this.#counter = this.#cpu.instruction_counter[0] ?? 0;
    this.#options = options;
    this.exited = new Promise((resolve) => (this.#resolveExit = resolve));
    emulator.add_listener('serial0-output-byte', (byte) => this.#output.push(byte));
    emulator.add_listener('cpu-event-halt', () => (this.#cause ??= 'halt'));
    emulator.v86.do_tick = () => this.#tick();
    options.signal?.addEventListener('abort', this.#onAbort);
  }

  /** Lets the BIOS run until it starts our boot sector. @throws BootImageError `machine-failed`, `aborted` */
  async runBios(): Promise<void> {
    const landed = new Promise<void>((resolve) => this.#standAt(LANDING_PORT, () => resolve()));
    const limit = setTimeout(() => void this.#finish({ end: 'failed', reason: 'no sign of it' }), BIOS_LIMIT_MS);
    this.#go();
    const exit = await Promise.race([landed, this.exited]);
    clearTimeout(limit);
    if (exit === undefined) return;
    if (exit.end === 'stopped') throw new BootImageError('aborted', 'stopped while the BIOS was starting');
    throw new BootImageError('machine-failed', `the BIOS did not start our boot sector: ${exit.reason}`, {
      hint: 'use SeaBIOS as built for QEMU (Debian package seabios)',
    });
  }

  /** Places a plan and lets the CPU run from there. From now on a reset ends the guest. */
  begin(plan: BootPlan): void {
    this.#cpu.reboot_internal = () => {
      this.#cause ??= 'reset';
      this.#cpu.in_hlt[0] = 1;
    };
    if (plan.hook !== null) this.#watchHook(plan.hook);
    const start = performance.now();
    placeRegions(this.#cpu, plan.regions);
    setCpuState(this.#cpu, plan.cpu);
    this.timing.place += performance.now() - start;
    this.#go();
  }

  write(bytes: Uint8Array): void {
    if (!this.#ended) this.#emulator.serial_send_bytes(0, bytes);
  }

  instructions(): number {
    if (!this.#ended) {
      const counter = this.#cpu.instruction_counter[0] ?? 0;
      this.#counted += (counter - this.#counter) >>> 0;
      this.#counter = counter;
    }
    return this.#counted;
  }

  screen(): readonly string[] {
    return this.#emulator.screen_adapter.get_text_screen().map((line) => line.trimEnd());
  }

  async stop(): Promise<void> {
    await this.#finish({ end: 'stopped', reason: '' });
    await this.exited;
  }

  #go(): void {
    if (this.#ended) return;
    this.#standing = false;
    this.#emulator.v86.next_tick(0);
  }

  #tick(): void {
    if (this.#ended || this.#standing) return;
    const loop = this.#emulator.v86;
    let trap: GuestExit | null = null;
    let rest = 0;
    loop.idle = false;
    try {
      rest = this.#cpu.main_loop();
    } catch (error) {
      trap = explainTrap(error);
    }
    this.instructions();
    this.#flush();
    const then = this.#whenStanding;
    if (then !== null) {
      this.#whenStanding = null;
      this.#cause = null;
      this.#standing = true;
      then();
    } else if (trap !== null) {
      void this.#finish(trap);
    } else if (this.#cause !== null) {
      void this.#finish(explainEnd(this.#cause, this.#lastWords()));
    } else {
      loop.next_tick(rest);
    }
  }

  #flush(): void {
    if (this.#output.length === 0) return;
    const bytes = Uint8Array.from(this.#output);
    this.#output = [];
    this.#words.add(bytes);
    if (this.#words.initDiedPoweringDown) this.#cause ??= 'halt';
    this.#options.onConsole(bytes);
  }

  /** From the serial port, or from the screen where nothing came that way. */
  #lastWords(): LastWords {
    if (this.#words.lines(1).length > 0) return this.#words;
    const words = new LastWords();
    words.add(new TextEncoder().encode(this.screen().join('\n')));
    return words;
  }

  /** Stops the CPU at the guest's next 32-bit write to `port`, then calls `then` with the value written. */
  #standAt(port: number, then: (value: number) => void): void {
    this.#cpu.io.register_write(port, {}, undefined, undefined, (value) => {
      this.#cpu.in_hlt[0] = 1;
      this.#whenStanding = () => then(value >>> 0);
    });
  }

  #watchHook({ port }: HookPoint): void {
    const { onHook } = this.#options;
    if (onHook === undefined) {
      throw new BootImageError('bad-argument', 'a plan with a hook needs onHook', { field: 'onHook' });
    }
    this.#standAt(port, (value) => {
      onHook(BigInt(value), (address, length) => this.#read(address, length))
        .then((plan) => {
          if (this.#ended) return;
          requireSupported(plan);
          this.begin(plan);
        })
        .catch((error: unknown) => {
          const reason = error instanceof BootImageError ? describeError(error) : String(error);
          return this.#finish({ end: 'failed', reason });
        });
    });
  }

  /** A copy of guest memory. @throws BootImageError `out-of-bounds` */
  // eslint-disable-next-line @typescript-eslint/require-await -- a refusal must reject, not throw
  async #read(address: bigint, length: number): Promise<Uint8Array> {
    const memory = this.#cpu.mem8;
    if (address < 0n || length < 0 || address + BigInt(length) > BigInt(memory.length)) {
      throw new BootImageError('out-of-bounds', `${hex(address)} + ${hex(length)} lies outside the guest's memory`);
    }
    return memory.slice(Number(address), Number(address) + length);
  }

  async #finish(exit: GuestExit): Promise<void> {
    if (this.#ended) return;
    this.instructions();
    this.#ended = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    await this.#emulator.destroy();
    this.#resolveExit(exit);
  }
}
