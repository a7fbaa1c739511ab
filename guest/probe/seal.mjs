// seal.mjs ELF: writes the CRC-32 of the first segment's file bytes into the place that the probe keeps for it.
import { readFileSync, writeFileSync } from 'node:fs';

const MARK = 'CRC-32 of text:';

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function firstSegment(elf) {
  const is64 = elf[4] === 2;
  const header = is64 ? Number(elf.readBigUInt64LE(0x20)) : elf.readUInt32LE(0x1c);
  const word = (at) => (is64 ? Number(elf.readBigUInt64LE(header + at)) : elf.readUInt32LE(header + at));
  const offset = word(is64 ? 8 : 4);
  return elf.subarray(offset, offset + word(is64 ? 32 : 16));
}

const [path] = process.argv.slice(2);
const elf = readFileSync(path);
const at = elf.indexOf(MARK);
if (at < 0 || elf.indexOf(MARK, at + 1) >= 0) throw new Error(`${path}: the mark must occur exactly once`);
elf.writeUInt32LE(crc32(firstSegment(elf)), at + MARK.length);
writeFileSync(path, elf);
