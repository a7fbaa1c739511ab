/** The compressions of kernel payloads, as one table. */
import { ByteView } from '../bytes/byte-view.js';

export type Compression = 'gzip' | 'bzip2' | 'lzma' | 'xz' | 'lzo' | 'lz4' | 'zstd' | 'none';

export interface CompressionFormat {
  readonly name: Compression;
  /** First bytes of the stream. `none` has those of the ELF file that it is. */
  readonly magic: readonly number[];
  /**
   * Whether the kernel's build appends a 32-bit little-endian word with the uncompressed size (`size_append` in
   * scripts/Makefile.lib). gzip ends with such a word of its own (ISIZE), which serves instead.
   */
  readonly sizeWord: boolean;
  /** What proves that the uncompressed bytes are right; null: a flipped bit can pass unnoticed. */
  readonly checksum: string | null;
  /** What the kernel's build writes, and where the format is described. */
  readonly about: string;
}

/** Every format, in the order in which kernel/lib/decompress.c tries them; `none` last. */
export const COMPRESSION_FORMATS: readonly CompressionFormat[] = [
  {
    name: 'gzip',
    magic: [0x1f, 0x8b, 0x08],
    sizeWord: false,
    checksum: 'CRC-32',
    about: 'gzip -n -9: one member without a name (RFC 1952)',
  },
  {
    name: 'bzip2',
    magic: [0x42, 0x5a, 0x68],
    sizeWord: true,
    checksum: 'CRC-32 of every block',
    about: 'bzip2 -9, as one stream or, from parallel compressors, several (bzip2 1.0)',
  },
  {
    name: 'lzma',
    magic: [0x5d, 0x00, 0x00],
    sizeWord: true,
    checksum: null,
    about: 'lzma -9: LZMA-alone with unknown size and an end marker (LZMA specification of the LZMA SDK)',
  },
  {
    name: 'xz',
    magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
    sizeWord: true,
    checksum: 'CRC-32',
    about: 'xz --check=crc32 --x86 --lzma2=dict=32MiB (The .xz File Format 1.2; scripts/xz_wrap.sh)',
  },
  {
    name: 'lzo',
    magic: [0x89, 0x4c, 0x5a, 0x4f, 0x00, 0x0d, 0x0a, 0x1a, 0x0a],
    sizeWord: true,
    checksum: 'Adler-32 of every block',
    about: 'lzop -9: LZO1X in blocks of 256 KiB (lzop 1.04; Documentation/staging/lzo.rst)',
  },
  {
    name: 'lz4',
    magic: [0x02, 0x21, 0x4c, 0x18],
    sizeWord: true,
    checksum: null,
    about: 'lz4 -l -9: the legacy frame, in blocks of 8 MiB (LZ4 Frame Format Description, "Legacy frame")',
  },
  {
    name: 'zstd',
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    sizeWord: true,
    checksum: 'XXH64, if the frame has it',
    about: 'zstd -22 --ultra: one frame, window up to 128 MiB (RFC 8878)',
  },
  {
    name: 'none',
    magic: [0x7f, 0x45, 0x4c, 0x46],
    sizeWord: false,
    checksum: null,
    about: 'the ELF file itself; no kernel build makes it for x86, Xen and bzelf accept it',
  },
];

/** The row of `name`. */
export function compressionFormat(name: Compression): CompressionFormat {
  const row = COMPRESSION_FORMATS.find((format) => format.name === name);
  if (row === undefined) throw new RangeError(`no compression is called ${name}`);
  return row;
}

/** Which format `bytes` begin with, by the whole magic; null if none. A magic is a hint, not a proof. */
export function detectCompression(bytes: Uint8Array): Compression | null {
  return COMPRESSION_FORMATS.find(({ magic }) => magic.every((byte, i) => bytes[i] === byte))?.name ?? null;
}

export interface PayloadParts {
  /** What the decompressor gets: for all but gzip and none the payload without its last four bytes. */
  readonly stream: Uint8Array;
  /** The uncompressed size in bytes that the payload announces (modulo 2^32); null if it is too short to say. */
  readonly announced: number | null;
}

/**
 * Splits a payload as `payload_offset` and `payload_length` delimit it (boot protocol 2.08) into the compressed stream
 * and the announced size.
 */
export function splitPayload(payload: Uint8Array, name: Compression): PayloadParts {
  if (name === 'none') return { stream: payload, announced: payload.length };
  if (payload.length < 4) return { stream: payload, announced: null };
  const at = payload.length - 4;
  return {
    stream: compressionFormat(name).sizeWord ? payload.subarray(0, at) : payload,
    announced: new ByteView(payload).u32(at),
  };
}

/** The payload that the kernel's build would make of a compressed stream: the size word appended where it belongs. */
export function joinPayload(stream: Uint8Array, name: Compression, uncompressedSize: number): Uint8Array {
  if (!compressionFormat(name).sizeWord) return stream;
  const payload = new Uint8Array(stream.length + 4);
  payload.set(stream);
  new DataView(payload.buffer).setUint32(stream.length, uncompressedSize, true);
  return payload;
}
