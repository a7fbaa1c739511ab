import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteView } from '../../src/bytes/byte-view.js';
import { BootImageError } from '../../src/bytes/error.js';
import { alignDown, alignUp } from '../../src/bytes/numbers.js';
import { findOverlap, rangeOf, rangesOverlap, subtractRanges } from '../../src/bytes/ranges.js';
import { defineStruct } from '../../src/bytes/struct.js';

const range = fc.tuple(fc.bigInt(0n, 200n), fc.bigInt(0n, 40n)).map(([start, size]) => ({ start, end: start + size }));

describe('ByteView', () => {
  it('reads what Buffer reads, and refuses everything outside', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: -10, max: 50 }), (bytes, offset) => {
        const view = new ByteView(bytes, 1000);
        const buffer = Buffer.from(bytes);
        for (const [size, ours, theirs] of [
          [1, () => view.u8(offset), () => buffer.readUInt8(offset)],
          [2, () => view.u16(offset), () => buffer.readUInt16LE(offset)],
          [4, () => view.u32(offset), () => buffer.readUInt32LE(offset)],
          [4, () => view.i32(offset), () => buffer.readInt32LE(offset)],
          [8, () => view.u64(offset), () => buffer.readBigUInt64LE(offset)],
        ] as const) {
          if (offset >= 0 && offset + size <= bytes.length) expect(ours()).toBe(theirs());
          else expect(ours).toThrow(BootImageError);
        }
      }),
    );
  });

  it('reports offsets of the file, also from a window', () => {
    const window = new ByteView(new Uint8Array(16)).view(8, 8);
    try {
      window.u32(6, 'field');
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: 'truncated', offset: 14, field: 'field' });
    }
  });

  it('never wraps around on huge offsets', () => {
    const view = new ByteView(new Uint8Array(8));
    for (const offset of [2 ** 53, Number.NaN, -1, 0.5, Infinity]) expect(view.has(offset, 1)).toBe(false);
    expect(view.has(0, 2 ** 53)).toBe(false);
    expect(view.has(8, 0)).toBe(true);
  });

  it('finds strings only when they end', () => {
    const view = new ByteView(Buffer.from('abc\0def'));
    expect(view.cString(0, 10)).toBe('abc');
    expect(view.cString(0, 3)).toBeNull();
    expect(view.cString(4, 10)).toBeNull();
    expect(view.cString(100, 10)).toBeNull();
  });
});

describe('structures', () => {
  const sample = defineStruct('sample', 16, 'test', [
    { name: 'a', offset: 0, type: 'u8', doc: '' },
    { name: 'b', offset: 2, type: 'u16', doc: '' },
    { name: 'c', offset: 4, type: 'u32', doc: '' },
    { name: 'd', offset: 8, type: 'u64', doc: '' },
  ]);

  it('write what they read', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 255 }),
        fc.integer({ min: 0, max: 65535 }),
        fc.nat(),
        fc.bigInt(0n, 2n ** 64n - 1n),
        (a, b, c, d) => {
          const bytes = sample.build({ a, b, c, d });
          expect(sample.read(new ByteView(bytes))).toEqual({ a, b, c, d });
          expect(Buffer.from(bytes).readBigUInt64LE(8)).toBe(d);
        },
      ),
    );
  });

  it('refuse values that are too wide', () => {
    expect(() => sample.build({ a: 256 })).toThrow(BootImageError);
    expect(() => sample.build({ d: -1n })).toThrow(BootImageError);
  });
});

describe('ranges', () => {
  it('find an overlap exactly when a pair overlaps', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 8 }), (ranges) => {
        const filled = ranges.filter(({ start, end }) => end > start);
        const any = filled.some((a, i) => filled.some((b, k) => i < k && rangesOverlap(a, b)));
        expect(findOverlap(ranges) !== null).toBe(any);
      }),
    );
  });

  it('subtract exactly', () => {
    fc.assert(
      fc.property(range, fc.array(range, { maxLength: 6 }), (outer, holes) => {
        const left = subtractRanges(outer, holes);
        for (let at = 0n; at < 250n; at++) {
          const inside =
            at >= outer.start && at < outer.end && !holes.some((hole) => at >= hole.start && at < hole.end);
          expect(left.some((part) => at >= part.start && at < part.end)).toBe(inside);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('refuse to wrap around', () => {
    expect(() => rangeOf(2n ** 64n - 1n, 2n)).toThrow(BootImageError);
    expect(rangeOf(2n ** 64n - 1n, 1n).end).toBe(2n ** 64n);
  });
});

it('alignment agrees with division', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 2n ** 62n), fc.integer({ min: 0, max: 30 }), (value, shift) => {
      const alignment = 1n << BigInt(shift);
      expect(alignDown(value, alignment)).toBe((value / alignment) * alignment);
      expect(alignUp(value, alignment)).toBe(((value + alignment - 1n) / alignment) * alignment);
    }),
  );
});
