import { compressionFormat } from '../formats.js';
import type { Decoder } from '../wasm/arena.js';
import { Arena } from '../wasm/arena.js';
import { lzmaModule } from '../wasm/built/lzma.js';
import type { LzmaExports } from '../wasm/lzma-exports.js';
import { StreamReader } from './stream-reader.js';

const HEADER_SIZE = 12;
const FILTER_X86 = 0x04n;
const FILTER_LZMA2 = 0x21n;
const FOOTER_MAGIC = [0x59, 0x5a];

/** Size of the check and its name, by its identifier; what is missing no kernel and no package has. */
const CHECKS: Readonly<Record<number, { readonly size: number; readonly name: string }>> = {
  0: { size: 0, name: 'none' },
  1: { size: 4, name: 'CRC-32' },
  4: { size: 8, name: 'CRC-64' },
};

interface BlockHeader {
  /** Bytes. */
  readonly length: number;
  readonly x86: boolean;
  readonly packed: bigint | null;
  readonly unpacked: bigint | null;
}

/** Multibyte integers, at most nine bytes with seven bits each, the lowest first (The .xz File Format, 1.2). */
function variable(reader: StreamReader): bigint {
  const start = reader.at;
  let value = 0n;
  for (let i = 0n; i < 9n; i++) {
    const byte = reader.u8();
    if (byte === 0 && i > 0n) break;
    value |= BigInt(byte & 0x7f) << (7n * i);
    if (byte < 0x80) return value;
  }
  throw reader.corrupt('a number is too long', start);
}

/** Bytes up to a multiple of four, counted from `start`, must be zero. */
function padding(reader: StreamReader, start: number): void {
  while ((reader.at - start) % 4 !== 0) {
    if (reader.u8() !== 0) throw reader.corrupt('its padding is not zero', reader.at - 1);
  }
}

/** One stream, of any number of blocks, with the filters that the kernel's build uses: x86 (or none) and LZMA2. */
export const decode: Decoder = async (request) => {
  const reader = new StreamReader('xz', request);
  const arena = await Arena.open<LzmaExports>(lzmaModule, 'xz', request);
  const { exports } = arena;

  /** The CRC-32 that follows the bytes from `start` on. */
  function checkHeader(what: string, start: number): void {
    const crc = exports.crc32(arena.input + start, reader.at - start) >>> 0;
    if (reader.u32le() !== crc) throw reader.corrupt(`the CRC-32 of its ${what} does not match`, reader.at - 4);
  }

  function blockHeader(): BlockHeader {
    const start = reader.at;
    const length = (reader.u8() + 1) * 4;
    reader.skip(length - 5);
    checkHeader('block header', start);
    reader.at = start + 1;
    const flags = reader.u8();
    if ((flags & 0x3c) !== 0) throw reader.unsupported('unknown flags in a block header', start + 1);
    const packed = (flags & 0x40) === 0 ? null : variable(reader);
    const unpacked = (flags & 0x80) === 0 ? null : variable(reader);
    const filters: bigint[] = [];
    for (let i = 0; i <= (flags & 3); i++) {
      const id = variable(reader);
      const properties = Number(variable(reader));
      if (properties !== (id === FILTER_LZMA2 ? 1 : 0)) throw reader.unsupported(`a filter 0x${id.toString(16)}`);
      reader.skip(properties);
      filters.push(id);
    }
    if (reader.at > start + length - 4) throw reader.corrupt('its block header is too short', start);
    const x86 = filters.length === 2 && filters[0] === FILTER_X86;
    if (filters.at(-1) !== FILTER_LZMA2 || filters.length > (x86 ? 2 : 1)) {
      throw reader.unsupported('filters other than x86 and LZMA2', start);
    }
    reader.at = start + length;
    return { length, x86, packed, unpacked };
  }

  if (!reader.accept(compressionFormat('xz').magic)) throw reader.corrupt('the magic number is missing');
  const flagsAt = reader.at;
  const checkId = (reader.u8() << 8) | reader.u8();
  checkHeader('header', flagsAt);
  const check = CHECKS[checkId];
  if (check === undefined) throw reader.unsupported(`a check of type ${checkId}`, flagsAt);

  const records: { readonly unpadded: number; readonly unpacked: number }[] = [];
  let produced = 0;
  while (request.input[reader.at] !== 0) {
    const header = blockHeader();
    const blockStart = reader.at;
    const output = arena.output + produced;
    exports.lzma2_begin(arena.input + blockStart, output);
    await arena.run((target, end) => exports.lzma2_run(arena.inputEnd, target, end));
    const unpacked = arena.produced - produced;
    const packed = arena.consumed - blockStart;
    if (
      (header.packed ?? BigInt(packed)) !== BigInt(packed) ||
      (header.unpacked ?? BigInt(unpacked)) !== BigInt(unpacked)
    ) {
      throw reader.corrupt('a block is not as long as its header says', blockStart);
    }
    if (header.x86) exports.x86_filter(output, unpacked, 0);
    produced += unpacked;
    reader.at = arena.consumed;
    padding(reader, blockStart);
    const checkAt = reader.at;
    const matches =
      check.size === 4
        ? reader.u32le() === exports.crc32(output, unpacked) >>> 0
        : check.size === 8
          ? reader.u64le() === BigInt.asUintN(64, exports.crc64(output, unpacked))
          : true;
    if (!matches) throw reader.corrupt(`the ${check.name} of a block does not match`, checkAt);
    records.push({ unpadded: header.length + packed + check.size, unpacked });
  }

  const indexStart = reader.skip(1);
  let same = variable(reader) === BigInt(records.length);
  for (const record of records) {
    if (!same) break;
    same = variable(reader) === BigInt(record.unpadded) && variable(reader) === BigInt(record.unpacked);
  }
  if (!same) throw reader.corrupt('its index does not match its blocks', indexStart);
  padding(reader, indexStart);
  checkHeader('index', indexStart);

  const footerStart = reader.skip(4);
  const indexSize = footerStart - indexStart;
  const backward = reader.u32le();
  const footerFlags = (reader.u8() << 8) | reader.u8();
  const crc = exports.crc32(arena.input + footerStart + 4, 6) >>> 0;
  reader.at = footerStart;
  if (reader.u32le() !== crc) throw reader.corrupt('the CRC-32 of its footer does not match', footerStart);
  reader.at = footerStart + 10;
  if (backward !== indexSize / 4 - 1 || footerFlags !== checkId || !reader.accept(FOOTER_MAGIC)) {
    throw reader.corrupt('its footer contradicts it', footerStart);
  }
  return arena.result(produced, footerStart + HEADER_SIZE);
};
