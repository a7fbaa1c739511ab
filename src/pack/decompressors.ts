/** Our own decompressors, built into guest/built: one for each word size and codec, loaded when needed. */
import { artifactBytes, type GuestArtifact } from '../../guest/artifact.js';
import { BootImageError } from '../bytes/error.js';
import type { Compression } from '../compression/formats.js';

/** Formats that our guest code decodes. */
export const OWN_COMPRESSIONS = ['none', 'gzip', 'lz4', 'zstd', 'xz'] as const satisfies readonly Compression[];

export type OwnCompression = (typeof OWN_COMPRESSIONS)[number];

const BUILT: Readonly<Record<32 | 64, Readonly<Record<OwnCompression, () => Promise<GuestArtifact>>>>> = {
  32: {
    none: async () => (await import('../../guest/built/decompressor32_none.js')).decompressor32_none,
    gzip: async () => (await import('../../guest/built/decompressor32_gzip.js')).decompressor32_gzip,
    lz4: async () => (await import('../../guest/built/decompressor32_lz4.js')).decompressor32_lz4,
    zstd: async () => (await import('../../guest/built/decompressor32_zstd.js')).decompressor32_zstd,
    xz: async () => (await import('../../guest/built/decompressor32_xz.js')).decompressor32_xz,
  },
  64: {
    none: async () => (await import('../../guest/built/decompressor64_none.js')).decompressor64_none,
    gzip: async () => (await import('../../guest/built/decompressor64_gzip.js')).decompressor64_gzip,
    lz4: async () => (await import('../../guest/built/decompressor64_lz4.js')).decompressor64_lz4,
    zstd: async () => (await import('../../guest/built/decompressor64_zstd.js')).decompressor64_zstd,
    xz: async () => (await import('../../guest/built/decompressor64_xz.js')).decompressor64_xz,
  },
};

/** A decompressor in its two parts: what stands before the payload and what stands behind it. */
export interface Decompressor {
  readonly head: Uint8Array;
  readonly tail: Uint8Array;
  /** Bytes from the tail's start that it needs in memory: code, zeroed data, stack and page tables. */
  readonly tailMemory: number;
  /** Offset of kernel_info in the head. */
  readonly kernelInfo: number;
}

function symbol(artifact: GuestArtifact, name: string): number {
  const value = artifact.symbols[name];
  if (value === undefined) throw new RangeError(`${artifact.source} has no symbol ${name}`);
  return value;
}

export function isOwnCompression(format: Compression): format is OwnCompression {
  return (OWN_COMPRESSIONS as readonly Compression[]).includes(format);
}

/** @throws BootImageError `unsupported` for a format that our guest code does not decode */
export async function loadDecompressor(bits: 32 | 64, format: Compression): Promise<Decompressor> {
  if (!isOwnCompression(format)) {
    throw new BootImageError('unsupported', `the decompressor does not decode ${format}`, {
      field: '--compress',
      hint: `choose ${OWN_COMPRESSIONS.join(', ')}`,
    });
  }
  const artifact = await BUILT[bits][format]();
  const bytes = artifactBytes(artifact);
  const tail = symbol(artifact, 'tail');
  return {
    head: bytes.subarray(0, tail),
    tail: bytes.subarray(tail),
    tailMemory: symbol(artifact, 'memory_end') - tail,
    kernelInfo: symbol(artifact, 'kernel_info'),
  };
}
