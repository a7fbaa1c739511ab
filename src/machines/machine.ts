/**
 * What every machine offers. A machine takes a plan and obeys it: it never looks inside an image.
 */
import type { BootPlan } from '../boot/plan.js';

export type GuestEnd =
  | 'powered-off' // the guest switched itself off, or reset while told not to
  | 'halted' // the guest stopped for good without powering off (triple fault, hlt with interrupts off)
  | 'timeout' // no end within the time given
  | 'stopped' // the host stopped it
  | 'failed'; // the machine broke down

export interface GuestExit {
  readonly end: GuestEnd;
  /** Why, for people; empty when there is nothing to say. */
  readonly reason: string;
}

/** A guest that runs. */
export interface Guest {
  /** Bytes to the guest's serial port. */
  write(bytes: Uint8Array): void;
  /** Resolves once, when the guest ends for whatever reason. Never rejects. */
  readonly exited: Promise<GuestExit>;
  /** Ends it and releases everything: processes, sockets, files. Safe to call twice. */
  stop(): Promise<void>;
  /** Instructions that the guest has executed, where the machine can tell. */
  instructions?(): number;
  /** The lines of the guest's text screen, where the machine has one. */
  screen?(): readonly string[];
}

/** Milliseconds on the host, as `--timing` prints them. */
export interface StartTiming {
  /** Writing the plan into the guest's memory and setting the CPU. */
  place: number;
}

export interface StartOptions {
  /** Every byte from the guest's serial port, as it comes. */
  readonly onConsole: (bytes: Uint8Array) => void;
  /**
   * For `hook` plans: called while the guest stands at the hook point, with the address of boot_params (ESI) and a
   * reader for guest memory; the plan that it returns is placed and the guest resumes with it.
   */
  readonly onHook?: (
    bootParams: bigint,
    read: (address: bigint, length: number) => Promise<Uint8Array>,
  ) => Promise<BootPlan>;
  readonly signal?: AbortSignal;
  /** Lines from the machine itself (warnings of the emulator, fall-backs). */
  readonly onNote?: (line: string) => void;
}

export interface Machine {
  readonly name: string;
  /**
   * Places the plan and lets the CPU run.
   * @throws BootImageError `unsupported` for a plan this machine cannot obey (64-bit on v86), `tool-missing`,
   * `machine-failed`, `does-not-fit`.
   */
  start(plan: BootPlan, options: StartOptions): Promise<{ readonly guest: Guest; readonly timing: StartTiming }>;
}
