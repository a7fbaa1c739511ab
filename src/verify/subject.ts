/** What rules look at: an image and, as far as it could be recovered, the kernel inside, with facts computed once. */
import { ByteView } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { hex } from '../bytes/numbers.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { hasBootFlag, setupField, type SetupFieldName } from '../bzimage/setup-header.js';
import { decompress } from '../compression/decompress.js';
import type { ElfFile } from '../elf/elf-file.js';
import { isElf } from '../elf/read-elf.js';
import { readKernelNotes } from '../kernel/notes.js';
import { readVmlinux } from '../kernel/read-vmlinux.js';
import { decompressPayload, DEFAULT_LIMIT, type RecoverOptions } from '../kernel/recover.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { readXenParameters, type XenParameters } from '../kernel/xen-parameters.js';

/** Bytes 4, 5 and 18 of an ELF file, whatever they say. */
export interface ElfIdentity {
  readonly cls: number;
  readonly data: number;
  readonly machine: number;
}

export interface RelocationFacts {
  /** The first address outside every segment's file bytes, in hexadecimal; null if there is none. */
  readonly outside: string | null;
  /** The first address that is not above the one before it in its group. */
  readonly unsorted: string | null;
}

/** Dictionary size of an LZMA2 filter by its property byte (xz file format, 5.3.1). */
function lzma2Dictionary(property: number): number {
  return property >= 40 ? 2 ** 32 - 1 : (2 | (property & 1)) * 2 ** (Math.floor(property / 2) + 11);
}

export class Subject {
  readonly image: BootImage;
  /** Everything the decompressor yields; null if it could not be recovered. */
  readonly raw: Uint8Array | null;
  /** Read tolerantly: malformed segments are left out. Null if there is no readable ELF file. */
  readonly vmlinux: Vmlinux | null;
  /** Why there is no kernel; null if there is one. */
  readonly failure: BootImageError | null;
  /** The decompressed size when the size word announces another one, else null. */
  readonly trueSize: number | null;
  readonly #xen = new Map<boolean, XenParameters>();
  #relocationFacts: RelocationFacts | null = null;
  #noteErrors: readonly BootImageError[] | null = null;

  constructor(
    image: BootImage,
    kernel: {
      raw: Uint8Array | null;
      vmlinux: Vmlinux | null;
      failure: BootImageError | null;
      trueSize: number | null;
    },
  ) {
    this.image = image;
    this.raw = kernel.raw;
    this.vmlinux = kernel.vmlinux;
    this.failure = kernel.failure;
    this.trueSize = kernel.trueSize;
  }

  /** True if the file begins with a boot sector, whatever follows. */
  get hasBootSector(): boolean {
    return this.image.stages.setup !== null || hasBootFlag(this.image.file);
  }

  /** True for an ELF file by itself. */
  get isElfFile(): boolean {
    return this.image.kind === 'vmlinux' || this.image.kind === 'elf';
  }

  /** True if the header has "HdrS". */
  get hasMagic(): boolean {
    return this.version !== 0;
  }

  /** Boot protocol, 0x20f for 2.15; 0 without a header. */
  get version(): number {
    return this.image.setup?.version ?? 0;
  }

  get versionText(): string {
    return this.image.setup?.protocol ?? 'none';
  }

  get headerEnd(): number | null {
    return this.image.setup?.headerEnd ?? null;
  }

  /** A setup header field of at most 32 bits; null if this image has no such field. */
  number(name: SetupFieldName): number | null {
    const value = this.big(name);
    return value === null ? null : Number(value);
  }

  big(name: SetupFieldName): bigint | null {
    const value = this.image.setup?.values[name];
    return typeof value === 'number' || typeof value === 'bigint' ? BigInt(value) : null;
  }

  /** True if the field exists and has all bits of the mask. */
  flag(name: SetupFieldName, mask: number): boolean {
    const value = this.number(name);
    return value !== null && (value & mask) === mask;
  }

  /** File offset of a setup header field. */
  offsetOf(name: SetupFieldName): number {
    return setupField(name).offset;
  }

  get relocatable(): boolean {
    return (this.number('relocatable_kernel') ?? 0) !== 0;
  }

  get protectedMode(): ByteView | null {
    const range = this.image.stages.protected_mode;
    return range !== null && this.image.file.has(range.offset, range.length)
      ? this.image.file.view(range.offset, range.length)
      : null;
  }

  get elf(): ElfFile | null {
    return this.vmlinux?.elf ?? null;
  }

  /** What the ELF file says it is, even if it is unreadable otherwise. */
  get identity(): ElfIdentity | null {
    if (this.raw === null) return null;
    const view = new ByteView(this.raw);
    return isElf(view) && view.has(0, 20) ? { cls: view.u8(4), data: view.u8(5), machine: view.u16(18) } : null;
  }

  /** 32 or 64 by the kernel or, where it could not be recovered, by xloadflags; null if nothing tells. */
  get bits(): 32 | 64 | null {
    if (this.vmlinux !== null) return this.vmlinux.bits;
    const flags = this.number('xloadflags');
    return flags === null ? null : (flags & 1) !== 0 ? 64 : 32;
  }

  /** The kernel as Xen's ELF library reads it; null if there is none. */
  xen(hvm: boolean): XenParameters | null {
    if (this.raw === null) return null;
    let parameters = this.#xen.get(hvm);
    if (parameters === undefined) {
      parameters = readXenParameters(this.raw, hvm);
      this.#xen.set(hvm, parameters);
    }
    return parameters;
  }

  get noteErrors(): readonly BootImageError[] {
    return (this.#noteErrors ??= this.elf === null ? [] : readKernelNotes(this.elf).errors);
  }

  /** Dictionary bytes of an xz (first block's LZMA2 filter) or lzma payload; null for other formats. */
  get dictionarySize(): number | null {
    const { payload, file } = this.image;
    if (payload === null || !file.has(payload.offset, 64)) return null;
    const view = file.view(payload.offset, 64);
    if (payload.compression === 'lzma') return view.u32(1);
    if (payload.compression !== 'xz') return null;
    // Stream header (12 bytes), then a block header: size, flags, filters; LZMA2 has the ID 0x21 and one property byte.
    let at = 14;
    const filters = (view.u8(13) & 3) + 1;
    if ((view.u8(13) & 0xc0) !== 0) return null;
    for (let i = 0; i < filters && view.has(at, 3); i++) {
      const id = view.u8(at);
      const length = view.u8(at + 1);
      if (id === 0x21 && length === 1) return lzma2Dictionary(view.u8(at + 2));
      at += 2 + length;
    }
    return null;
  }

  get relocationFacts(): RelocationFacts {
    return (this.#relocationFacts ??= relocationFacts(this.vmlinux));
  }
}

/** One pass over each group; addresses are 32 bits, sign-extended, so the order is that of unsigned words. */
function relocationFacts(vmlinux: Vmlinux | null): RelocationFacts {
  const table = vmlinux?.relocations ?? null;
  if (vmlinux === null || table === null) return { outside: null, unsorted: null };
  // By physical address: the per-CPU segment is linked at 0 but relocated where it is loaded.
  const linear = vmlinux.segments.find(({ vaddr }) => vaddr !== 0n);
  const offset = linear === undefined ? 0n : linear.vaddr - linear.paddr;
  const ranges = vmlinux.segments
    .map(({ paddr, filesz }) => ({ start: Number((paddr + offset) & 0xffff_ffffn), size: filesz }))
    .filter(({ size }) => size > 0);
  let outside: string | null = null;
  let unsorted: string | null = null;
  let start = 0;
  let size = 0;
  for (const [words, width] of [
    [table.abs64, 8],
    [table.inverse32, 4],
    [table.abs32, 4],
  ] as const) {
    let before = -1;
    for (const word of words) {
      const address = word >>> 0;
      if (address <= before) unsorted ??= hex(address);
      before = address;
      const inside = address - start;
      if (inside >= 0 && inside + width <= size) continue;
      const range = ranges.find(
        (candidate) => address >= candidate.start && address - candidate.start + width <= candidate.size,
      );
      if (range === undefined) outside ??= hex(address);
      else ({ start, size } = range);
    }
  }
  return { outside, unsorted };
}

/** An image with the kernel that was recovered from it, or without one: rules about the kernel hold then. */
export function subjectOf(image: BootImage, vmlinux: Vmlinux | null): Subject {
  return new Subject(image, { raw: vmlinux?.raw ?? null, vmlinux, failure: null, trueSize: null });
}

/** Prepares an image for judgement: decompresses once and keeps going on whatever is damaged. */
export async function createSubject(image: BootImage, options: RecoverOptions = {}): Promise<Subject> {
  const nothing = { raw: null, vmlinux: null, trueSize: null };
  let raw: Uint8Array;
  try {
    // A damaged kernel may look like an ELF file of another kind: it is judged as what it is given for.
    raw = image.kind === 'elf' ? image.file.bytes : (await decompressPayload(image, options)).bytes;
  } catch (error) {
    if (!(error instanceof BootImageError) || error.code === 'aborted' || error.code === 'tool-missing') throw error;
    return new Subject(image, { ...nothing, failure: error, trueSize: await trueSizeOf(image, error, options) });
  }
  try {
    return new Subject(image, { raw, vmlinux: readVmlinux(raw, { tolerant: true }), failure: null, trueSize: null });
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
    const failure =
      error.code === 'bad-magic'
        ? new BootImageError('payload-not-elf', 'the kernel inside is no ELF file', { field: 'e_ident' })
        : error;
    return new Subject(image, { ...nothing, raw, failure });
  }
}

/** Tells a wrong size word from damaged data: the stream may be whole when nobody expects a size. */
async function trueSizeOf(image: BootImage, failure: BootImageError, options: RecoverOptions): Promise<number | null> {
  const { payload } = image;
  if (failure.code === 'payload-missing' || payload === null || payload.sizeWord === null) return null;
  if (payload.compression === null || payload.compression === 'none') return null;
  try {
    const input = image.file.slice(payload.offset, payload.compressedLength);
    const { bytes } = await decompress(input, payload.compression, { limit: options.limit ?? DEFAULT_LIMIT });
    return bytes.length === payload.sizeWord ? null : bytes.length;
  } catch {
    return null;
  }
}
