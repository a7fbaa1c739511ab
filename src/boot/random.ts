/** Random numbers for host KASLR. */
import { BootImageError } from '../bytes/error.js';
import { nodeModule } from '../bytes/node-module.js';

export interface RandomSource {
  /** A uniformly distributed number in [0, bound); `bound` in [1, 2^64]. */
  below(bound: bigint): bigint;
}

const MASK = (1n << 64n) - 1n;

/** Turns 64-bit words into unbiased numbers: words beyond the last whole multiple of `bound` are drawn again. */
function uniform(word: () => bigint): RandomSource {
  return {
    below(bound) {
      const usable = MASK + 1n - ((MASK + 1n) % bound);
      for (;;) {
        const value = word();
        if (value < usable) return value % bound;
      }
    },
  };
}

/** The system's own source is a file, where Node's crypto takes longer to load than a kernel to relocate. */
const SYSTEM_SOURCE = '/dev/urandom';

/** Fills `words` from the system's source; false where there is none, or no way to read files. */
function fillFromSystem(words: BigUint64Array): boolean {
  const fs = nodeModule('node:fs');
  if (fs === null) return false;
  try {
    const fd = fs.openSync(SYSTEM_SOURCE, 'r');
    try {
      return fs.readSync(fd, words) === words.byteLength;
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    return false;
  }
}

/** The platform's cryptographic source. */
function platformSource(): RandomSource {
  const words = new BigUint64Array(1);
  return uniform(() => {
    if (!fillFromSystem(words)) globalThis.crypto.getRandomValues(words);
    return words[0] ?? 0n;
  });
}

/** FNV-1a over the seed's UTF-8 bytes (http://www.isthe.com/chongo/tech/comp/fnv/), 64 bits. */
function fnv1a(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & MASK;
  return hash;
}

/**
 * The same numbers for the same text, on every machine and in every version: SplitMix64 (Steele, Lea, Flood 2014)
 * started at the text's FNV-1a hash. Not secret: for tests and for reports that others shall reproduce.
 */
function seededSource(seed: string): RandomSource {
  let state = fnv1a(seed);
  return uniform(() => {
    state = (state + 0x9e3779b97f4a7c15n) & MASK;
    let word = state;
    word = ((word ^ (word >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    word = ((word ^ (word >> 27n)) * 0x94d049bb133111ebn) & MASK;
    return word ^ (word >> 31n);
  });
}

/** @throws BootImageError `bad-argument` for an empty seed. */
export function randomSource(seed: string | null): RandomSource {
  if (seed === '') throw new BootImageError('bad-argument', 'an empty seed is no seed', { field: 'kaslr' });
  return seed === null ? platformSource() : seededSource(seed);
}
