/** The `extract` command: takes something out of an image and writes it as it is. */
import { BootImageError } from '../bytes/error.js';
import { hex } from '../bytes/numbers.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { readBootImage } from '../bzimage/read-boot-image.js';
import type { KernelNote } from '../kernel/notes.js';
import { decompressPayload, vmlinuxOf } from '../kernel/recover.js';
import type { KernelMove } from '../kernel/relocate.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { readImage, writeFileAtomically } from '../node/files.js';
import type { CliIo, CommonOptions } from './io.js';

export interface ExtractOptions extends CommonOptions {
  readonly output?: string;
  readonly what: 'vmlinux' | 'raw' | 'payload' | 'config' | 'symbols' | 'notes' | 'btf' | 'setup';
  readonly symbols?: boolean;
  /** True: from a cryptographic source; a text: repeatable. */
  readonly kaslr?: string | true;
  /** With `kaslr`: the RAM that the guest has at least; 256M when absent. */
  readonly memory?: string;
  readonly limit: number;
}

/** What is written, and where the kernel went. */
interface Extract {
  readonly bytes: Uint8Array;
  readonly move?: KernelMove;
  /** `--json`: the document that stands for text. */
  readonly document?: unknown;
}

const DEFAULT_MEMORY = '256M';
/** What a terminal can show. */
const TEXT: readonly ExtractOptions['what'][] = ['config', 'symbols', 'notes'];

function missing(what: string, image: BootImage): BootImageError {
  return new BootImageError('not-found-in-image', `it has no ${what}: ${image.description}`, {
    hint: 'inspect shows what it has',
  });
}

/** The image that holds the kernel: the one inside a unified kernel image, else the image itself. */
function innermost(image: BootImage): BootImage {
  return image.inner === null ? image : innermost(image.inner);
}

/** The compressed bytes. Where an old image does not say where they end, only decompressing shows it. */
async function payloadOf(image: BootImage, limit: number): Promise<Uint8Array> {
  const holder = innermost(image);
  const payload =
    holder.payload?.foundBy === 'scan' ? (await decompressPayload(holder, { limit })).payload : holder.payload;
  if (payload === null) throw missing('payload', image);
  const truncated = holder.problems.find(({ id }) => id === 'payload-truncated');
  if (truncated !== undefined) {
    throw new BootImageError('payload-truncated', truncated.message, {
      offset: payload.offset,
      field: 'payload_length',
      hint: 'the file is cut off',
    });
  }
  return holder.file.slice(payload.offset, payload.length, 'payload_length');
}

function setupOf(image: BootImage): Uint8Array {
  const holder = innermost(image);
  const { setup } = holder.stages;
  if (setup === null) throw missing('setup stage', image);
  return holder.file.slice(setup.offset, setup.length, 'setup_sects');
}

/** A line for each note: owner, type, name, value. */
function formatNotes(notes: readonly KernelNote[]): string {
  return notes
    .map(({ owner, type, name, value, desc }) => {
      const shown =
        value === null
          ? [...desc].map((byte) => byte.toString(16).padStart(2, '0')).join('')
          : typeof value === 'string'
            ? value
            : typeof value === 'bigint'
              ? hex(value)
              : value.map(hex).join(' ');
      return `${owner}\t${type}\t${name ?? '-'}\t${shown}\n`;
    })
    .join('');
}

async function symbolsOf(vmlinux: Vmlinux): Promise<import('../kernel/kallsyms/kallsyms.js').KernelSymbol[]> {
  const { readKallsyms } = await import('../kernel/kallsyms/kallsyms.js');
  const symbols = readKallsyms(vmlinux);
  if (symbols !== null) return symbols;
  throw new BootImageError('not-found-in-image', 'no symbols were found in the kernel', {
    field: 'kallsyms',
    hint: 'it was built without CONFIG_KALLSYMS',
  });
}

async function chooseMove(image: BootImage, vmlinux: Vmlinux, options: ExtractOptions): Promise<KernelMove> {
  const { chooseElfMove } = await import('../boot/elf-move.js');
  const { parseMemorySize } = await import('../boot/memory-map.js');
  const { refuseUnfit } = await import('../verify/obey.js');
  const { subjectOf } = await import('../verify/subject.js');
  refuseUnfit(subjectOf(image, vmlinux), 'kernel', vmlinux.bits === 64 ? 'linux64' : 'linux32');
  return chooseElfMove(vmlinux, {
    alignment: BigInt(innermost(image).setup?.values.kernel_alignment ?? 0),
    memory: parseMemorySize(options.memory ?? DEFAULT_MEMORY),
    seed: options.kaslr === true || options.kaslr === undefined ? null : options.kaslr,
  });
}

/** The ELF file, exactly; or relocated, or with symbols, or both. */
async function vmlinuxFile(image: BootImage, vmlinux: Vmlinux, options: ExtractOptions, io: CliIo): Promise<Extract> {
  let bytes = vmlinux.elfBytes;
  let move: KernelMove | null = null;
  if (options.kaslr !== undefined) {
    const { relocatedElf } = await import('../kernel/relocated-elf.js');
    move = await chooseMove(image, vmlinux, options);
    bytes = relocatedElf(vmlinux, move);
    io.note(`moved by ${hex(move.physicalDelta)} in physical and ${hex(move.virtualDelta)} in virtual memory`);
  }
  if (options.symbols === true) {
    const { addSymbols } = await import('../elf/add-symbols.js');
    const { moveSymbols } = await import('../kernel/kallsyms/kallsyms.js');
    const { readVmlinux } = await import('../kernel/read-vmlinux.js');
    const symbols = moveSymbols(vmlinux, await symbolsOf(vmlinux), move?.virtualDelta ?? 0n);
    bytes = addSymbols(move === null ? vmlinux.elf : readVmlinux(bytes).elf, bytes, symbols);
  }
  return move === null ? { bytes } : { bytes, move };
}

async function extract(image: BootImage, options: ExtractOptions, io: CliIo): Promise<Extract> {
  const { what, limit } = options;
  if (what === 'payload') return { bytes: await payloadOf(image, limit) };
  if (what === 'setup') return { bytes: setupOf(image) };
  const payload = await decompressPayload(image, { limit });
  if (what === 'raw') return { bytes: payload.bytes };
  const vmlinux = vmlinuxOf(payload);
  const text = (content: string): Uint8Array => new TextEncoder().encode(content);
  switch (what) {
    case 'vmlinux':
      return vmlinuxFile(image, vmlinux, options, io);
    case 'config':
      return { bytes: await (await import('../kernel/ikconfig.js')).readConfig(vmlinux) };
    case 'btf':
      return { bytes: (await import('../kernel/btf.js')).readBtf(vmlinux) };
    case 'notes':
      return { bytes: text(formatNotes(vmlinux.notes)), document: vmlinux.notes };
    case 'symbols': {
      const { formatSystemMap } = await import('../kernel/kallsyms/kallsyms.js');
      return { bytes: text(formatSystemMap(await symbolsOf(vmlinux), vmlinux.bits)) };
    }
  }
}

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

/**
 * @throws BootImageError whatever reading and decompressing refuse; `not-found-in-image`, `bad-argument`,
 * `file-unwritable`
 */
export async function runExtract(path: string, options: ExtractOptions, io: CliIo): Promise<number> {
  checkOptions(options, io);
  const { output = '-', what } = options;
  const { bytes, move, document } = await extract(readBootImage(readImage(path)), options, io);
  if (io.asJson && output === '-') {
    io.json(document);
    return 0;
  }
  writeFileAtomically(output, bytes);
  if (io.asJson) io.json({ what, file: output, size: bytes.length, ...move });
  return 0;
}
