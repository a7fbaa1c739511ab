/**
 * Finds the compressed kernel by its magic number, for images older than protocol 2.08 and for damaged ones.
 *
 * Magic numbers are short and occur by chance and as constants inside decompressors, so that each hit is judged by what
 * its format allows behind the magic. The final proof, decompressing, is not made here.
 */
import type { ByteView } from '../bytes/byte-view.js';
import type { Compression } from '../compression/formats.js';
import { crc32Register } from './crc32.js';

export interface ScanHit {
  /** Offset in the window. */
  readonly offset: number;
  readonly compression: Compression;
  /** How many bits of the header had to be right by chance: more is better. */
  readonly evidence: number;
}

/** Bits that had to match, or 0 if the format forbids what stands there. */
type Probe = (view: ByteView, at: number) => number;

const KIB = 1024;
/** A kernel is not larger than this; sizes above it in a header speak against it. */
const PLAUSIBLE_SIZE = 2 ** 30;

const crc32 = (bytes: Uint8Array): number => ~crc32Register(bytes) >>> 0;

/** Reads bits as deflate packs them: from the least significant one. */
function bitReader(view: ByteView, at: number): (count: number) => number {
  let position = at * 8;
  return (count) => {
    let value = 0;
    for (let i = 0; i < count; i++, position++) {
      value |= ((view.u8(position >> 3) >> (position & 7)) & 1) << i;
    }
    return value;
  };
}

/** Order in which RFC 1951 (3.2.7) stores the lengths of the code length code. */
const DYNAMIC_ORDER_LENGTH = 19;

/** RFC 1951: what a first block may look like; the bits that had to be right, or 0. */
function probeDeflate(view: ByteView, at: number): number {
  const bits = bitReader(view, at);
  bits(1);
  const type = bits(2);
  if (type === 3) return 0;
  if (type === 1) return 1;
  if (type === 0) return view.u16(at + 1) === (~view.u16(at + 3) & 0xffff) ? 16 : 0;
  const literals = bits(5) + 257;
  const distances = bits(5) + 1;
  const codes = bits(4) + 4;
  if (literals > 286 || distances > 30 || codes > DYNAMIC_ORDER_LENGTH) return 0;
  let kraft = 0;
  for (let i = 0; i < codes; i++) {
    const length = bits(3);
    if (length > 0) kraft += 128 >> length;
  }
  // The lengths must form a complete prefix code.
  return kraft === 128 ? 8 : 0;
}

/** RFC 1952. */
const probeGzip: Probe = (view, at) => {
  if (!view.startsWith('\x1f\x8b\x08', at)) return 0;
  const flags = view.u8(at + 3);
  if ((flags & 0xe0) !== 0) return 0;
  const extraFlags = view.u8(at + 8);
  const system = view.u8(at + 9);
  if (![0, 2, 4].includes(extraFlags) || (system > 13 && system !== 255)) return 0;
  let data = at + 10;
  if ((flags & 4) !== 0) data += 2 + view.u16(data);
  for (const text of [8, 16]) {
    if ((flags & text) === 0) continue;
    const length = view.bytes.subarray(data, data + LONGEST_NAME).indexOf(0);
    if (length < 0) return 0;
    data += length + 1;
  }
  if ((flags & 2) !== 0) data += 2;
  const deflate = probeDeflate(view, data);
  return deflate === 0 ? 0 : 24 + 3 + 6 + 4 + deflate;
};

/** bzip2 has no public specification: "BZh", the block size in 100 kB, then pi as the block's magic. */
const probeBzip2: Probe = (view, at) => {
  const level = view.u8(at + 3);
  return view.startsWith('BZh', at) &&
    level >= 0x31 &&
    level <= 0x39 &&
    view.startsWith('\x31\x41\x59\x26\x53\x59', at + 4)
    ? 80
    : 0;
};

/** lzma-file-format.txt: properties, dictionary size, uncompressed size, then the range coder, which begins with 0. */
const probeLzma: Probe = (view, at) => {
  if (!view.startsWith('\x5d\x00\x00', at)) return 0;
  const dictionary = view.u32(at + 1);
  const power = 2 ** Math.floor(Math.log2(dictionary));
  if (dictionary < 4 * KIB || (dictionary !== power && dictionary !== power * 1.5)) return 0;
  const size = view.u64(at + 5);
  if (size !== 0xffff_ffff_ffff_ffffn && (size === 0n || size > BigInt(PLAUSIBLE_SIZE))) return 0;
  return view.u8(at + 13) === 0 ? 24 + 10 + 33 + 8 : 0;
};

/** xz-file-format.txt, 2.1.1: flags with a CRC-32 of their own. */
const probeXz: Probe = (view, at) => {
  if (!view.startsWith('\xfd7zXZ\x00', at) || view.u8(at + 6) !== 0 || view.u8(at + 7) > 15) return 0;
  return view.u32(at + 8) === crc32(view.slice(at + 6, 2)) ? 48 + 12 + 32 : 0;
};

/** lzop's header, as the kernel's lib/decompress_unlzo.c parses it. */
const probeLzo: Probe = (view, at) => {
  if (!view.startsWith('\x89LZO\x00\r\n\x1a\n', at)) return 0;
  const method = view.u8(at + 15);
  return method >= 1 && method <= 3 ? 72 + 6 : 0;
};

/** lz4_Frame_format.md, "Legacy frame": blocks of 8 MiB, each with its compressed length. */
const probeLz4: Probe = (view, at) => {
  if (!view.startsWith('\x02\x21\x4c\x18', at)) return 0;
  const block = view.u32(at + 4);
  const largest = 8 * KIB * KIB + 32 * KIB + 64;
  return block > 0 && block <= largest && block <= view.length - at - 8 ? 32 + 8 : 0;
};

/** RFC 8878, 3.1.1. */
const probeZstd: Probe = (view, at) => {
  if (!view.startsWith('\x28\xb5\x2f\xfd', at)) return 0;
  const descriptor = view.u8(at + 4);
  if ((descriptor & 0x08) !== 0) return 0;
  const single = (descriptor & 0x20) !== 0;
  const dictionaryId = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const contentSize = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  const block = at + 5 + (single ? 0 : 1) + dictionaryId + contentSize;
  const header = view.u16(block) | (view.u8(block + 2) << 16);
  const type = (header >> 1) & 3;
  return type !== 3 && header >> 3 <= 128 * KIB ? 32 + 1 + 2 + 4 : 0;
};

/** An ELF header for x86 that its own sizes do not contradict (System V gABI, chapter 4). */
const probeElf: Probe = (view, at) => {
  if (!view.startsWith('\x7fELF', at)) return 0;
  const cls = view.u8(at + 4);
  const type = view.u16(at + 16);
  const machine = view.u16(at + 18);
  if ((cls !== 1 && cls !== 2) || view.u8(at + 5) !== 1 || view.u8(at + 6) !== 1) return 0;
  if (type !== 2 && type !== 3) return 0;
  const wide = cls === 2;
  const headerSize = view.u16(at + (wide ? 52 : 40));
  return machine === (wide ? 62 : 3) && headerSize === (wide ? 64 : 52) ? 32 + 24 + 15 + 16 + 16 : 0;
};

/** By the first two bytes, so that most chance hits of the first byte end at once. */
const PROBES: readonly { readonly magic: number; readonly compression: Compression; readonly probe: Probe }[] = [
  { magic: 0x8b1f, compression: 'gzip', probe: probeGzip },
  { magic: 0x5a42, compression: 'bzip2', probe: probeBzip2 },
  { magic: 0x005d, compression: 'lzma', probe: probeLzma },
  { magic: 0x37fd, compression: 'xz', probe: probeXz },
  { magic: 0x4c89, compression: 'lzo', probe: probeLzo },
  { magic: 0x2102, compression: 'lz4', probe: probeLz4 },
  { magic: 0xb528, compression: 'zstd', probe: probeZstd },
  { magic: 0x457f, compression: 'none', probe: probeElf },
];

/** A header needs room; what is closer to the end is no kernel anyway. */
const LONGEST_HEADER = 64;
/** Chance hits are rare; more than this mean that someone made the file to waste time. */
const MAX_HITS = 1000;
const MAX_CANDIDATES = 16;
/** The longest name or comment in a gzip header. */
const LONGEST_NAME = 4096;

/** How likely a compressed stream of a known format begins at `at`: 0 for certainly not. Never throws. */
export function probeAt(view: ByteView, at: number): { compression: Compression; evidence: number } | null {
  if (!view.has(at, LONGEST_HEADER)) return null;
  const magic = view.u16(at);
  const row = PROBES.find((probe) => probe.magic === magic);
  if (row === undefined) return null;
  try {
    const evidence = row.probe(view, at);
    return evidence > 0 ? { compression: row.compression, evidence } : null;
  } catch {
    // A length inside the header led outside the window.
    return null;
  }
}

/** Every plausible place in the window, best evidence first and, among equals, in file order. At most 16. */
export function scanForPayload(view: ByteView): ScanHit[] {
  const hits: ScanHit[] = [];
  const { bytes } = view;
  const end = view.length - LONGEST_HEADER;
  // One native search a format: no loop over every byte, which is slow until it has been compiled.
  for (const { magic } of PROBES) {
    const first = magic & 0xff;
    const second = magic >> 8;
    let found = 0;
    for (let at = bytes.indexOf(first); at >= 0 && at <= end && found < MAX_HITS; at = bytes.indexOf(first, at + 1)) {
      if (bytes[at + 1] !== second) continue;
      const hit = probeAt(view, at);
      if (hit === null) continue;
      hits.push({ offset: at, ...hit });
      found++;
    }
  }
  hits.sort((a, b) => b.evidence - a.evidence || a.offset - b.offset);
  return hits.slice(0, MAX_CANDIDATES);
}
