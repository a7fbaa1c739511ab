import { compressionFormat } from '../formats.js';
import type { Encoder } from './encoder.js';
import { openLzmaEncoder } from './lzma-encoder.js';
import { StreamWriter } from './stream-writer.js';

const DICTIONARY = 32 << 20;
/** The dictionary size as LZMA2 codes it: 2^n or 3 * 2^n, here 2^25. */
const DICTIONARY_CODE = 26;
/** Stream flags: CRC-32. */
const FLAGS = [0, 1];
/** Two filters without sizes: x86 without properties, LZMA2 with one byte. */
const FILTERS = [0x01, 0x04, 0x00, 0x21, 0x01, DICTIONARY_CODE];
const FOOTER_MAGIC = [0x59, 0x5a];

/** A multibyte integer of the format (1.2). */
function variable(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  return [...bytes, value];
}

/** `xz --check=crc32 --x86 --lzma2=dict=32MiB`: one stream with one block. */
export const encode: Encoder = async (input, signal) => {
  const encoder = await openLzmaEncoder(input, DICTIONARY);
  const { arena } = encoder;
  const { exports } = arena;
  const check = exports.crc32(arena.input, input.length) >>> 0;
  exports.x86_filter(arena.input, input.length, 1);
  const data = await encoder.run(true, signal);

  /** `bytes` and their CRC-32; the output is free for them once it was taken. */
  const checked = (bytes: Uint8Array): StreamWriter => {
    new Uint8Array(exports.memory.buffer, arena.output).set(bytes);
    return new StreamWriter().bytes(bytes).u32le(exports.crc32(arena.output, bytes.length) >>> 0);
  };

  const out = new StreamWriter().bytes(compressionFormat('xz').magic).bytes(checked(Uint8Array.from(FLAGS)).join());
  if (input.length > 0) {
    const blockHeader = new StreamWriter().bytes([0]).bytes(FILTERS).pad(4).join();
    blockHeader[0] = blockHeader.length / 4; // the CRC-32 counts, less one
    out.bytes(checked(blockHeader).join()).bytes(data).pad(4).u32le(check);
    const unpadded = blockHeader.length + 4 + data.length + 4;
    return finish(out, checked, [[unpadded, input.length]]);
  }
  return finish(out, checked, []);
};

/** Index and footer. */
function finish(
  out: StreamWriter,
  checked: (bytes: Uint8Array) => StreamWriter,
  records: readonly (readonly [unpadded: number, unpacked: number])[],
): Uint8Array {
  const index = new StreamWriter().bytes([0]).bytes(variable(records.length));
  for (const [unpadded, unpacked] of records) index.bytes(variable(unpadded)).bytes(variable(unpacked));
  const indexBytes = checked(index.pad(4).join()).join();
  const footer = new StreamWriter()
    .u32le(indexBytes.length / 4 - 1)
    .bytes(FLAGS)
    .join();
  const footerCrc = checked(footer).join().subarray(footer.length);
  return out.bytes(indexBytes).bytes(footerCrc).bytes(footer).bytes(FOOTER_MAGIC).join();
}
