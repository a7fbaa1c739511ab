import { describe, expect, it } from 'vitest';
import { compress } from '../../src/compression/compress.js';
import { decompress } from '../../src/compression/decompress.js';
import { compressionFormat, detectCompression, joinPayload, splitPayload } from '../../src/compression/formats.js';
import { corpus, corpusDirectory, readCorpus } from '../kernels/corpus.js';
import {
  COMPRESSED,
  compressNatively,
  hasTool,
  LZ4_SAMPLES,
  machineCode,
  noise,
  run,
  SAMPLES,
  TOOLS,
} from './native-tools.js';

describe.each(COMPRESSED)('%s', (format) => {
  const { program, decompress: args } = TOOLS[format];
  const samples = format === 'lz4' ? [...SAMPLES, ...LZ4_SAMPLES] : SAMPLES;

  it.skipIf(!hasTool(format)).each(samples)('$name is what the native tool reads', async ({ make }) => {
    const raw = make();
    const packed = await compress(raw, format);
    expect(detectCompression(packed) ?? format).toBe(format);
    const native = run(program, args, packed);
    expect(native).not.toBeNull();
    expect(Buffer.compare(native ?? new Uint8Array(), raw)).toBe(0);
    const { bytes, consumed } = await decompress(packed, format, { limit: raw.length, expectedSize: raw.length });
    expect(Buffer.compare(bytes, raw)).toBe(0);
    expect(consumed).toBe(packed.length);
  });

  it('is the same every time', async () => {
    const raw = machineCode(60_000);
    expect(Buffer.compare(await compress(raw, format), await compress(raw, format))).toBe(0);
  });

  it('leaves its input alone', async () => {
    const raw = machineCode(10_000);
    await compress(raw, format);
    expect(Buffer.compare(raw, machineCode(10_000))).toBe(0);
  });

  it('is cancelled before it begins', async () => {
    await expect(compress(noise(10), format, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'aborted',
    });
  });
});

describe.skipIf(corpusDirectory === null)('a kernel', () => {
  it.skipIf(!COMPRESSED.every(hasTool)).each(COMPRESSED)(
    'compressed with %s takes at most 3 % more than what the kernel build made',
    async (format) => {
      const image = corpus.find(({ name }) => name === `k32-${format}`);
      if (image === undefined) throw new Error(`no k32-${format} in the corpus`);
      const start = image.payload_file_offset;
      const payload = readCorpus(image.file).subarray(start, start + image.payload_length);
      const { stream } = splitPayload(payload, format);
      const { bytes } = await decompress(stream, format, { limit: 64 << 20 });
      const ours = await compress(bytes, format);
      expect(ours.length / stream.length).toBeLessThan(1.03);
      expect(Buffer.compare((await decompress(ours, format, { limit: 64 << 20 })).bytes, bytes)).toBe(0);
      const joined = joinPayload(ours, format, bytes.length);
      const parts = splitPayload(joined, format);
      expect(parts.announced).toBe(bytes.length);
      expect(Buffer.compare(parts.stream, ours)).toBe(0);
    },
  );
});

describe('the kernel can only read certain variants', () => {
  it('xz: a CRC-32 check, the x86 filter, LZMA2 with a dictionary of 32 MiB, nothing else', async () => {
    const packed = await compress(machineCode(5000), 'xz');
    expect([...packed.subarray(6, 8)]).toEqual([0, 1]);
    expect([...packed.subarray(12, 20)]).toEqual([2, 0x01, 0x04, 0x00, 0x21, 0x01, 26, 0]);
  });

  it.skipIf(!hasTool('xz'))('xz: headers equal to those of the native tool', async () => {
    const raw = machineCode(5000);
    const native = compressNatively('xz', raw);
    expect([...(await compress(raw, 'xz')).subarray(0, 24)]).toEqual([...native.subarray(0, 24)]);
  });

  it.skipIf(!hasTool('lzma'))('lzma: header equal to that of the native tool', async () => {
    const raw = machineCode(5000);
    expect([...(await compress(raw, 'lzma')).subarray(0, 13)]).toEqual([
      ...compressNatively('lzma', raw).subarray(0, 13),
    ]);
  });

  it.skipIf(!hasTool('gzip'))('gzip: header equal to that of the native tool', async () => {
    const raw = machineCode(5000);
    expect([...(await compress(raw, 'gzip')).subarray(0, 10)]).toEqual([
      ...compressNatively('gzip', raw).subarray(0, 10),
    ]);
  });

  it('zstd: a checksum, which damage behind the header breaks', async () => {
    const packed = await compress(machineCode(5000), 'zstd');
    const last = packed.length - 1;
    packed[last] = (packed[last] ?? 0) ^ 1;
    await expect(decompress(packed, 'zstd', { limit: 5000 })).rejects.toMatchObject({ code: 'payload-corrupt' });
  });

  it('none is the input itself', async () => {
    const raw = noise(10);
    expect(await compress(raw, 'none')).toBe(raw);
    expect(joinPayload(raw, 'none', 10)).toBe(raw);
    expect(compressionFormat('none').sizeWord).toBe(false);
  });
});
