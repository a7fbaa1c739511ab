import { BootImageError } from '../bytes/error.js';
import { compressionFormat, type Compression } from './formats.js';
import type { Decoder } from './wasm/arena.js';

export interface DecompressOptions {
  /** Most bytes that may come out; nothing larger is ever allocated. */
  readonly limit: number;
  /** Bytes that must come out, as the payload announces them. */
  readonly expectedSize?: number | undefined;
  /** File offset of the input, added to the offsets in errors. */
  readonly base?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Decompressed {
  /**
   * The uncompressed bytes. They may be a view of a larger buffer (a codec's memory, or for `none` the input), so
   * neither transfer nor resize `bytes.buffer`.
   */
  readonly bytes: Uint8Array;
  /** Bytes of input that belong to the stream; what follows was not looked at. */
  readonly consumed: number;
}

/** Each codec is loaded when it is needed. */
const DECODERS: Readonly<Record<Exclude<Compression, 'none'>, () => Promise<{ readonly decode: Decoder }>>> = {
  gzip: () => import('./decode/gzip.js'),
  bzip2: () => import('./decode/bzip2.js'),
  lzma: () => import('./decode/lzma.js'),
  xz: () => import('./decode/xz.js'),
  lzo: () => import('./decode/lzo.js'),
  lz4: () => import('./decode/lz4.js'),
  zstd: () => import('./decode/zstd.js'),
};

/**
 * Decompresses the stream at the start of `input`. What follows the stream is left alone, so `consumed` shows where it
 * ends; only of lz4, which has no end marker, give no more than the stream, or nothing but the size word behind it.
 *
 * Memory: the output once, and the input once more. Time and memory are bounded by `limit` (or `expectedSize`, if less)
 * and the length of the input, whatever the input says. Every checksum of the stream is checked; see
 * `compressionFormat(format).checksum` for what that means.
 *
 * @throws BootImageError `payload-corrupt` (damaged, or not `expectedSize` bytes), `payload-truncated`,
 *   `payload-too-large`, `unsupported` (a variant that no kernel decompresses), `aborted`, `bad-argument` (limit)
 */
export async function decompress(
  input: Uint8Array,
  format: Compression,
  { limit, expectedSize, base = 0, signal }: DecompressOptions,
): Promise<Decompressed> {
  if (!Number.isSafeInteger(limit) || limit < 0) {
    throw new BootImageError('bad-argument', `the limit is a number of bytes, not ${limit}`);
  }
  if (signal?.aborted) throw new BootImageError('aborted', 'the decompression was cancelled', { cause: signal.reason });
  if ((expectedSize ?? 0) > limit) {
    throw new BootImageError(
      'payload-too-large',
      `the payload announces ${String(expectedSize)} bytes, the limit is ${limit}`,
      {
        offset: base + input.length,
        hint: 'raise the limit if this is a kernel',
      },
    );
  }
  if (format === 'none') return uncompressed(input, limit, expectedSize, base);
  const { decode } = await DECODERS[format]();
  const result = await decode({ input, limit, expectedSize, base, signal });
  requireSize(result.bytes.length, expectedSize, base + result.consumed);
  return result;
}

function uncompressed(input: Uint8Array, limit: number, expectedSize: number | undefined, base: number): Decompressed {
  if (input.length > limit) {
    throw new BootImageError('payload-too-large', `the payload has ${input.length} bytes, the limit is ${limit}`, {
      offset: base,
    });
  }
  if (!compressionFormat('none').magic.every((byte, i) => input[i] === byte)) {
    throw new BootImageError('payload-corrupt', 'the payload is not an ELF file', { offset: base });
  }
  requireSize(input.length, expectedSize, base);
  return { bytes: input, consumed: input.length };
}

function requireSize(size: number, expected: number | undefined, offset: number): void {
  if (expected === undefined || size === expected) return;
  throw new BootImageError('payload-corrupt', `the payload yields ${size} bytes but announces ${expected}`, { offset });
}
