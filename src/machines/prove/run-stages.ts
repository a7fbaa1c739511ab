/** Runs an image's own setup and decompressor in QEMU and stops where each hands over. */
import { BootImageError } from '../../bytes/error.js';
import { ByteView } from '../../bytes/byte-view.js';
import type { MemoryMap } from '../../boot/memory-map.js';
import type { BootPlan } from '../../boot/plan.js';
import { planBoot } from '../../boot/plan-boot.js';
import type { BootImage } from '../../bzimage/boot-image.js';
import { setupField } from '../../bzimage/setup-header.js';
import type { PayloadPromise, PossibleEntry, ReadMemory } from '../../verify/prove-payload.js';
import type { FoundCpu, FoundSegment } from '../../verify/prove-state.js';
import type { LastWords } from '../last-words.js';
import { setCpuState } from '../qemu/cpu-state.js';
import { deferred } from '../qemu/deferred.js';
import { findQemu } from '../qemu/find-qemu.js';
import { untilHalted } from '../qemu/halt.js';
import { ramLayout } from '../qemu/ram-layout.js';
import { GuestRecord } from '../qemu/qemu-guest.js';
import { QemuSession } from '../qemu/session.js';
import { readTextScreen } from '../qemu/text-screen.js';

export interface RunOptions {
  readonly memory: MemoryMap;
  readonly commandLine: string;
  /** Milliseconds for the image's own stages. */
  readonly timeout: number;
  /** QEMU's program name or path. */
  readonly binary?: string;
  readonly signal?: AbortSignal;
}

/** What is asked of the guest while it stands; memory reads are valid only until the returned promise settles. */
export interface StageObserver {
  /** Setup has jumped to code32_start; `address` is where the CPU stands. */
  onProtectedMode(address: bigint, read: ReadMemory): void;
  /** The decompressor has jumped to the kernel. */
  onKernel(entry: PossibleEntry, cpu: FoundCpu, read: ReadMemory): void;
}

const GENERAL = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'] as const;
/** The first words of every kernel's own: control has come to it unseen. */
const BANNER = 'Linux version ';
/** How many of the guest's last lines are repeated when it came to no end. */
const LINES_SHOWN = 5;
const CODE32_START = setupField('code32_start').offset;

function parseSegment(registers: string, name: string): FoundSegment {
  const match = new RegExp(`^${name} *=([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)`, 'm').exec(registers);
  const [selector = 0, base = 0, limit = 0, flags = 0] = (match ?? []).slice(1).map((text) => BigInt(`0x${text}`));
  const access = (Number(flags) >>> 8) & 0xf0ff;
  return { selector: Number(selector), base: BigInt(base), limit: BigInt(limit), access };
}

async function readCpu({ gdb, qmp }: QemuSession): Promise<FoundCpu> {
  const registers: Record<string, bigint> = {};
  for (const name of GENERAL) registers[name] = await gdb.readRegister(name);
  const text = (await qmp.monitor('info registers')).replaceAll('\r', '');
  return {
    registers,
    segments: {
      cs: parseSegment(text, 'CS'),
      ds: parseSegment(text, 'DS'),
      es: parseSegment(text, 'ES'),
      ss: parseSegment(text, 'SS'),
    },
    rip: await gdb.readRegister('rip'),
    rflags: await gdb.readRegister('eflags'),
    cr0: await gdb.readRegister('cr0'),
    cr3: await gdb.readRegister('cr3'),
    cr4: await gdb.readRegister('cr4'),
    efer: await gdb.readRegister('efer'),
  };
}

/** A conventional start: the protected-mode part goes to memory flat, even if it is an ELF file. */
export function conventionalPlan(image: BootImage, memory: MemoryMap, commandLine: string): BootPlan {
  return planBoot({ ...image, stageElf: null }, null, { stage: 'setup', memory, commandLine });
}

function code32Start(plan: BootPlan): bigint {
  const setup = plan.regions.find(({ purpose }) => purpose === 'setup');
  return BigInt(new ByteView(setup?.bytes ?? new Uint8Array(0)).u32(CODE32_START, 'code32_start'));
}

/**
 * Lets the guest run until it stands at the kernel's entry, the kernel in place.
 *
 * Where the kernel will be is seen when it comes to be there: a write to the first byte of a possible place. Only then
 * are breakpoints set on its entries, since many of them, or one among the decompressor's own code, slow QEMU down
 * twentyfold.
 */
async function runToKernel(session: QemuSession, promise: PayloadPromise, memory: MemoryMap): Promise<PossibleEntry> {
  const { gdb, ram } = session;
  const read: ReadMemory = (address, length) => ram.read(address, length);
  const entries: PossibleEntry[] = [];
  for (const base of promise.bases(memory)) await gdb.setWatchpoint(base);
  for (;;) {
    const base = await gdb.resume();
    if (base !== null) {
      if (!promise.firstBytes.includes(read(base, 1)[0] ?? 0)) continue;
      await gdb.clearWatchpoint(base);
      for (const entry of promise.entriesAt(base)) {
        entries.push(entry);
        await gdb.setBreakpoint(entry.address);
      }
      continue;
    }
    const rip = await gdb.readRegister('rip');
    const here = entries.filter(({ address }) => address === rip);
    const entry = here.find((candidate) => promise.isThere(candidate, read));
    if (entry !== undefined) return entry;
    if (here.length === 0) throw new BootImageError('guest-failed', 'the guest stopped where nobody asked it to');
    // The image's own code passes here: step over the breakpoint.
    await gdb.clearBreakpoint(rip);
    await gdb.step();
    await gdb.setBreakpoint(rip);
  }
}

/** Runs the stages in a QEMU that stands ready; returns when the kernel has been observed. */
async function observe(
  session: QemuSession,
  plan: BootPlan,
  { memory }: RunOptions,
  promise: PayloadPromise,
  observer: StageObserver,
): Promise<void> {
  const { gdb, ram } = session;
  const read: ReadMemory = (address, length) => ram.read(address, length);
  await session.guarded(async () => {
    await session.runBios();
    await session.placeLive(plan.regions);
    await setCpuState(gdb, ram, plan.cpu, false);
  });
  await session.guarded(async () => {
    const start = code32Start(plan);
    await gdb.setBreakpoint(start);
    await gdb.resume();
    observer.onProtectedMode(await gdb.readRegister('rip'), read);
    await gdb.clearBreakpoint(start);
    const entry = await runToKernel(session, promise, memory);
    observer.onKernel(entry, await readCpu(session), read);
  }, null);
}

/** What the guest said last: on its console, else on its screen. */
async function lastWords({ qmp }: QemuSession, words: LastWords): Promise<readonly string[]> {
  const said = words.lines(LINES_SHOWN);
  if (said.length > 0) return said;
  return (await readTextScreen(qmp)).filter((line) => line !== '').slice(-LINES_SHOWN);
}

/** Why the kernel was never seen to be entered. */
export interface StagesFailure {
  /** One sentence. */
  readonly reason: string;
  /** What the guest said last, line by line. */
  readonly lastWords: readonly string[];
}

/**
 * @returns null when all went well.
 * @throws BootImageError `tool-missing`, `machine-failed`, `aborted`, and what planning the setup stage refuses.
 */
export async function runStages(
  image: BootImage,
  promise: PayloadPromise,
  options: RunOptions,
  observer: StageObserver,
): Promise<StagesFailure | null> {
  const plan = conventionalPlan(image, options.memory, options.commandLine);
  const layout = ramLayout(plan, 'q35');
  if (layout === null)
    throw new BootImageError('does-not-fit', "QEMU's q35 cannot have this memory", { field: 'memory' });
  const timer = AbortSignal.timeout(options.timeout);
  const signal = options.signal === undefined ? timer : AbortSignal.any([timer, options.signal]);
  const tooLate = `the kernel was not entered within ${options.timeout / 1000} s`;
  const record = new GuestRecord((): void => {
    if (record.words.includes(BANNER))
      missed.resolve('the kernel runs, but was entered nowhere where its headers allow it');
  });
  const missed = deferred<string>();
  const late = deferred<string>();
  let session: QemuSession | null = null;
  try {
    session = await QemuSession.start({
      ...{ binary: findQemu(options.binary), type: 'q35', accel: 'tcg', smp: 1, bios: true, extraArgs: [], layout },
      needed: plan.regions.reduce((sum, { bytes }) => sum + (bytes?.length ?? 0), 0),
      onConsole: (bytes) => record.console(bytes),
      onEvent: (event) => record.event(event),
      signal,
    });
    const { ended, process } = session;
    const onAbort = (): void => late.resolve(tooLate);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    const gone = ended.then((end) => {
      // QEMU ends with its guest.
      if (record.shutdown === null) throw process.failure(end);
      return 'the guest ended before the kernel was entered';
    });
    const halted = untilHalted(session, () => record.bytes).then(() => 'the guest halted its processors');
    const seen = observe(session, plan, options, promise, observer).then(() => null);
    const run = seen.catch((error: unknown) => (record.shutdown === null ? Promise.reject(error as Error) : gone));
    const outcome = await Promise.race([run, missed.promise, late.promise, halted, gone]);
    if (options.signal?.aborted === true) throw new BootImageError('aborted', 'stopped');
    return outcome === null ? null : { reason: outcome, lastWords: await lastWords(session, record.words) };
  } catch (error) {
    if (options.signal?.aborted === true) throw new BootImageError('aborted', 'stopped', { cause: error });
    if (timer.aborted) return { reason: tooLate, lastWords: [] };
    throw error;
  } finally {
    await session?.stop();
  }
}
