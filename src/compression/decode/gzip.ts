import { nodeModule } from '../../bytes/node-module.js';
import type { CodecExports, Decoded, DecodeRequest, Decoder } from '../wasm/arena.js';
import { Arena, capacityOf, failure, overflow, STATUS } from '../wasm/arena.js';
import { StreamReader } from './stream-reader.js';

/** Flags of the header (RFC 1952, 2.3.1). */
const HEADER_CRC = 0x02;
const EXTRA = 0x04;
const NAME = 0x08;
const COMMENT = 0x10;
const RESERVED = 0xe0;

/** Inflate cannot make more of a byte than this. */
const MAX_RATIO = 1032;
/** How much zlib allocates at a time if the size is unknown. */
const CHUNK = 4 << 20;

interface InflateExports extends CodecExports {
  inflate_begin(input: number, inputEnd: number, output: number): void;
  inflate_run(target: number): number;
  crc32(data: number, length: number): number;
}

interface Inflated extends Decoded {
  readonly crc32: number;
}

type Zlib = NonNullable<ReturnType<typeof nodeModule<'node:zlib'>>>;

/** The deflate stream that begins at `at`, with zlib; one buffer if the size is announced. */
function inflateNatively(zlib: Zlib, request: DecodeRequest, at: number): Inflated {
  const body = request.input.subarray(at);
  const most = Math.min(capacityOf(request), body.length * MAX_RATIO) + 1;
  const chunkSize = Math.max(64, request.expectedSize === undefined ? Math.min(most, CHUNK) : most);
  let buffer: Uint8Array, consumed: number;
  try {
    // The declaration does not know `info`, with which the result is the buffer and the stream that made it.
    const result = zlib.inflateRawSync(body, { chunkSize, maxOutputLength: most, info: true }) as unknown as {
      readonly buffer: Uint8Array;
      readonly engine: { readonly bytesWritten: number };
    };
    buffer = result.buffer;
    consumed = result.engine.bytesWritten;
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : null;
    if (code === 'ERR_BUFFER_TOO_LARGE') throw overflow(request, at);
    throw failure(code === 'Z_BUF_ERROR' ? STATUS.TRUNCATED : STATUS.CORRUPT, 'gzip', request, at);
  }
  if (buffer.length > capacityOf(request)) throw overflow(request, at);
  return { bytes: buffer, consumed: at + consumed, crc32: zlib.crc32(buffer) };
}

async function inflatePortably(request: DecodeRequest, at: number): Promise<Inflated> {
  const { inflateModule } = await import('../wasm/built/inflate.js');
  const arena = await Arena.open<InflateExports>(inflateModule, 'gzip', request);
  const { exports } = arena;
  exports.inflate_begin(arena.input + at, arena.inputEnd, arena.output);
  await arena.run((target) => exports.inflate_run(target));
  const { produced } = arena;
  return { ...arena.result(produced, arena.consumed), crc32: exports.crc32(arena.output, produced) >>> 0 };
}

function skipText(reader: StreamReader): void {
  while (reader.u8() !== 0);
}

/** One member, as a kernel decompresses it. */
export const decode: Decoder = async (request) => {
  const reader = new StreamReader('gzip', request);
  if (!reader.accept([0x1f, 0x8b])) throw reader.corrupt('the magic number is missing');
  if (reader.u8() !== 8) throw reader.unsupported('a method other than deflate', 2);
  const flags = reader.u8();
  if ((flags & RESERVED) !== 0) throw reader.unsupported('reserved flags', 3);
  reader.skip(6); // time, extra flags, operating system
  if ((flags & EXTRA) !== 0) reader.skip(reader.u16le());
  if ((flags & NAME) !== 0) skipText(reader);
  if ((flags & COMMENT) !== 0) skipText(reader);
  if ((flags & HEADER_CRC) !== 0) reader.skip(2);

  const zlib = nodeModule('node:zlib');
  const { bytes, consumed, crc32 } =
    zlib === null ? await inflatePortably(request, reader.at) : inflateNatively(zlib, request, reader.at);
  reader.at = consumed;
  if (reader.u32le() !== crc32) throw reader.corrupt('the CRC-32 does not match', consumed);
  if (reader.u32le() !== bytes.length % 2 ** 32)
    throw reader.corrupt('ISIZE is not the size of the data', consumed + 4);
  return { bytes, consumed: reader.at };
};
