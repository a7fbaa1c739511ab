import { compressionFormat } from '../formats.js';
import { checkAborted } from '../wasm/arena.js';
import { lzoEncoderModule } from '../wasm/built/lzo-encoder.js';
import type { EncoderExports } from '../wasm/encoder-arena.js';
import { EncoderArena } from '../wasm/encoder-arena.js';
import type { Encoder } from './encoder.js';
import { StreamWriter } from './stream-writer.js';

const BLOCK = 256 << 10;
/** What the encoder may write for a block that does not shrink. */
const BOUND = BLOCK + BLOCK / 16 + 67;
/** Blocks between two looks at the signal. */
const ABORT_INTERVAL = 16;

/** lzop 1.04 on Unix with LZO 2.10, to be read from 0.94 on; LZO1X-999, level 9; Adler-32 of the uncompressed data. */
const VERSION = 0x1040;
const LIBRARY_VERSION = 0x20a0;
const VERSION_NEEDED = 0x0940;
const METHOD_LZO1X_999 = 3;
const LEVEL = 9;
const FLAGS = 0x0300_0001;
const MODE = 0o100644;

interface LzoEncoderExports extends EncoderExports {
  lzo1x_encode(input: number, length: number, output: number): number;
  adler32(data: number, length: number): number;
}

/** `lzop -9` without name and time. */
export const encode: Encoder = async (input, signal) => {
  const arena = await EncoderArena.open<LzoEncoderExports>(lzoEncoderModule, input, 0);
  const { exports } = arena;
  arena.reserve(BOUND);
  const header = new StreamWriter()
    .u16be(VERSION)
    .u16be(LIBRARY_VERSION)
    .u16be(VERSION_NEEDED)
    .bytes([METHOD_LZO1X_999, LEVEL])
    .u32be(FLAGS)
    .u32be(MODE)
    .u32be(0)
    .u32be(0)
    .bytes([0])
    .join();
  new Uint8Array(exports.memory.buffer, arena.output).set(header);
  const headerChecksum = exports.adler32(arena.output, header.length) >>> 0;
  const out = new StreamWriter().bytes(compressionFormat('lzo').magic).bytes(header).u32be(headerChecksum);

  for (let at = 0, blocks = 1; at < input.length; at += BLOCK, blocks++) {
    const length = Math.min(BLOCK, input.length - at);
    const packed = exports.lzo1x_encode(arena.input + at, length, arena.output);
    const stored = packed >= length;
    out
      .u32be(length)
      .u32be(stored ? length : packed)
      .u32be(exports.adler32(arena.input + at, length) >>> 0)
      .bytes(stored ? input.subarray(at, at + length) : arena.take(packed));
    if (blocks % ABORT_INTERVAL === 0) await checkAborted(signal);
  }
  return out.u32be(0).join();
};
