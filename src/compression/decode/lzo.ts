import { compressionFormat } from '../formats.js';
import type { CodecExports, Decoder } from '../wasm/arena.js';
import { Arena, checkAborted, overflow } from '../wasm/arena.js';
import { lzoModule } from '../wasm/built/lzo.js';
import { StreamReader } from './stream-reader.js';

/** Largest uncompressed block (LZO_BLOCK_SIZE in the kernel's lib/decompress_unlzo.c). */
const BLOCK = 256 << 10;

/** Flags of lzop's header. */
const ADLER32_UNPACKED = 0x1;
const ADLER32_PACKED = 0x2;
const EXTRA_FIELD = 0x40;
const CRC32_UNPACKED = 0x100;
const CRC32_PACKED = 0x200;
const FILTER = 0x800;
const HEADER_CRC32 = 0x1000;

interface LzoExports extends CodecExports {
  lzo1x_block(input: number, inputEnd: number, output: number, end: number): number;
  adler32(data: number, length: number): number;
  crc32(data: number, length: number): number;
}

/** lzop's container: a header, then blocks of up to 256 KiB, each with its lengths and checksums, then a zero. */
export const decode: Decoder = async (request) => {
  const reader = new StreamReader('lzo', request);
  const arena = await Arena.openForBlocks<LzoExports>(lzoModule, 'lzo', request, BLOCK);
  const { exports } = arena;

  function check(expected: number, crc: boolean, data: number, length: number, what: string): void {
    const found = (crc ? exports.crc32(data, length) : exports.adler32(data, length)) >>> 0;
    if (found !== expected) throw reader.corrupt(`the ${crc ? 'CRC-32' : 'Adler-32'} of ${what} does not match`);
  }

  if (!reader.accept(compressionFormat('lzo').magic)) throw reader.corrupt('the magic number is missing');
  const headerStart = reader.at;
  const version = reader.u16be();
  reader.u16be(); // version of the library
  if (version >= 0x0940) reader.u16be(); // version needed to extract
  const method = reader.u8();
  if (method < 1 || method > 3) throw reader.unsupported(`method ${method}`, reader.at - 1);
  if (version >= 0x0940) reader.u8(); // level
  const flags = reader.u32be();
  if ((flags & FILTER) !== 0) throw reader.unsupported('a filter', reader.at - 4);
  reader.skip(version >= 0x0940 ? 12 : 8); // mode and time of the file
  reader.skip(reader.u8()); // name of the file
  const headerLength = reader.at - headerStart;
  arena.load(headerStart, headerLength);
  const headerCrc = (flags & HEADER_CRC32) !== 0;
  check(reader.u32be(), headerCrc, arena.input, headerLength, 'the header');
  if ((flags & EXTRA_FIELD) !== 0) reader.skip(reader.u32be() + 4);

  let produced = 0;
  for (;;) {
    const start = reader.at;
    const unpacked = reader.u32be();
    if (unpacked === 0) return arena.result(produced, reader.at);
    const packed = reader.u32be();
    if (unpacked > BLOCK || packed > unpacked || packed === 0) {
      throw reader.corrupt(`a block of ${packed} bytes for ${unpacked}`, start);
    }
    const checksums = [
      { present: (flags & ADLER32_UNPACKED) !== 0, crc: false, packed: false },
      { present: (flags & CRC32_UNPACKED) !== 0, crc: true, packed: false },
      { present: (flags & ADLER32_PACKED) !== 0 && packed < unpacked, crc: false, packed: true },
      { present: (flags & CRC32_PACKED) !== 0 && packed < unpacked, crc: true, packed: true },
    ]
      .filter(({ present }) => present)
      .map((row) => ({ ...row, value: reader.u32be() }));
    arena.load(reader.skip(packed), packed);
    const output = arena.output + produced;
    if (unpacked > arena.capacity - produced) throw overflow(request, start);
    arena.reserve(produced + unpacked);
    if (packed === unpacked) {
      new Uint8Array(exports.memory.buffer).copyWithin(output, arena.input, arena.input + packed);
    } else {
      arena.call(() => exports.lzo1x_block(arena.input, arena.input + packed, output, output + unpacked));
      if (arena.produced !== produced + unpacked || arena.consumed !== reader.at) {
        throw reader.corrupt('a block is not as long as its header says', start);
      }
    }
    for (const { value, crc, packed: ofPacked } of checksums) {
      check(value, crc, ofPacked ? arena.input : output, ofPacked ? packed : unpacked, 'a block');
    }
    produced += unpacked;
    if (produced % (BLOCK * 4) === 0) await checkAborted(request.signal);
  }
};
