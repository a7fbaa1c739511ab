import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { BootImageError } from '../../src/bytes/error.js';
import { compress } from '../../src/compression/compress.js';
import type { Decompressed } from '../../src/compression/decompress.js';
import { decompress } from '../../src/compression/decompress.js';
import { compressionFormat } from '../../src/compression/formats.js';
import { COMPRESSED, concat, machineCode, noise } from './native-tools.js';

const RAW = machineCode(30_000);
const LIMIT = 1 << 20;

/** The errors that damaged input may cause. */
const CODES = ['payload-corrupt', 'payload-truncated', 'payload-too-large', 'unsupported'];

/** The result, or the error if it is one that damage may cause; anything else is thrown. */
async function attempt(promise: Promise<Decompressed>): Promise<Decompressed | BootImageError> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof BootImageError && CODES.includes(error.code)) return error;
    throw error;
  }
}

function flip(bytes: Uint8Array, at: number, mask = 0x10): Uint8Array {
  const copy = bytes.slice();
  copy[at] = (copy[at] ?? 0) ^ mask;
  return copy;
}

describe.each(COMPRESSED)('%s', (format) => {
  const packed = compress(RAW, format);
  const options = { limit: LIMIT, expectedSize: RAW.length };

  it('truncated anywhere is an error', async () => {
    const stream = await packed;
    const lengths = new Set([...Array(40).keys(), ...Array.from({ length: 60 }, (_, i) => stream.length - 1 - i)]);
    for (let length = 40; length < stream.length; length += 97) lengths.add(length);
    for (const length of lengths) {
      const result = await attempt(decompress(stream.subarray(0, length), format, options));
      expect(result, `${length} of ${stream.length} bytes`).toBeInstanceOf(BootImageError);
    }
    const half = decompress(stream.subarray(0, stream.length >> 1), format, options);
    await expect(half).rejects.toMatchObject({ code: 'payload-truncated' });
  });

  it('with a bit flipped is an error where there is a checksum, and never anything but the announced size', async () => {
    const stream = await packed;
    const sealed = compressionFormat(format).checksum !== null;
    for (let at = 0; at < stream.length; at += 61) {
      const result = await attempt(decompress(flip(stream, at), format, options));
      if (result instanceof BootImageError) continue;
      expect(result.bytes.length).toBe(RAW.length);
      if (sealed) expect(Buffer.compare(result.bytes, RAW), `bit flipped at ${at}`).toBe(0);
    }
  });

  it('with any header byte set to 0, 1, 255 or off by one is an error or the same', async () => {
    const stream = await packed;
    for (let at = 0; at < 48; at++) {
      for (const value of [0, 1, 255, (stream[at] ?? 0) + 1, (stream[at] ?? 0) - 1]) {
        const copy = stream.slice();
        copy[at] = value;
        const result = await attempt(decompress(copy, format, options));
        if (!(result instanceof BootImageError)) expect(result.bytes.length).toBe(RAW.length);
      }
    }
  });

  it('of another size than announced is an error', async () => {
    const stream = await packed;
    for (const expectedSize of [0, 1, RAW.length - 1, RAW.length + 1, LIMIT]) {
      const result = decompress(stream, format, { limit: LIMIT, expectedSize });
      await expect(result).rejects.toMatchObject({ code: 'payload-corrupt' });
    }
  });

  it('above the limit is refused, announced or not', async () => {
    const stream = await packed;
    const limit = RAW.length - 1;
    await expect(decompress(stream, format, { limit })).rejects.toMatchObject({ code: 'payload-too-large' });
    const announced = decompress(stream, format, { limit, expectedSize: RAW.length });
    await expect(announced).rejects.toMatchObject({ code: 'payload-too-large' });
    expect((await decompress(stream, format, { limit: RAW.length })).bytes.length).toBe(RAW.length);
  });

  it('that is noise behind the magic is an error', async () => {
    const { magic } = compressionFormat(format);
    for (let seed = 1; seed < 40; seed++) {
      const result = await attempt(decompress(concat(Uint8Array.from(magic), noise(5000, seed)), format, options));
      expect(result).toBeInstanceOf(BootImageError);
    }
    expect(await attempt(decompress(noise(100), format, options))).toBeInstanceOf(BootImageError);
    expect(await attempt(decompress(new Uint8Array(0), format, options))).toBeInstanceOf(BootImageError);
  });

  it('damaged in any way costs no more than the limit and throws nothing but BootImageError', async () => {
    const stream = await packed;
    const damage = fc.record({
      at: fc.nat(stream.length - 1),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
      cut: fc.option(fc.nat(stream.length)),
      announce: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(damage, async ({ at, bytes, cut, announce }) => {
        const copy = stream.slice(0, cut ?? stream.length);
        copy.set(bytes.subarray(0, Math.max(0, copy.length - at)), Math.min(at, copy.length));
        const result = await attempt(decompress(copy, format, announce ? options : { limit: LIMIT }));
        if (!(result instanceof BootImageError)) {
          expect(result.bytes.length).toBeLessThanOrEqual(LIMIT);
          expect(result.consumed).toBeLessThanOrEqual(copy.length);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('returns what went in, whatever it was', async () => {
    const pieces = fc.array(
      fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc
          .record({ byte: fc.nat(255), count: fc.nat(2000) })
          .map(({ byte, count }) => new Uint8Array(count).fill(byte)),
        fc.nat(20_000).map((length) => RAW.subarray(0, length)),
      ),
      { maxLength: 8 },
    );
    await fc.assert(
      fc.asyncProperty(pieces, async (parts) => {
        const raw = concat(...parts);
        const stream = await compress(raw, format);
        const { bytes, consumed } = await decompress(stream, format, { limit: LIMIT, expectedSize: raw.length });
        expect(Buffer.compare(bytes, raw)).toBe(0);
        expect(consumed).toBe(stream.length);
      }),
      { numRuns: format === 'lzma' || format === 'xz' || format === 'zstd' ? 15 : 40 },
    );
  });

  it('tells where: offsets count from the start of the file', async () => {
    const stream = await packed;
    const error = await attempt(decompress(stream.subarray(0, 20), format, { ...options, base: 1000 }));
    expect(error).toMatchObject({ offset: expect.any(Number) as number });
    const { offset = 0 } = error as BootImageError;
    expect(offset).toBeGreaterThanOrEqual(1000);
    expect(offset).toBeLessThanOrEqual(1020);
  });

  it('is cancelled between two steps', async () => {
    const large = await compress(new Uint8Array(12 << 20), format);
    const controller = new AbortController();
    const result = decompress(large, format, { limit: 12 << 20, signal: controller.signal });
    setTimeout(() => controller.abort());
    if (format === 'gzip') {
      expect((await result).bytes.length).toBe(12 << 20); // zlib's one call is not interrupted
      return;
    }
    await expect(result).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('small inputs that would become huge', () => {
  const limit = 8 << 20;

  /** Peak memory that refusing takes, beyond what is there already. */
  async function refuse(stream: Uint8Array, format: (typeof COMPRESSED)[number], code: string): Promise<void> {
    const before = process.memoryUsage().rss;
    await expect(decompress(stream, format, { limit })).rejects.toMatchObject({ code });
    expect(process.memoryUsage().rss - before).toBeLessThan(96 << 20);
  }

  const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

  it('zstd: 40 KB of blocks that repeat a byte stand for 1.3 GB', async () => {
    const header = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88]);
    const block = word(((128 << 10) << 3) | (1 << 1)).subarray(0, 3);
    await refuse(
      concat(header, ...Array.from({ length: 10_000 }, () => concat(block, Uint8Array.of(0)))),
      'zstd',
      'payload-too-large',
    );
  });

  it('zstd: a header that announces 2^60 bytes', async () => {
    const size = new Uint8Array(BigUint64Array.of(1n << 60n).buffer);
    const block = word(((128 << 10) << 3) | (1 << 1)).subarray(0, 3);
    const blocks = Array.from({ length: 1000 }, () => concat(block, Uint8Array.of(0)));
    await refuse(concat(Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0xe0]), size, ...blocks), 'zstd', 'payload-too-large');
  });

  it('lzma: a header that announces 2^50 bytes', async () => {
    const stream = (await compress(new Uint8Array(1000), 'lzma')).slice();
    stream.set(new Uint8Array(BigUint64Array.of(1n << 50n).buffer), 5);
    await refuse(stream, 'lzma', 'payload-too-large');
  });

  it.each(COMPRESSED)('%s: zeros, many times the limit', async (format) => {
    const zeros = await compress(new Uint8Array(24 << 20), format);
    const repeats = format === 'bzip2' ? 1000 : 1;
    await refuse(concat(...Array.from({ length: repeats }, () => zeros)), format, 'payload-too-large');
  });

  it('gzip without Node: zeros, three times the limit', async () => {
    const zeros = await compress(new Uint8Array(24 << 20), 'gzip');
    const spy = vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined);
    try {
      await refuse(zeros, 'gzip', 'payload-too-large');
    } finally {
      spy.mockRestore();
    }
  });

  it('a size word of 4 GiB allocates nothing', async () => {
    for (const format of COMPRESSED) {
      const stream = await compress(RAW, format);
      const before = process.memoryUsage().rss;
      const result = decompress(stream, format, { limit: 0xffff_ffff, expectedSize: 0xffff_ffff });
      await expect(result).rejects.toMatchObject({ code: 'payload-corrupt' });
      expect(process.memoryUsage().rss - before).toBeLessThan(96 << 20);
    }
  });

  it('a limit that is no size is the caller’s fault', async () => {
    for (const bad of [-1, 1.5, NaN, Infinity]) {
      await expect(decompress(RAW, 'xz', { limit: bad })).rejects.toMatchObject({ code: 'bad-argument' });
    }
  });
});
