/** The `extract` command: takes something out of an image and writes it as it is. */
import { BootImageError } from '../bytes/error.js';
import { hex } from '../bytes/numbers.js';
import { readBootImage } from '../bzimage/read-boot-image.js';
import { extract, type ExtractRequest } from '../explain/extract.js';
import { readImage, writeFileAtomically } from '../node/files.js';
import type { CliIo, CommonOptions } from './io.js';

export interface ExtractOptions extends CommonOptions {
  readonly output?: string;
  readonly what: ExtractRequest['what'];
  readonly symbols?: boolean;
  /** True: from a cryptographic source; a text: repeatable. */
  readonly kaslr?: string | true;
  /** With `kaslr`: the RAM that the guest has at least; 256M when absent. */
  readonly memory?: string;
  readonly limit: number;
}

/** What a terminal can show. */
const TEXT: readonly ExtractOptions['what'][] = ['config', 'symbols', 'notes'];

function checkOptions(options: ExtractOptions, io: CliIo): void {
  const refuse = (field: string, message: string, hint: string): never => {
    throw new BootImageError('bad-argument', message, { field, hint });
  };
  const { what, output = '-' } = options;
  if (what !== 'vmlinux') {
    if (options.symbols === true)
      refuse('--symbols', `--symbols does not go with --what ${what}`, 'drop one of the two');
    if (options.kaslr !== undefined)
      refuse('--kaslr', `--kaslr does not go with --what ${what}`, 'drop one of the two');
  }
  if (output !== '-') return;
  if (io.asJson && what !== 'notes')
    refuse('--json', 'standard output cannot take both JSON and the data', 'use -o FILE');
  if (process.stdout.isTTY && !TEXT.includes(what)) {
    refuse('--output', `${what} is binary and standard output is a terminal`, 'use -o FILE, or -o - | ...');
  }
}

function requestOf({ what, symbols, kaslr, memory, limit }: ExtractOptions): ExtractRequest {
  const place = { seed: kaslr === true ? null : (kaslr ?? null), ...(memory === undefined ? {} : { memory }) };
  return {
    what,
    limit,
    ...(symbols === undefined ? {} : { symbols }),
    ...(kaslr === undefined ? {} : { kaslr: place }),
  };
}

/**
 * @throws BootImageError whatever reading and decompressing refuse; `not-found-in-image`, `bad-argument`,
 * `file-unwritable`
 */
export async function runExtract(path: string, options: ExtractOptions, io: CliIo): Promise<number> {
  checkOptions(options, io);
  const { output = '-', what } = options;
  const { bytes, move, document } = await extract(readBootImage(readImage(path)), requestOf(options));
  if (move !== undefined)
    io.note(`moved by ${hex(move.physicalDelta)} in physical and ${hex(move.virtualDelta)} in virtual memory`);
  if (io.asJson && output === '-') {
    io.json(document);
    return 0;
  }
  writeFileAtomically(output, bytes);
  if (io.asJson) io.json({ what, file: output, size: bytes.length, ...move });
  return 0;
}
