import { bzip2EncoderModule } from '../wasm/built/bzip2-encoder.js';
import type { SteppedEncoderExports } from '../wasm/encoder-arena.js';
import { EncoderArena, runEncoder } from '../wasm/encoder-arena.js';
import type { Encoder } from './encoder.js';

interface Bzip2EncoderExports extends SteppedEncoderExports {
  encode_begin(input: number, length: number, output: number): void;
  encode_run(): number;
}

/** What a block of 900,000 bytes can take: 17 bits a symbol, no more symbols than bytes, and its tables. */
const BLOCK = 2_000_000;

/** `bzip2 -9`. */
export const encode: Encoder = async (input, signal) => {
  const arena = await EncoderArena.open<Bzip2EncoderExports>(bzip2EncoderModule, input, 0);
  arena.reserve(BLOCK);
  arena.exports.encode_begin(arena.input, input.length, arena.output);
  return runEncoder(arena, BLOCK, () => arena.exports.encode_run(), signal);
};
