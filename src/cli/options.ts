/** Options of the commands, apart from their work, so that `--help` loads nothing else. */
import { type Command, InvalidArgumentError } from 'commander';
import { BootImageError } from '../bytes/error.js';

/** Options that work everywhere. */
export function addCommonOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON document and nothing else on stdout')
    .option('--quiet', 'no progress and no remarks on stderr')
    .option('--no-color', 'no colours (NO_COLOR works too)');
}

/** "64M", "1G", "0x1000" as bytes. */
export function parseSize(text: string): number {
  const match = /^(0x[0-9a-f]+|\d+)([kmgt]?)(i?b)?$/i.exec(text.trim());
  const scale = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }[(match?.[2] ?? '').toLowerCase()];
  const value = match === null || scale === undefined ? Number.NaN : Number(match[1]) * scale;
  if (!Number.isSafeInteger(value) || value <= 0) throw new InvalidArgumentError('write a size such as 512M or 1G.');
  return value;
}

export function parseSeconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('write a number of seconds.');
  return value;
}

export function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 64)
    throw new InvalidArgumentError('write a number from 1 to 64.');
  return value;
}

export function collect(value: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

export const STAGES = ['setup', 'decompressor', 'hook', 'kernel'] as const;
export const PROTOCOLS = ['linux16', 'linux32', 'linux64', 'pvh', 'xen-pv'] as const;
export const COMPRESSIONS = ['none', 'gzip', 'bzip2', 'lzma', 'xz', 'lzo', 'lz4', 'zstd'] as const;

/** A parser for an option that takes one of a few words. */
export function oneOf<const T extends readonly string[]>(words: T): (text: string) => T[number] {
  return (text) => {
    if (!words.includes(text)) throw new InvalidArgumentError(`choose one of ${words.join(', ')}.`);
    return text;
  };
}

export function addLimitOption(command: Command): Command {
  return command.option('--limit <size>', 'never decompress to more than this', parseSize, 2 ** 30);
}

/** What `plan` and `boot` share. */
export function addPlanOptions(command: Command): Command {
  return addLimitOption(command)
    .option('--enter <stage>', `where the guest starts: ${STAGES.join(', ')}`, oneOf(STAGES))
    .option('--protocol <protocol>', `boot protocol: ${PROTOCOLS.join(', ')}`, oneOf(PROTOCOLS))
    .option('--memory <size>', 'guest memory', '512M')
    .option('--e820 <file>', 'memory map: JSON, or lines such as the kernel prints')
    .option('--initrd <file>', 'initial RAM disk')
    .option('--append <text>', 'kernel command line')
    .option('--kaslr [seed]', 'place the kernel at a random address; a seed makes it repeatable')
    .option('--role <role>', 'xen-pv: dom0 or domu', oneOf(['dom0', 'domu'] as const));
}

export interface PlanOptions {
  readonly enter?: (typeof STAGES)[number];
  readonly protocol?: (typeof PROTOCOLS)[number];
  readonly memory: string;
  readonly e820?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly kaslr?: string | true;
  readonly role?: 'dom0' | 'domu';
  readonly limit: number;
}

/**
 * Standard input can be read once.
 * @param files names by argument or option, `-` for standard input.
 * @throws BootImageError `bad-argument` where two of them are standard input
 */
export function checkStandardInput(files: Readonly<Record<string, string | undefined>>): void {
  const [first, second] = Object.keys(files).filter((field) => files[field] === '-');
  if (first === undefined || second === undefined) return;
  throw new BootImageError('bad-argument', `${first} and ${second} cannot both come from standard input`, {
    field: second,
    hint: 'name a file',
  });
}
