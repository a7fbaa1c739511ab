import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32Register } from '../../src/bzimage/crc32.js';

describe('crc32Register', () => {
  it('is the complement of zlib’s CRC-32, at every length and alignment', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(8), (bytes, skip) => {
        const window = bytes.subarray(Math.min(skip, bytes.length));
        expect(crc32Register(window)).toBe(~crc32(window) >>> 0);
      }),
      { numRuns: 2000 },
    );
  });

  it('goes on from a register', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
        expect(crc32Register(b, crc32Register(a))).toBe(crc32Register(Uint8Array.of(...a, ...b)));
      }),
    );
  });
});
