/** Taking something out of an image: the kernel as it is, moved or with symbols, and what else is inside. */
import { BootImageError } from '../bytes/error.js';
import { hex } from '../bytes/numbers.js';
import type { BootImage } from '../bzimage/boot-image.js';
import type { KernelNote } from '../kernel/notes.js';
import { decompressPayload, vmlinuxOf } from '../kernel/recover.js';
import type { KernelMove } from '../kernel/relocate.js';
import type { Vmlinux } from '../kernel/vmlinux.js';

export interface ExtractRequest {
  readonly what: 'vmlinux' | 'raw' | 'payload' | 'config' | 'symbols' | 'notes' | 'btf' | 'setup';
  /** vmlinux: with a symbol table rebuilt from kallsyms. */
  readonly symbols?: boolean;
  /** vmlinux: relocated to a random base. */
  readonly kaslr?: {
    /** Null: from a cryptographic source; a text: repeatable. */
    readonly seed: string | null;
    /** The RAM that the guest has at least; "256M" when absent. */
    readonly memory?: string;
  };
  /** Bytes that the payload may decompress to. */
  readonly limit: number;
}

/** What was taken out, and where the kernel went. */
export interface Extract {
  /** Perhaps a view on the image or on the whole kernel. */
  readonly bytes: Uint8Array;
  readonly move?: KernelMove;
  /** What `bytes` says as text, as data. */
  readonly document?: unknown;
}

const DEFAULT_MEMORY = '256M';

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

async function chooseMove(
  image: BootImage,
  vmlinux: Vmlinux,
  { seed, memory = DEFAULT_MEMORY }: NonNullable<ExtractRequest['kaslr']>,
): Promise<KernelMove> {
  const { chooseElfMove } = await import('../boot/elf-move.js');
  const { parseMemorySize } = await import('../boot/memory-map.js');
  const { refuseUnfit } = await import('../verify/obey.js');
  const { subjectOf } = await import('../verify/subject.js');
  refuseUnfit(subjectOf(image, vmlinux), 'kernel', vmlinux.bits === 64 ? 'linux64' : 'linux32');
  return chooseElfMove(vmlinux, {
    alignment: BigInt(innermost(image).setup?.values.kernel_alignment ?? 0),
    memory: parseMemorySize(memory),
    seed,
  });
}

/** The ELF file, exactly; or relocated, or with symbols, or both. */
async function vmlinuxFile(image: BootImage, vmlinux: Vmlinux, request: ExtractRequest): Promise<Extract> {
  let bytes = vmlinux.elfBytes;
  let move: KernelMove | null = null;
  if (request.kaslr !== undefined) {
    const { relocatedElf } = await import('../kernel/relocated-elf.js');
    move = await chooseMove(image, vmlinux, request.kaslr);
    bytes = relocatedElf(vmlinux, move);
  }
  if (request.symbols === true) {
    const { addSymbols } = await import('../elf/add-symbols.js');
    const { moveSymbols } = await import('../kernel/kallsyms/kallsyms.js');
    const { readVmlinux } = await import('../kernel/read-vmlinux.js');
    const symbols = moveSymbols(vmlinux, await symbolsOf(vmlinux), move?.virtualDelta ?? 0n);
    bytes = addSymbols(move === null ? vmlinux.elf : readVmlinux(bytes).elf, bytes, symbols);
  }
  return move === null ? { bytes } : { bytes, move };
}

/**
 * @throws BootImageError whatever decompressing and reading refuse; `not-found-in-image`; `not-relocatable`,
 * `does-not-fit`, `rule-violated` for a kernel that cannot be moved
 */
export async function extract(image: BootImage, request: ExtractRequest): Promise<Extract> {
  const { what, limit } = request;
  if (what === 'payload') return { bytes: await payloadOf(image, limit) };
  if (what === 'setup') return { bytes: setupOf(image) };
  const payload = await decompressPayload(image, { limit });
  if (what === 'raw') return { bytes: payload.bytes };
  const vmlinux = vmlinuxOf(payload);
  const text = (content: string): Uint8Array => new TextEncoder().encode(content);
  switch (what) {
    case 'vmlinux':
      return vmlinuxFile(image, vmlinux, request);
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
