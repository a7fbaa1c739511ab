import { BootImageError } from '../bytes/error.js';
import type { Encoder } from './encode/encoder.js';
import type { Compression } from './formats.js';

export interface CompressOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Each codec is loaded when it is needed. */
const ENCODERS: Readonly<Record<Exclude<Compression, 'none'>, () => Promise<{ readonly encode: Encoder }>>> = {
  gzip: () => import('./encode/gzip.js'),
  bzip2: () => import('./encode/bzip2.js'),
  lzma: () => import('./encode/lzma.js'),
  xz: () => import('./encode/xz.js'),
  lzo: () => import('./encode/lzo.js'),
  lz4: () => import('./encode/lz4.js'),
  zstd: () => import('./encode/zstd.js'),
};

/** As much as the codecs' 32-bit memory leaves room for, with their tables. */
const MAX_INPUT = 256 << 20;

/**
 * Compresses `input` into a stream like the one that the kernel's build makes, with the strongest setting that it uses:
 * `compressionFormat(format).about` says which. The same input gives the same bytes. The size word is not part of the
 * stream; `joinPayload` appends it. `none` returns the input itself.
 *
 * @throws BootImageError `does-not-fit` (more than 256 MiB, or not enough memory), `aborted`
 */
export async function compress(
  input: Uint8Array,
  format: Compression,
  { signal }: CompressOptions = {},
): Promise<Uint8Array> {
  if (signal?.aborted) throw new BootImageError('aborted', 'the compression was cancelled', { cause: signal.reason });
  if (format === 'none') return input;
  if (input.length > MAX_INPUT) {
    throw new BootImageError('does-not-fit', `${input.length} bytes are more than can be compressed (${MAX_INPUT})`);
  }
  const { encode } = await ENCODERS[format]();
  return encode(input, signal);
}
