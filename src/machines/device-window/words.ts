/**
 * Accesses of one width. Elements are moved one by one: `set`, `fill` and `copyWithin` choose their own widths, while
 * V8 makes one load or store of the element's width of each access to an element, and neither merges nor repeats them.
 */
import type { AccessWidth } from './memory-window.js';

type Words = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

const VIEWS: Readonly<Record<AccessWidth, new (buffer: ArrayBufferLike, offset: number, length: number) => Words>> = {
  1: Uint8Array,
  2: Uint16Array,
  4: Uint32Array,
  8: BigUint64Array,
};

/** `bytes`, which begin on a multiple of `width` of their buffer, as whole words of the host's byte order. */
export function wordsOf(bytes: Uint8Array, width: AccessWidth): Words {
  return new VIEWS[width](bytes.buffer, bytes.byteOffset, Math.floor(bytes.length / width));
}

/** Copies `count` words from `from[start]` on to `to[at]` on; both are views of the same width. */
export function copyWords(from: Words, start: number, to: Words, at: number, count: number): void {
  // One type for the compiler; the loop is the same for all.
  const source = from as Uint32Array;
  const target = to as Uint32Array;
  for (let index = 0; index < count; index++) target[at + index] = source[start + index] ?? 0;
}
