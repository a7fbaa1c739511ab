import type { Encoder } from './encoder.js';
import { openLzmaEncoder } from './lzma-encoder.js';
import { StreamWriter } from './stream-writer.js';

/** As `lzma -9`. */
const DICTIONARY = 64 << 20;
const UNKNOWN_SIZE = new Uint8Array(8).fill(0xff);

/** `lzma -9`: size unknown, end marker. */
export const encode: Encoder = async (input, signal) => {
  const encoder = await openLzmaEncoder(input, DICTIONARY);
  const data = await encoder.run(false, signal);
  return new StreamWriter()
    .bytes([encoder.arena.exports.properties()])
    .u32le(DICTIONARY)
    .bytes(UNKNOWN_SIZE)
    .bytes(data)
    .join();
};
