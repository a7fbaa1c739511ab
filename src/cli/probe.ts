/** `probe` in place of an image: our probe kernel, which tells who started it, how, and whether every byte is there. */
import { existsSync } from 'node:fs';
import type { BootImage } from '../bzimage/boot-image.js';
import { readBootImage } from '../bzimage/read-boot-image.js';
import { latin1 } from '../bytes/byte-view.js';
import { readImage } from '../node/files.js';
import { readProbeReport, type ProbeReport } from '../probe/report.js';
import type { PlanOptions } from './options.js';

const NAMES = ['probe', 'probe32', 'probe64'] as const;
type ProbeName = (typeof NAMES)[number];

/** What decides between the two probes where the name does not. */
export type ProbeChoice = Partial<Pick<PlanOptions, 'enter' | 'protocol'>> & { readonly machine?: 'v86' | 'qemu' };

/** The name of a probe; null for anything else, a file of that name included. */
export function probeName(path: string): ProbeName | null {
  const name = NAMES.find((candidate) => candidate === path);
  return name === undefined || existsSync(path) ? null : name;
}

/** 64 bits, unless the machine or the protocol cannot start those. */
function probeBits(name: ProbeName, { enter = 'kernel', protocol, machine }: ProbeChoice): 32 | 64 {
  if (name !== 'probe') return name === 'probe32' ? 32 : 64;
  return machine === 'v86' || (enter === 'kernel' && protocol === 'linux32') ? 32 : 64;
}

/**
 * The image of a command that starts one.
 * @throws BootImageError as `readImage`
 */
export async function openBootImage(path: string, choice: ProbeChoice): Promise<BootImage> {
  const name = probeName(path);
  if (name === null) return readBootImage(readImage(path));
  const { probeImage } = await import('../probe/image.js');
  return probeImage(probeBits(name, choice));
}

/** The kernel of a command that makes an image. @throws BootImageError as `readImage` */
export async function openKernel(path: string): Promise<BootImage> {
  const name = probeName(path);
  if (name === null) return readBootImage(readImage(path));
  const { probeElf } = await import('../probe/image.js');
  return probeElf(probeBits(name, {}));
}

/** Follows a console until the probe's report is complete. */
export class ProbeListener {
  #console = '';
  #report: ProbeReport | null = null;

  get report(): ProbeReport | null {
    return this.#report;
  }

  /** True with the bytes that complete the report. */
  add(bytes: Uint8Array): boolean {
    if (this.#report !== null) return false;
    this.#console += latin1(bytes);
    // Some machines send every byte by itself.
    if (!bytes.includes(0x0a)) return false;
    this.#report = readProbeReport(this.#console);
    return this.#report !== null;
  }

  /** What is wrong, in a few words; null if the probe found everything as promised. */
  get complaint(): string | null {
    if (this.#report === null) return 'the probe made no report';
    return this.#report.ok ? null : `the probe found wrong: ${this.#report.failed.join(', ')}`;
  }
}

/** Numbers that count and texts as JSON has them; addresses and registers stay hexadecimal. */
function jsonValue(text: string): unknown {
  if (/^\d+$/.test(text)) return Number(text);
  if (text === 'none') return null;
  const quoted = /^"(.*)"$/.exec(text)?.[1];
  return quoted?.replace(/\\x(..)/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))) ?? text;
}

/** Entries of three values: address, and what follows it. */
function jsonEntries(lines: readonly string[], names: readonly [string, string, string]): unknown[] {
  return lines.map((line) => {
    const values = line.split(' ').map(jsonValue);
    return values.length === names.length ? Object.fromEntries(names.map((name, i) => [name, values[i]])) : line;
  });
}

/** The report for `--json`. */
export function probeJson(report: ProbeReport): Record<string, unknown> {
  const single = report.keys.filter((key) => !/^(memory|setup_data|check\..*|PROBE-END)$/.test(key));
  return {
    ok: report.ok,
    failed: report.failed,
    ...Object.fromEntries(single.map((key) => [key, jsonValue(report.get(key) ?? '')])),
    memory: jsonEntries(report.all('memory'), ['address', 'size', 'type']),
    setup_data: jsonEntries(report.all('setup_data'), ['address', 'type', 'length']),
  };
}
