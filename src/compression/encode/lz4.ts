import { compressionFormat } from '../formats.js';
import { lz4EncoderModule } from '../wasm/built/lz4-encoder.js';
import { checkAborted } from '../wasm/arena.js';
import type { EncoderExports } from '../wasm/encoder-arena.js';
import { EncoderArena } from '../wasm/encoder-arena.js';
import type { Encoder } from './encoder.js';
import { StreamWriter } from './stream-writer.js';

const BLOCK = 8 << 20;
/** LZ4_compressBound(BLOCK) */
const BOUND = BLOCK + Math.floor(BLOCK / 255) + 16;

interface Lz4EncoderExports extends EncoderExports {
  lz4_encode(input: number, length: number, output: number): number;
}

/** `lz4 -l -9`: the legacy frame. */
export const encode: Encoder = async (input, signal) => {
  const arena = await EncoderArena.open<Lz4EncoderExports>(lz4EncoderModule, input, 0);
  arena.reserve(BOUND);
  const out = new StreamWriter().bytes(compressionFormat('lz4').magic);
  for (let at = 0; at < input.length; at += BLOCK) {
    const length = Math.min(BLOCK, input.length - at);
    const packed = arena.exports.lz4_encode(arena.input + at, length, arena.output);
    out.u32le(packed).bytes(arena.take(packed));
    await checkAborted(signal);
  }
  return out.join();
};
