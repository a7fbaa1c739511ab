import type { SteppedEncoderExports } from '../wasm/encoder-arena.js';
import { EncoderArena, runEncoder } from '../wasm/encoder-arena.js';
import { lzmaEncoderModule } from '../wasm/built/lzma-encoder.js';

/** What lzma-encoder.c exports. */
export interface LzmaEncoderExports extends SteppedEncoderExports {
  encode_begin(
    input: number,
    length: number,
    sons: number,
    window: number,
    output: number,
    nice: number,
    depth: number,
    lzma2: number,
  ): void;
  encode_run(target: number): number;
  properties(): number;
  x86_filter(data: number, length: number, encode: number): void;
  crc32(data: number, length: number): number;
}

/** As presets 6 to 9 of xz choose: the length of a match that is taken at once, and how deep trees are searched. */
const NICE = 64;
const DEPTH = 16 + NICE / 2;
/** Two words of the search tree a position. */
const TREE_BYTES = 8;
/** A chunk of LZMA2 and what is planned beyond it. */
const OVERSHOOT = 128 << 10;

export interface LzmaEncoder {
  readonly arena: EncoderArena<LzmaEncoderExports>;
  /** Compresses what is in the arena. */
  run(lzma2: boolean, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer>>;
}

/** An encoder with `input` in its memory, whose matches reach `dictionary` bytes back. */
export async function openLzmaEncoder(input: Uint8Array, dictionary: number): Promise<LzmaEncoder> {
  const window = Math.min(input.length, dictionary) + 1;
  const arena = await EncoderArena.open<LzmaEncoderExports>(lzmaEncoderModule, input, window * TREE_BYTES);
  const { exports } = arena;
  return {
    arena,
    run(lzma2, signal) {
      const mode = lzma2 ? 1 : 0;
      exports.encode_begin(arena.input, input.length, arena.tables, window, arena.output, NICE, DEPTH, mode);
      return runEncoder(arena, OVERSHOOT, (target) => exports.encode_run(target), signal);
    },
  };
}
