import { compressionFormat } from '../formats.js';
import type { CodecExports, Decoder } from '../wasm/arena.js';
import { Arena } from '../wasm/arena.js';
import { zstdModule } from '../wasm/built/zstd.js';
import { StreamReader } from './stream-reader.js';

interface ZstdExports extends CodecExports {
  zstd_begin(input: number, inputEnd: number, output: number, window: number, checksummed: number): void;
  zstd_run(target: number, end: number): number;
}

/** One frame. Its window is the output itself, so a window of any size will do (RFC 8878, 3.1.1). */
export const decode: Decoder = async (request) => {
  const reader = new StreamReader('zstd', request);
  if (!reader.accept(compressionFormat('zstd').magic)) throw reader.corrupt('the magic number is missing');
  const descriptor = reader.u8();
  const singleSegment = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x08) !== 0) throw reader.unsupported('a reserved bit set', reader.at - 1);
  let window = Infinity;
  if (!singleSegment) {
    const byte = reader.u8();
    window = 2 ** (10 + (byte >> 3)) * (1 + (byte & 7) / 8);
  }
  const dictionary = reader.bytes([0, 1, 2, 4][descriptor & 3] ?? 0);
  if (dictionary.some((byte) => byte !== 0)) throw reader.unsupported('a dictionary');
  const sizeFlag = descriptor >> 6;
  const size =
    sizeFlag === 3
      ? Number(reader.u64le())
      : sizeFlag === 2
        ? reader.u32le()
        : sizeFlag === 1
          ? reader.u16le() + 256
          : singleSegment
            ? reader.u8()
            : null;
  if (singleSegment && size !== null) window = size;

  const arena = await Arena.open<ZstdExports>(zstdModule, 'zstd', request);
  const { exports } = arena;
  const window32 = Math.min(window, 0x7fff_ffff);
  exports.zstd_begin(arena.input + reader.at, arena.inputEnd, arena.output, window32, descriptor & 4);
  await arena.run((target, end) => exports.zstd_run(target, end));
  if (size !== null && size !== arena.produced) {
    throw reader.corrupt(`it yields ${arena.produced} bytes, its header says ${size}`);
  }
  return arena.result(arena.produced, arena.consumed);
};
