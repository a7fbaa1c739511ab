/** The `load` command: writes a plan into a window on another machine's memory and tells how to start it there. */
import { constants } from 'node:os';
import { BootImageError } from '../bytes/error.js';
import { planToJson } from '../boot/plan-json.js';
import type { BootPlan } from '../boot/plan.js';
import type { EdgeRule } from '../machines/device-window/spans.js';
import type { FilePlace, FileWindowPlace } from '../machines/device-window/file-window.js';
import type { AccessWidth } from '../machines/device-window/memory-window.js';
import type { WriteOptions, WriteReport } from '../machines/device-window/write-window.js';
import { sizeText } from '../explain/text.js';
import type { CliIo, CommonOptions } from './io.js';
import type { PlanOptions } from './options.js';
import { drawPlan } from './plan-drawing.js';
import { preparePlan } from './prepare-plan.js';

export interface LoadOptions extends CommonOptions, PlanOptions {
  /** FILE[@OFFSET[:LENGTH]] */
  readonly window: string;
  /** Guest physical address of the window's first byte. */
  readonly windowAddress?: string;
  readonly width: '1' | '2' | '4' | '8';
  readonly edges: EdgeRule;
  /** FILE@OFFSET */
  readonly baseRegister?: string;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SCALES: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** "4096", "0x1000", "4K": unlike sizes, 0 is a number here. */
function parseNumber(text: string, field: string): number {
  const match = /^(0x[0-9a-f]+|\d+)([kmg]?)$/i.exec(text);
  const value = match === null ? Number.NaN : Number(match[1]) * (SCALES[(match[2] ?? '').toLowerCase()] ?? 1);
  if (Number.isSafeInteger(value)) return value;
  throw new BootImageError('bad-argument', `"${text}" is no offset or length`, {
    field,
    hint: 'write 4096, 0x1000 or 4K',
  });
}

/** A file name may hold "@" and, as PCI devices' do, ":"; what looks like a number behind the last "@" is the offset. */
function parsePlace(text: string, field: string): FileWindowPlace {
  const match = /^(.+)@([0-9a-fx]+[kmg]?)(?::([0-9a-fx]+[kmg]?))?$/i.exec(text);
  const [, path = text, offset = '0', length] = match ?? [];
  return {
    path,
    offset: parseNumber(offset, field),
    ...(length === undefined ? {} : { length: parseNumber(length, field) }),
  };
}

function parseRegister(text: string): FilePlace {
  const { path, offset, length } = parsePlace(text, '--base-register');
  if (path !== text && length === undefined) return { path, offset };
  throw new BootImageError('bad-argument', `"${text}" names no register`, {
    field: '--base-register',
    hint: 'write FILE@OFFSET',
  });
}

/** Draws a line that is written over, on a terminal only. */
function progressBar(io: CliIo): NonNullable<WriteOptions['onProgress']> {
  return (step, done, total) => {
    if (!io.interactive) return;
    const end = step === 'verify' && done === total ? '\r\x1b[K' : '';
    process.stderr.write(`\r${step} ${sizeText(done)} of ${sizeText(total)}\x1b[K${end}`);
  };
}

async function place(plan: BootPlan, options: LoadOptions, io: CliIo, signal: AbortSignal): Promise<WriteReport> {
  const { baseRegister, windowAddress = '0' } = options;
  const { openFileWindow } = await import('../machines/device-window/file-window.js');
  const { writeWindow } = await import('../machines/device-window/write-window.js');
  const window = await openFileWindow(parsePlace(options.window, '--window'), {
    address: BigInt(parseNumber(windowAddress, '--window-address')),
    ...(baseRegister === undefined ? {} : { baseRegister: parseRegister(baseRegister) }),
  });
  try {
    return await writeWindow(plan.regions, window, {
      width: Number(options.width) as AccessWidth,
      edges: options.edges,
      signal,
      onProgress: progressBar(io),
    });
  } finally {
    window.close();
  }
}

/** Everything that the card's processor needs before its first instruction, a line each. */
function startLines(plan: BootPlan): string[] {
  const { registers, cs, data, gdt, ...rest } = planToJson(plan).cpu;
  const join = (parts: object | null): string =>
    Object.entries(parts ?? { none: '' })
      .map(([name, value]) => `${name} ${String(value)}`)
      .join(', ');
  return Object.entries({ ...rest, ...registers, cs: join(cs), data: join(data), gdt: join(gdt) }).map(
    ([name, value]) => `${name.padEnd(8)}${value}`,
  );
}

export async function runLoad(path: string, options: LoadOptions, io: CliIo): Promise<number> {
  const abort = new AbortController();
  let caught: (typeof SIGNALS)[number] | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    caught = name as (typeof SIGNALS)[number];
    abort.abort();
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    const { plan } = await preparePlan(path, options, '', abort.signal);
    if (plan.hook !== null) {
      throw new BootImageError('unsupported', 'nobody would answer the hook behind a window', {
        field: '--enter',
        hint: 'use --enter kernel or --enter decompressor',
      });
    }
    const report = await place(plan, options, io, abort.signal);
    if (plan.firmware === 'bios') io.note('this start needs a BIOS that has initialised itself before the load');
    if (io.asJson) {
      io.json({ ...planToJson(plan), window: report });
      return 0;
    }
    const moved = report.moves > 2 ? `; the aperture was placed ${String(report.moves)} times` : '';
    io.out(`${drawPlan(plan, io.width, io).join('\n')}\n\n`);
    io.out(
      `${sizeText(report.written)} written and ${sizeText(report.verified)} read back${moved}; start the processor with\n`,
    );
    io.out(`${startLines(plan).join('\n')}\n`);
    return 0;
  } catch (error) {
    if (caught === undefined) throw error;
    io.note(`bzelf: ended by ${caught}; the memory behind the window is incomplete`);
    return 128 + constants.signals[caught];
  } finally {
    for (const name of SIGNALS) process.off(name, onSignal);
  }
}
