import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { decompress } from '../../src/compression/decompress.js';
import { detectCompression, splitPayload } from '../../src/compression/formats.js';
import { corpus, corpusDirectory, readCorpus } from '../kernels/corpus.js';

const LIMIT = 64 << 20;

describe.skipIf(corpusDirectory === null)('the payloads of the corpus', () => {
  it.each(corpus.map((image) => [image.name, image] as const))('%s', async (_, image) => {
    const start = image.payload_file_offset;
    const file = readCorpus(image.file);
    const payload = file.subarray(start, start + image.payload_length);
    const format = detectCompression(payload);
    expect(format).toBe(image.compression);
    if (format === null) return;
    const { stream, announced } = splitPayload(payload, format);
    expect(announced).toBe(image.decompressed.size);
    const { bytes, consumed } = await decompress(stream, format, {
      limit: LIMIT,
      expectedSize: image.decompressed.size,
    });
    expect(consumed).toBe(stream.length);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(image.decompressed.sha256);
  });

  it.each(corpus.map((image) => [image.name, image] as const))(
    '%s: the stream is found without knowing where it ends',
    async (_, image) => {
      const file = readCorpus(image.file);
      const rest = file.subarray(image.payload_file_offset);
      const format = detectCompression(rest);
      if (format === null) throw new Error('not detected');
      const { bytes, consumed } = await decompress(rest, format, { limit: LIMIT });
      expect(bytes.length).toBe(image.decompressed.size);
      expect(consumed).toBe(image.payload_length - (format === 'gzip' ? 0 : 4));
    },
  );
});
