import { BootImageError } from '../bytes/error.js';
import type { Compression } from './formats.js';
import { nodeZlib } from './native.js';

export interface CompressOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * Compresses as the kernel's build does, so that the kernel's own decompressor reads the result.
 * @throws BootImageError `unsupported`, `aborted`
 */
export async function compress(input: Uint8Array, format: Compression, options: CompressOptions = {}): Promise<Uint8Array> {
  options.signal?.throwIfAborted();
  const zlib = nodeZlib();
  if (format === 'gzip' && zlib !== null) return Promise.resolve(zlib.gzipSync(input, { level: 9 }));
  throw new BootImageError('unsupported', `${format} cannot be written here`, { field: '--compress' });
}
