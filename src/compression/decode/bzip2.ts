import { bzip2Module } from '../wasm/built/bzip2.js';
import type { CodecExports, Decoder } from '../wasm/arena.js';
import { Arena } from '../wasm/arena.js';

interface Bzip2Exports extends CodecExports {
  bzip2_begin(input: number, inputEnd: number, output: number): number;
  bzip2_run(target: number): number;
}

export const decode: Decoder = async (request) => {
  const arena = await Arena.open<Bzip2Exports>(bzip2Module, 'bzip2', request);
  const { exports } = arena;
  arena.call(() => exports.bzip2_begin(arena.input, arena.inputEnd, arena.output));
  await arena.run((target) => exports.bzip2_run(target));
  return arena.result(arena.produced, arena.consumed);
};
