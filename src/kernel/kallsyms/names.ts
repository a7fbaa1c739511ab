/**
 * The name tables of kallsyms (scripts/kallsyms.c), found and proved by their structure.
 *
 *     kallsyms_num_syms     u32, or one word of the kernel's size before 4.20
 *     kallsyms_names        for each symbol a length and so many token numbers; the first character is the type
 *     kallsyms_markers      offset in names of every 256th symbol; u32, or one word before 4.20
 *     kallsyms_seqs_of_names   (6.2 and 6.3 only: 3 bytes for each symbol)
 *     kallsyms_token_table  256 NUL-terminated strings
 *     kallsyms_token_index  256 u16: offset of each string
 *
 * The order has been the same since 2.6.10. Each table is aligned to a word of the kernel's size, since 7.0 to 4 bytes.
 */
import { latin1, latin1Bytes, type ByteView } from '../../bytes/byte-view.js';
import { alignNumber } from '../../bytes/numbers.js';
import { indexOfBytes } from '../search.js';

const TOKENS = 256;
const INDEX_SIZE = TOKENS * 2;
/** Longest string in the token table; real ones have some tens of characters. */
const LONGEST_TOKEN = 512;
/** KSYM_NAME_LEN is 512 since 6.1; a compressed name takes at most as many bytes and two for its length. */
const LONGEST_NAME = 514;
const MARKER_EVERY = 256;
const MOST_SYMBOLS = 1 << 22;

/** Digits stand for themselves in every token table, since every kernel has symbols with each of them. */
const DIGITS = '0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00';
const DIGIT_ZERO = 0x30;

const NEWLINE = 0x0a;
const EMPTY = new Uint8Array(0);

interface TokenTable {
  readonly offset: number;
  /** One past token_index. */
  readonly end: number;
  readonly tokens: readonly string[];
}

export interface KallsymsNames {
  /** Offset of kallsyms_num_syms. */
  readonly numSyms: number;
  /** One past kallsyms_token_index. */
  readonly end: number;
  /** How many symbols there are. */
  readonly count: number;
  /** Type character and name of each symbol. */
  decode(): string[];
}

/** Reads the token table around `digits`, the place of the token "0"; null unless token_index proves it. */
function readTokenTable(view: ByteView, digits: number): TokenTable | null {
  const { bytes } = view;
  let end = digits;
  for (let i = DIGIT_ZERO; i < TOKENS; i++) {
    const nul = bytes.subarray(end, end + LONGEST_TOKEN).indexOf(0);
    if (nul < 0) return null;
    end += nul + 1;
  }
  for (const alignment of [4, 8]) {
    const index = alignNumber(end, alignment);
    if (!view.has(index, INDEX_SIZE)) continue;
    const offset = digits - view.u16(index + DIGIT_ZERO * 2);
    if (offset < 0) continue;
    const tokens: string[] = [];
    let at = offset;
    for (let i = 0; i < TOKENS && view.u16(index + i * 2) === at - offset; i++) {
      const nul = bytes.subarray(at, end).indexOf(0);
      if (nul < 0) break;
      tokens.push(latin1(bytes.subarray(at, at + nul)));
      at += nul + 1;
    }
    if (tokens.length === TOKENS && at === end) return { offset, end: index + INDEX_SIZE, tokens };
  }
  return null;
}

interface Markers {
  readonly offset: number;
  readonly values: readonly number[];
}

/** Reads markers backwards from their end to the first, which is 0; null if these are none. */
function readMarkers(view: ByteView, end: number, width: 4 | 8): Markers | null {
  const values: number[] = [];
  for (let at = end - width; at >= 0; at -= width) {
    if (width === 8 && view.u32(at + 4) !== 0) return null;
    const value = view.u32(at);
    const later = values.at(-1);
    if (later !== undefined) {
      const group = later - value;
      if (group < 2 * MARKER_EVERY || group > LONGEST_NAME * MARKER_EVERY) return null;
    }
    values.push(value);
    if (value === 0) return { offset: at, values: values.reverse() };
  }
  return null;
}

/** The length of the entry at `at` without its header, and the header's: one byte, or two if bit 7 is set (since 6.1). */
function entryLength(bytes: Uint8Array, at: number): { header: number; length: number } {
  const low = bytes[at] ?? 0;
  return low < 0x80 ? { header: 1, length: low } : { header: 2, length: (low & 0x7f) | ((bytes[at + 1] ?? 0) << 7) };
}

/** True if `count` names from `names` on fill the space up to the markers and agree with each of them. */
function provesNames(view: ByteView, names: number, count: number, markers: Markers): boolean {
  let at = names;
  for (let i = 0; i < count; i++) {
    if (i % MARKER_EVERY === 0 && markers.values[i / MARKER_EVERY] !== at - names) return false;
    const { header, length } = entryLength(view.bytes, at);
    if (length === 0) return false;
    at += header + length;
    if (at > markers.offset) return false;
  }
  const padding = view.bytes.subarray(at, markers.offset);
  return padding.length < 8 && padding.every((byte) => byte === 0);
}

/** Finds the names in front of their markers: the symbol count stands right before them. */
function findNames(view: ByteView, markers: Markers): { numSyms: number; names: number; count: number } | null {
  const groups = markers.values.length;
  const highest = markers.offset - (markers.values.at(-1) ?? 0) - 2;
  const lowest = Math.max(8, highest - 8 - MARKER_EVERY * LONGEST_NAME);
  for (let names = highest - (highest % 4); names >= lowest; names -= 4) {
    for (const distance of [4, 8]) {
      const count = view.u32(names - distance);
      if (Math.ceil(count / MARKER_EVERY) !== groups || count > MOST_SYMBOLS) continue;
      if (distance === 8 && view.u32(names - 4) !== 0) continue;
      if (provesNames(view, names, count, markers)) return { numSyms: names - distance, names, count };
    }
  }
  return null;
}

/** Places where markers may end, in front of the token table: at once, or before seqs_of_names (6.2 and 6.3). */
function* markerEnds(view: ByteView, tokenTable: number): Generator<number> {
  yield tokenTable;
  yield tokenTable - 4;
  for (let end = tokenTable - 8; end > 8 && tokenTable - end < 3 * MOST_SYMBOLS; end -= 4) {
    const last = view.u32(end - 4);
    const before = view.u32(end - 8);
    // Most places fail here: the last two markers differ by the length of 256 names.
    if (last - before < 2 * MARKER_EVERY || last - before > LONGEST_NAME * MARKER_EVERY) continue;
    const markers = readMarkers(view, end, 4);
    const count = (tokenTable - end) / 3;
    if (markers !== null && Math.abs(markers.values.length - count / MARKER_EVERY) <= 2) yield end;
  }
}

/** Expands all names into one buffer and cuts the text up at the end: far cheaper than joining tokens name by name. */
function decode(view: ByteView, names: number, count: number, tokens: readonly string[]): string[] {
  const { bytes } = view;
  const expansions = tokens.map(latin1Bytes);
  let text = new Uint8Array(count * 32);
  let length = 0;
  for (let i = 0, at = names; i < count; i++) {
    const entry = entryLength(bytes, at);
    at += entry.header;
    for (const end = at + entry.length; at < end; at++) {
      const expansion = expansions[bytes[at] ?? 0] ?? EMPTY;
      while (length + expansion.length >= text.length) text = enlarged(text);
      for (const code of expansion) text[length++] = code;
    }
    text[length++] = NEWLINE;
    if (length >= text.length) text = enlarged(text);
  }
  return new TextDecoder('latin1').decode(text.subarray(0, Math.max(0, length - 1))).split('\n');
}

function enlarged(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(bytes.length * 2);
  larger.set(bytes);
  return larger;
}

/** Finds the name tables; null if the kernel has none (CONFIG_KALLSYMS is off). Never throws. */
export function findKallsymsNames(view: ByteView, bits: 32 | 64): KallsymsNames | null {
  const { bytes } = view;
  for (let at = indexOfBytes(bytes, DIGITS); at >= 0; at = indexOfBytes(bytes, DIGITS, at + 1)) {
    const table = readTokenTable(view, at);
    if (table === null) continue;
    for (const end of markerEnds(view, table.offset)) {
      for (const width of bits === 64 ? ([8, 4] as const) : ([4] as const)) {
        const markers = readMarkers(view, end, width);
        const found = markers === null ? null : findNames(view, markers);
        if (found === null) continue;
        return {
          numSyms: found.numSyms,
          end: table.end,
          count: found.count,
          decode: () => decode(view, found.names, found.count, table.tokens),
        };
      }
    }
  }
  return null;
}
