/** From a boot image to the kernel inside: finds the payload, decompresses it once, reads what came out. */
import { BootImageError } from '../bytes/error.js';
import type { BootImage, Payload } from '../bzimage/boot-image.js';
import { decompress, type Decompressed } from '../compression/decompress.js';
import { isElf } from '../elf/read-elf.js';
import { ByteView } from '../bytes/byte-view.js';
import { findBanner } from './banner.js';
import { readVmlinux } from './read-vmlinux.js';
import type { Vmlinux } from './vmlinux.js';

/** Never decompress to more than this unless told otherwise: 1 GiB, as Xen's toolstack. */
export const DEFAULT_LIMIT = 2 ** 30;

export interface RecoverOptions {
  /** Bytes that a payload may decompress to; `DEFAULT_LIMIT` when absent. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
  /** As in `readVmlinux`. */
  readonly tolerant?: boolean;
}

export interface DecompressedPayload {
  /** Everything the decompressor yields; a view on the file where nothing is compressed. */
  readonly bytes: Uint8Array;
  /** The payload that proved right, with its true length; null for a bare vmlinux. */
  readonly payload: Payload | null;
  /** The image that the payload belongs to: the one inside a unified kernel image, else the image itself. */
  readonly image: BootImage;
}

function missing(image: BootImage): BootImageError {
  return new BootImageError('payload-missing', `no kernel in it: ${image.description}`, {
    field: 'payload_offset',
    hint: 'inspect says what the file is',
  });
}

/** A codec's error, with the field that led to the payload and what to do. */
function inContext(error: BootImageError): BootImageError {
  const { code, message, offset, field = 'payload_offset', hint = 'the image is damaged or cut off' } = error;
  return new BootImageError(code, message, { offset, field, hint, cause: error });
}

/** Decompresses one payload and holds it against what the image says about it. */
async function decompressOne(
  image: BootImage,
  payload: Payload,
  options: RecoverOptions,
): Promise<{ bytes: Uint8Array; payload: Payload }> {
  const { compression, sizeWord, offset } = payload;
  const base = image.file.base + offset;
  if (compression === null) {
    throw new BootImageError('payload-missing', 'no known compression and no ELF file where the payload begins', {
      offset: base,
      field: 'payload_offset',
      hint: 'the payload is damaged or of an unknown format',
    });
  }
  const input = image.file.slice(offset, payload.compressedLength, 'payload_length');
  const limits = { limit: options.limit ?? DEFAULT_LIMIT, expectedSize: sizeWord ?? undefined };
  let result: Decompressed;
  try {
    result = await decompress(input, compression, { ...limits, base, signal: options.signal });
  } catch (error) {
    throw error instanceof BootImageError && error.blame === 'image' ? inContext(error) : error;
  }
  const { bytes, consumed } = result;
  return {
    bytes,
    payload: payload.foundBy === 'header' ? payload : { ...payload, length: consumed, compressedLength: consumed },
  };
}

/** An ELF file that was compressed, or anything (raw binaries, before 2.08) that carries the kernel's banner. */
function isPlausible(bytes: Uint8Array, { compression }: Payload): boolean {
  return (compression !== 'none' && isElf(new ByteView(bytes))) || findBanner(bytes) !== null;
}

/**
 * A candidate found by its magic number counts only when its whole stream decompresses (with its checksums) to
 * something that looks like a kernel: the magic of xz, for one, also occurs as a string inside the decompressor.
 */
async function decompressScanned(
  image: BootImage,
  first: Payload,
  options: RecoverOptions,
): Promise<{ bytes: Uint8Array; payload: Payload }> {
  let failure: unknown = null;
  for (const candidate of [first, ...image.candidates]) {
    try {
      const result = await decompressOne(image, candidate, options);
      if (isPlausible(result.bytes, candidate)) return result;
    } catch (error) {
      if (!(error instanceof BootImageError) || error.code === 'aborted' || error.blame !== 'image') throw error;
      // A bomb is no false magic; report it rather than what comes after.
      if (failure === null || error.code === 'payload-too-large') failure = error;
    }
  }
  if (failure instanceof BootImageError && image.candidates.length === 0) throw failure;
  throw new BootImageError('payload-missing', 'no compressed kernel found behind any known magic number', {
    offset: image.file.base + first.offset,
    hint: 'the image is damaged or of an unknown format',
    cause: failure ?? undefined,
  });
}

/**
 * Everything the image's decompressor would yield: from protocol 2.08 on an ELF file and its relocations, before that
 * a raw binary. A bare vmlinux yields itself, a unified kernel image what its .linux section holds.
 *
 * @throws BootImageError `payload-missing`, `payload-corrupt`, `payload-truncated`, `payload-too-large`, `aborted`,
 * `tool-missing`
 */
export async function decompressPayload(image: BootImage, options: RecoverOptions = {}): Promise<DecompressedPayload> {
  if (image.inner !== null) return decompressPayload(image.inner, options);
  if (image.kind === 'vmlinux') return { bytes: image.file.bytes, payload: null, image };
  if (image.payload === null) throw missing(image);
  const result = await (image.payload.foundBy === 'scan'
    ? decompressScanned(image, image.payload, options)
    : decompressOne(image, image.payload, options));
  return { ...result, image };
}

/** Reads the kernel that `decompressPayload` yielded. @throws BootImageError as `readVmlinux`; `payload-not-elf` */
export function vmlinuxOf({ bytes }: DecompressedPayload, options: RecoverOptions = {}): Vmlinux {
  if (!isElf(new ByteView(bytes))) {
    throw new BootImageError('payload-not-elf', 'the kernel inside is a raw binary, not an ELF file', {
      offset: 0,
      field: 'e_ident',
      hint: 'kernels before boot protocol 2.08 have no ELF file inside; use --what raw',
    });
  }
  return readVmlinux(bytes, options);
}

/** The kernel inside the image. @throws BootImageError as `decompressPayload` and `vmlinuxOf` */
export async function recoverVmlinux(image: BootImage, options: RecoverOptions = {}): Promise<Vmlinux> {
  return vmlinuxOf(await decompressPayload(image, options), options);
}
