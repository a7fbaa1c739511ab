import { lzmaModule } from '../wasm/built/lzma.js';
import type { Decoder } from '../wasm/arena.js';
import { Arena, overflow, STATUS } from '../wasm/arena.js';
import type { LzmaExports } from '../wasm/lzma-exports.js';
import { StreamReader } from './stream-reader.js';

const HEADER = 13;
const UNKNOWN_SIZE = 0xffff_ffff_ffff_ffffn;

/** LZMA-alone: properties, dictionary size, uncompressed size (all ones if there is an end marker instead), data. */
export const decode: Decoder = async (request) => {
  const header = new StreamReader('lzma', request);
  const properties = header.u8();
  header.u32le();
  const size = header.u64le();
  const known = size === UNKNOWN_SIZE ? null : Number(size);

  const arena = await Arena.open<LzmaExports>(lzmaModule, 'lzma', request);
  const { exports } = arena;
  if (known !== null && known > arena.capacity) throw overflow(request, HEADER);
  arena.call(() => exports.lzma_begin(properties, arena.input + HEADER, arena.inputEnd, arena.output));
  await arena.run((target) => {
    if (known === null) return exports.lzma_run(target);
    const status = exports.lzma_run(Math.min(target, arena.output + known));
    if (status === STATUS.MORE && arena.produced === known) return exports.lzma_finish();
    return arena.produced > known ? STATUS.CORRUPT : status;
  });
  return arena.result(arena.produced, arena.consumed);
};
