/**
 * One QEMU process. Its monitor, gdb stub and serial port are inherited stream sockets and its RAM and log are files
 * without names, so that it leaves nothing behind however it ends; and it ends with this process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { BootImageError } from '../../bytes/error.js';
import { createAnonymousFile } from './anonymous-file.js';
import { deferred } from './deferred.js';
import { findProgram } from './find-qemu.js';

/** Descriptors in QEMU beyond its standard streams. */
const MONITOR_FD = 3;
const GDB_FD = 4;
const RAM_FD = 5;
const LOG_FD = 6;

export const RAM_PATH = `/dev/fd/${String(RAM_FD)}`;
export const LOG_PATH = `/dev/fd/${String(LOG_FD)}`;

/** Options that connect QEMU to the streams above. */
export const CHANNEL_OPTIONS = [
  ...['-chardev', `socket,id=monitor,fd=${String(MONITOR_FD)}`, '-mon', 'chardev=monitor,mode=control'],
  ...['-chardev', `socket,id=gdb,fd=${String(GDB_FD)}`, '-gdb', 'chardev:gdb'],
  ...['-chardev', 'stdio,id=console,signal=off'],
] as const;

/** How much of QEMU's stderr is kept for error messages. */
const KEPT_STDERR = 8192;

const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const running = new Set<ChildProcess>();

/** With its children: what PATH calls QEMU may be a script that starts it. */
function killTree({ pid, exitCode, signalCode }: ChildProcess): void {
  // Once it has ended, its number may be another's.
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has gone already.
  }
}

function killAll(): void {
  running.forEach(killTree);
}

/** Kills the guests, then lets the signal do what it would have done without this handler. */
function onSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  killAll();
  stopGuarding();
  process.kill(process.pid, signal);
}

function startGuarding(): void {
  process.on('exit', killAll);
  for (const signal of ENDING_SIGNALS) process.on(signal, onSignal);
}

function stopGuarding(): void {
  process.off('exit', killAll);
  for (const signal of ENDING_SIGNALS) process.off(signal, onSignal);
}

function guard(child: ChildProcess): void {
  if (running.size === 0) startGuarding();
  running.add(child);
}

function release(child: ChildProcess): void {
  if (running.delete(child) && running.size === 0) stopGuarding();
}

export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class QemuProcess {
  readonly console: { write(bytes: Uint8Array): void };
  readonly monitor: Duplex;
  readonly gdb: Duplex;
  /** Resolves when the process has ended and everything that it wrote has been read. Never rejects. */
  readonly ended: Promise<ProcessEnd>;
  readonly #child: ChildProcess;
  #stderr = '';
  #log = '';

  /**
   * @param ram descriptor of the file behind the guest's memory; stays the caller's.
   * @throws BootImageError `machine-failed`
   */
  constructor(binary: string, options: readonly string[], ram: number, onConsole: (bytes: Uint8Array) => void) {
    const log = createAnonymousFile(0, 0);
    // util-linux's setpriv asks the kernel to end QEMU even when this process is killed outright.
    const setpriv = findProgram('setpriv');
    const [program, args] =
      setpriv === null ? [binary, [...options]] : [setpriv, ['--pdeathsig', 'KILL', '--', binary, ...options]];
    // A process group of its own, which signals from the terminal do not reach and which can be ended as a whole.
    const child = spawn(program, args, { detached: true, stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe', ram, log] });
    this.#child = child;
    guard(child);
    const end = deferred<ProcessEnd>();
    child.on('error', (error) => {
      this.#stderr += error.message;
      end.resolve({ code: null, signal: null });
    });
    child.on('close', (code, signal) => end.resolve({ code, signal }));
    this.ended = end.promise.then((result) => {
      release(child);
      this.#log = readFileSync(log, 'latin1');
      closeSync(log);
      return result;
    });
    child.stdout?.on('data', onConsole);
    child.stderr?.on('data', (bytes: Buffer) => {
      this.#stderr = (this.#stderr + bytes.toString()).slice(-KEPT_STDERR);
    });
    child.stdin?.on('error', () => undefined);
    this.console = { write: (bytes) => void child.stdin?.write(bytes) };
    this.monitor = child.stdio[MONITOR_FD] as Duplex;
    this.gdb = child.stdio[GDB_FD] as Duplex;
  }

  /** What QEMU said on stderr, as one line; empty if nothing. */
  get complaint(): string {
    return this.#stderr
      .split('\n')
      .map((line) => line.replace(/^qemu-system-\w+: /, '').trim())
      .filter((line) => line !== '')
      .join('; ');
  }

  /** QEMU's log (`-D`); complete once `ended` has resolved. */
  get log(): string {
    return this.#log;
  }

  /** Ends it at once: it holds nothing that would need an orderly end. */
  async kill(): Promise<void> {
    killTree(this.#child);
    await this.ended;
  }

  failure(end: ProcessEnd): BootImageError {
    const how =
      end.signal !== null
        ? `was ended by ${end.signal}`
        : end.code === null
          ? 'did not start'
          : `exited with status ${String(end.code)}`;
    return new BootImageError('machine-failed', `QEMU ${how}${this.complaint === '' ? '' : `: ${this.complaint}`}`);
  }
}
