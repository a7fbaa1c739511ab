import { deflateEncoderModule } from '../wasm/built/deflate-encoder.js';
import type { SteppedEncoderExports } from '../wasm/encoder-arena.js';
import { EncoderArena, runEncoder } from '../wasm/encoder-arena.js';
import type { Encoder } from './encoder.js';
import { StreamWriter } from './stream-writer.js';

interface DeflateEncoderExports extends SteppedEncoderExports {
  encode_begin(input: number, length: number, output: number): void;
  encode_run(): number;
  crc32(data: number, length: number): number;
}

/** Magic, deflate, no flags, no time, "slowest", Unix. */
const HEADER = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
/** What a block can take. */
const BLOCK = 256 << 10;

/** `gzip -n -9`. Not zlib: the one in Node trades nearly a tenth of the size for speed. */
export const encode: Encoder = async (input, signal) => {
  const arena = await EncoderArena.open<DeflateEncoderExports>(deflateEncoderModule, input, 0);
  const { exports } = arena;
  exports.encode_begin(arena.input, input.length, arena.output);
  const data = await runEncoder(arena, BLOCK, () => exports.encode_run(), signal);
  return new StreamWriter()
    .bytes(HEADER)
    .bytes(data)
    .u32le(exports.crc32(arena.input, input.length) >>> 0)
    .u32le(input.length)
    .join();
};
