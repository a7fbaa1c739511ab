import { compressionFormat } from '../formats.js';
import type { CodecExports, Decoder } from '../wasm/arena.js';
import { Arena, checkAborted, STATUS } from '../wasm/arena.js';
import { lz4Module } from '../wasm/built/lz4.js';
import { StreamReader } from './stream-reader.js';

/** Uncompressed bytes of a block; only the last block has fewer. */
const BLOCK = 8 << 20;
/** The largest compressed block: LZ4_compressBound(BLOCK). */
const MAX_PACKED = BLOCK + Math.floor(BLOCK / 255) + 16;

interface Lz4Exports extends CodecExports {
  lz4_block(input: number, inputEnd: number, output: number, end: number): number;
}

/**
 * The legacy frame: magic, then blocks, each behind its compressed length. Nothing marks its end: it is where the input
 * ends, behind a block of less than 8 MiB, or in front of a word that is no block's length. Such a word is the size
 * that the kernel's build appends. Another magic begins another frame (kernel lib/decompress_unlz4.c).
 */
export const decode: Decoder = async (request) => {
  const { magic } = compressionFormat('lz4');
  const reader = new StreamReader('lz4', request);
  const arena = await Arena.openForBlocks<Lz4Exports>(lz4Module, 'lz4', request, MAX_PACKED);
  const { exports } = arena;
  if (!reader.accept(magic)) throw reader.corrupt('the magic number is missing');
  let produced = 0;
  while (reader.at < request.input.length) {
    const start = reader.at;
    if (produced > 0 && reader.accept(magic)) continue;
    const packed = reader.u32le();
    if (produced > 0 && (packed > MAX_PACKED || packed === produced)) return arena.result(produced, start);
    if (packed === 0 || packed > MAX_PACKED) throw reader.corrupt(`a block of ${packed} bytes`, start);
    arena.load(reader.skip(packed), packed);
    const output = arena.output + produced;
    const length = Math.min(BLOCK, arena.capacity - produced);
    arena.reserve(produced + length);
    const status = exports.lz4_block(arena.input, arena.input + packed, output, output + length);
    // Within a block of full size, an end that comes too early is the block's fault, not the limit's.
    if (status < 0) {
      throw arena.error(status === STATUS.OVERFLOW && length < BLOCK ? STATUS.OVERFLOW : STATUS.CORRUPT);
    }
    produced = arena.produced;
    if (produced % BLOCK !== 0 && !startsFrame(request.input, reader.at, magic)) break;
    await checkAborted(request.signal);
  }
  return arena.result(produced, reader.at);
};

function startsFrame(input: Uint8Array, at: number, magic: readonly number[]): boolean {
  return magic.every((byte, i) => input[at + i] === byte);
}
