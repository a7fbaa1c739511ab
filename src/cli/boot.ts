/** The `boot` command: starts a guest and connects its serial console to the terminal. */
import { constants } from 'node:os';
import { describeError, BootImageError } from '../bytes/error.js';
import { SERIAL_COMMAND_LINE } from '../boot/command-line.js';
import { resumeAtKernel } from '../boot/hook.js';
import type { BootPlan } from '../boot/plan.js';
import { BOOT_PARAMS } from '../boot/zero-page.js';
import { recoverVmlinux } from '../kernel/recover.js';
import { LastWords } from '../machines/last-words.js';
import type { Guest, GuestExit, Machine, StartOptions } from '../machines/machine.js';
import type { QemuOptions } from '../machines/qemu/qemu-machine.js';
import { attachConsole } from './console.js';
import { toJsonLine, type CliIo, type CommonOptions } from './io.js';
import type { PlanOptions } from './options.js';
import { preparePlan, type PreparedPlan } from './prepare-plan.js';
import { probeJson, ProbeListener, probeName } from './probe.js';

export interface BootOptions extends CommonOptions, PlanOptions {
  readonly machine?: 'v86' | 'qemu';
  readonly qemuMachine?: 'q35' | 'pc' | 'microvm';
  readonly smp?: number;
  readonly bios?: string;
  /** Seconds. */
  readonly timeout?: number;
  /** The run has succeeded once the console shows this. */
  readonly until?: string;
  readonly timing?: boolean;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
/** How much of the console is repeated when the guest made no end. */
const LINES_SHOWN = 10;

function qemuOptions({ qemuMachine, smp }: BootOptions): QemuOptions {
  return {
    ...(qemuMachine === undefined ? {} : { machine: qemuMachine }),
    ...(smp === undefined ? {} : { smp }),
  };
}

/**
 * The options with what the machine itself asks of the command line in front: what follows " -- " is for init, and of
 * a parameter that the user gives, too, the kernel takes the last.
 */
async function withKernelParameters(options: BootOptions): Promise<BootOptions> {
  if (options.qemuMachine === undefined || options.machine === 'v86') return options;
  const { kernelParameters } = await import('../machines/qemu/qemu-machine.js');
  const parameters = await kernelParameters(qemuOptions(options));
  return { ...options, append: [...parameters, options.append ?? SERIAL_COMMAND_LINE].join(' ') };
}

function refuseBios({ bios }: BootOptions): void {
  if (bios === undefined) return;
  throw new BootImageError('bad-argument', 'a QEMU machine takes its own BIOS', {
    field: '--bios',
    hint: 'drop it, or use --machine v86 for a 32-bit kernel',
  });
}

async function loadMachine(plan: BootPlan, options: BootOptions): Promise<Machine> {
  const forQemu = options.qemuMachine !== undefined || plan.bits === 64;
  const name = options.machine ?? (forQemu ? 'qemu' : 'v86');
  if (name === 'v86') {
    const hint = 'use --machine qemu';
    if (options.qemuMachine !== undefined)
      throw new BootImageError('bad-argument', 'v86 is no QEMU machine', { field: '--qemu-machine', hint });
    if (options.smp !== undefined && options.smp > 1)
      throw new BootImageError('bad-argument', 'v86 has one processor', { field: '--smp', hint });
    const { createNodeV86Machine } = await import('../machines/v86/node.js');
    return createNodeV86Machine(options.bios === undefined ? {} : { bios: options.bios });
  }
  refuseBios(options);
  const { createQemuMachine } = await import('../machines/qemu/qemu-machine.js');
  return createQemuMachine(qemuOptions(options));
}

/** Why the guest was told to stop. */
type Stop =
  | { readonly by: 'user' }
  | { readonly by: 'text' }
  | { readonly by: 'timeout' }
  | { readonly by: 'signal'; readonly name: (typeof SIGNALS)[number] };

/** Everything that can end a guest from outside, gathered in one place so that it is taken back in one place. */
class Stopper {
  readonly #abort = new AbortController();
  readonly #handlers: (readonly [(typeof SIGNALS)[number], () => void])[];
  readonly #timer: NodeJS.Timeout | undefined;
  reason: Stop | null = null;

  constructor(seconds: number | undefined) {
    this.#handlers = SIGNALS.map((name) => [name, () => this.stop({ by: 'signal', name })]);
    for (const [name, handler] of this.#handlers) process.on(name, handler);
    if (seconds !== undefined) this.#timer = setTimeout(() => this.stop({ by: 'timeout' }), seconds * 1000);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  stop(reason: Stop): void {
    this.reason ??= reason;
    this.#abort.abort();
  }

  release(): void {
    clearTimeout(this.#timer);
    for (const [name, handler] of this.#handlers) process.removeListener(name, handler);
  }
}

/** What a run leaves behind for the report. */
interface Run {
  readonly words: LastWords;
  hostMs: { read: number; decompress: number; relocate: number; place: number };
  firstOutput: number | null;
  guest: Guest | null;
  /** What the host's part at the hook threw: the machine only learns that it failed. */
  hookFailure: Error | null;
  /** Null for every kernel but our own probe. */
  readonly probe: ProbeListener | null;
}

/** Says what a start can do about a kernel that is no ELF file; the library's hint is about taking it out. */
function explainNoElf(error: unknown): never {
  if (!(error instanceof BootImageError) || error.code !== 'payload-not-elf') throw error;
  throw new BootImageError(error.code, error.message, {
    offset: error.offset,
    field: error.field,
    hint: 'enter it at the setup or decompressor stage',
    cause: error,
  });
}

/** The host's part at the hook: the kernel, decompressed now, goes where the image's own setup has left room. */
async function answerHook(
  { image, request, plan, times }: PreparedPlan,
  options: BootOptions,
  ...[bootParams, read]: Parameters<NonNullable<StartOptions['onHook']>>
): Promise<BootPlan> {
  const started = performance.now();
  const vmlinux = await recoverVmlinux(image, { limit: options.limit }).catch(explainNoElf);
  const recovered = performance.now();
  const page = await read(bootParams, BOOT_PARAMS.size);
  const resumed = resumeAtKernel(image, vmlinux, plan, { bootParams, page }, request);
  times.decompress += recovered - started;
  times.relocate += performance.now() - recovered;
  return resumed;
}

async function runGuest(path: string, options: BootOptions, io: CliIo, stopper: Stopper, run: Run): Promise<GuestExit> {
  if ((options.machine ?? (options.qemuMachine && 'qemu')) === 'qemu') refuseBios(options);
  const prepared = await preparePlan(path, await withKernelParameters(options), SERIAL_COMMAND_LINE, stopper.signal);
  run.hostMs = { ...prepared.times, place: 0 };
  const machine = await loadMachine(prepared.plan, options);
  const consoleOut = io.asJson ? process.stderr : process.stdout;
  const { guest, timing } = await machine.start(prepared.plan, {
    signal: stopper.signal,
    onConsole: (bytes) => {
      run.firstOutput ??= performance.now();
      run.words.add(bytes);
      consoleOut.write(bytes);
      const reported = run.probe?.add(bytes) === true;
      if (reported || (options.until !== undefined && run.words.includes(options.until))) stopper.stop({ by: 'text' });
    },
    onHook: (...hooked) =>
      answerHook(prepared, options, ...hooked).catch((error: unknown) => {
        run.hookFailure = error instanceof Error ? error : new Error(String(error));
        throw run.hookFailure;
      }),
    onNote: (line) => io.note(line),
  });
  run.guest = guest;
  let detach: (() => void) | undefined;
  try {
    // Standard input may have been the image.
    if (path !== '-') {
      detach = attachConsole(process.stdin, {
        send: (bytes) => guest.write(bytes),
        leave: () => stopper.stop({ by: 'user' }),
      });
    }
    const exit = await guest.exited;
    if (run.hookFailure !== null) throw run.hookFailure;
    return exit;
  } finally {
    detach?.();
    run.hostMs = { ...prepared.times, place: timing.place };
    await guest.stop();
  }
}

/** The guest's end in one sentence, and what it said last, for a run that failed. */
function explainFailure(exit: GuestExit, stop: Stop | null, options: BootOptions, run: Run): string[] {
  const what =
    stop?.by === 'timeout'
      ? `the guest made no end within ${options.timeout ?? 0} s`
      : `the guest ${exit.end === 'failed' ? 'broke down' : 'stopped'}: ${exit.reason}`;
  const hint = stop?.by === 'timeout' ? 'give it more time with --timeout' : undefined;
  const lines = [`bzelf: ${describeError(new BootImageError('guest-failed', what, { hint }))}`];
  const said = run.words.lines(LINES_SHOWN);
  const screen = said.length > 0 ? [] : (run.guest?.screen?.() ?? []).filter((line) => line !== '');
  if (said.length > 0) lines.push('bzelf: the last lines of its console:', ...said.map((line) => `  ${line}`));
  else if (screen.length > 0)
    lines.push('bzelf: nothing came from its serial port; its screen:', ...screen.map((line) => `  ${line}`));
  else lines.push('bzelf: nothing came from its serial port');
  return lines;
}

function statusOf(exit: GuestExit, stop: Stop | null): number {
  if (stop?.by === 'signal') return 128 + constants.signals[stop.name];
  if (stop?.by === 'user' || stop?.by === 'text') return 0;
  return stop === null && exit.end === 'powered-off' ? 0 : 1;
}

/** Tenths of a millisecond are all that is worth telling. */
const rounded = (milliseconds: number): number => Math.round(milliseconds * 10) / 10;

/** `cpu_ms` is this process's own CPU time, Node's start included; QEMU's is not. */
function timesOf(run: Run): Record<string, unknown> {
  const cpu = process.cpuUsage();
  return {
    host_ms: Object.fromEntries(Object.entries(run.hostMs).map(([name, value]) => [name, rounded(value)])),
    first_output_ms: run.firstOutput === null ? null : rounded(run.firstOutput),
    total_ms: rounded(performance.now()),
    cpu_ms: rounded((cpu.user + cpu.system) / 1000),
    ...(run.guest?.instructions === undefined ? {} : { instructions: run.guest.instructions() }),
  };
}

/**
 * Runs until the guest ends, the time is over, or the user or a signal ends it.
 * @returns 0 when the guest has powered off, has said what `--until` waits for, or the user has left; 1 when it failed
 * or the probe found a fault; 128 + n for signal n.
 */
export async function runBoot(path: string, options: BootOptions, io: CliIo): Promise<number> {
  const stopper = new Stopper(options.timeout);
  const run: Run = {
    words: new LastWords(),
    hostMs: { read: 0, decompress: 0, relocate: 0, place: 0 },
    firstOutput: null,
    guest: null,
    hookFailure: null,
    probe: probeName(path) === null ? null : new ProbeListener(),
  };
  try {
    const exit = await runGuest(path, options, io, stopper, run).catch((error: unknown): GuestExit => {
      if (stopper.reason === null) throw error;
      return { end: 'stopped', reason: '' };
    });
    const stop = stopper.reason;
    const ended = statusOf(exit, stop);
    const complaint = ended === 0 && stop?.by !== 'user' ? (run.probe?.complaint ?? null) : null;
    const status = complaint === null ? ended : 1;
    if (complaint !== null) process.stderr.write(`bzelf: ${complaint}\n`);
    else if (status === 1) process.stderr.write(`${explainFailure(exit, stop, options, run).join('\n')}\n`);
    else if (stop?.by === 'user') io.note('\nbzelf: left the guest');
    else if (exit.reason !== '') io.note(`bzelf: ${exit.reason}`);
    if (io.asJson) {
      const report = run.probe?.report ?? null;
      io.json({
        end: stop?.by ?? exit.end,
        reason: exit.reason,
        ...timesOf(run),
        ...(report === null ? {} : { report: probeJson(report) }),
      });
    }
    if (options.timing === true) process.stderr.write(`${toJsonLine(timesOf(run))}\n`);
    return status;
  } finally {
    stopper.release();
  }
}
