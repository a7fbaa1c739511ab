import { describe, expect, it, vi } from 'vitest';
import { decompress } from '../../src/compression/decompress.js';
import { instantiate } from '../../src/compression/wasm/arena.js';
import {
  COMPRESSED,
  compressNatively,
  concat,
  hasTool,
  LZ4_SAMPLES,
  machineCode,
  noise,
  run,
  SAMPLES,
  TOOLS,
} from './native-tools.js';

const LIMIT = 64 << 20;

describe.each(COMPRESSED)('%s, compressed by the native tool', (format) => {
  const missing = !hasTool(format);
  const samples = format === 'lz4' ? [...SAMPLES, ...LZ4_SAMPLES] : SAMPLES;

  it.skipIf(missing).each(samples)('$name, as the kernel is compressed', async ({ make }) => {
    const raw = make();
    const packed = compressNatively(format, raw);
    if (packed.length === 0) return; // lz4 -l writes nothing for nothing
    const known = await decompress(packed, format, { limit: LIMIT, expectedSize: raw.length });
    expect(Buffer.compare(known.bytes, raw)).toBe(0);
    expect(known.consumed).toBe(packed.length);
    const unknown = await decompress(packed, format, { limit: LIMIT });
    expect(Buffer.compare(unknown.bytes, raw)).toBe(0);
    expect(unknown.consumed).toBe(packed.length);
  });

  it.skipIf(missing).each(TOOLS[format].others.map((args) => args.join(' ')))('with %s', async (args) => {
    for (const { make } of SAMPLES) {
      const raw = make();
      const packed = compressNatively(format, raw, args.split(' '));
      if (packed.length === 0) continue;
      const { bytes, consumed } = await decompress(packed, format, { limit: LIMIT, expectedSize: raw.length });
      expect(Buffer.compare(bytes, raw)).toBe(0);
      expect(consumed).toBe(packed.length);
    }
  });

  it.skipIf(missing)('ends where the stream ends, whatever follows', async () => {
    const raw = noise(200_000).map((byte) => byte & 15);
    const packed = compressNatively(format, raw);
    const sizeWord = new Uint8Array(Uint32Array.of(raw.length).buffer);
    for (const tail of [sizeWord, concat(sizeWord, noise(100, 3)), new Uint8Array(64)]) {
      if (format === 'lz4' && tail.length === 64) continue; // no end marker: a zero word is damage
      const { bytes, consumed } = await decompress(concat(packed, tail), format, { limit: LIMIT });
      expect(Buffer.compare(bytes, raw)).toBe(0);
      expect(consumed).toBe(packed.length);
    }
  });
});

describe('streams in a row', () => {
  const first = noise(100_000).map((byte) => byte & 3);
  const second = noise(50_000, 5).map((byte) => byte & 7);

  it.skipIf(!hasTool('bzip2'))('bzip2: several streams are one file, as parallel compressors write it', async () => {
    const packed = concat(compressNatively('bzip2', first), compressNatively('bzip2', second));
    const { bytes, consumed } = await decompress(packed, 'bzip2', { limit: LIMIT });
    expect(Buffer.compare(bytes, concat(first, second))).toBe(0);
    expect(consumed).toBe(packed.length);
  });

  it.skipIf(!hasTool('bzip2'))(
    'bzip2: something that only looks like a stream does not belong to the file',
    async () => {
      const packed = compressNatively('bzip2', first);
      const tail = new TextEncoder().encode('BZh9 is not a stream');
      expect((await decompress(concat(packed, tail), 'bzip2', { limit: LIMIT })).consumed).toBe(packed.length);
    },
  );

  it.skipIf(!hasTool('lz4'))('lz4: frames in a row are one output, as the native tool reads them', async () => {
    const packed = concat(compressNatively('lz4', first), compressNatively('lz4', second));
    const { bytes } = await decompress(packed, 'lz4', { limit: LIMIT });
    const native = run('lz4', ['-dc'], packed);
    expect(native).not.toBeNull();
    expect(Buffer.compare(bytes, native ?? new Uint8Array())).toBe(0);
  });

  it.skipIf(!hasTool('lz4'))('lz4: the size word behind a full last block is not taken for a block', async () => {
    const raw = machineCode(8 << 20);
    const packed = compressNatively('lz4', raw);
    const sizeWord = new Uint8Array(Uint32Array.of(raw.length).buffer);
    const { consumed } = await decompress(concat(packed, sizeWord), 'lz4', { limit: LIMIT });
    expect(consumed).toBe(packed.length);
  });

  it.skipIf(!hasTool('gzip') || !hasTool('zstd'))(
    'gzip and zstd: one member or frame, as a kernel reads it',
    async () => {
      for (const format of ['gzip', 'zstd'] as const) {
        const packed = compressNatively(format, first);
        const { bytes, consumed } = await decompress(concat(packed, packed), format, { limit: LIMIT });
        expect(Buffer.compare(bytes, first)).toBe(0);
        expect(consumed).toBe(packed.length);
      }
    },
  );
});

describe('gzip without Node', () => {
  it.skipIf(!hasTool('gzip')).each(SAMPLES)('$name', async ({ make }) => {
    const spy = vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined);
    try {
      const raw = make();
      for (const args of [['-9'], ['-1']]) {
        const packed = compressNatively('gzip', raw, args);
        const { bytes, consumed } = await decompress(concat(packed, noise(40)), 'gzip', { limit: LIMIT });
        expect(Buffer.compare(bytes, raw)).toBe(0);
        expect(consumed).toBe(packed.length);
      }
      expect(spy).toHaveBeenCalled();
    } finally {
      spy.mockRestore();
    }
  });
});

describe('none', () => {
  const elf = new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 1, 2, 3]);

  it('is the input itself', async () => {
    const { bytes, consumed } = await decompress(elf, 'none', { limit: 7, expectedSize: 7 });
    expect(bytes).toBe(elf);
    expect(consumed).toBe(7);
  });

  it('is an ELF file of the announced size within the limit', async () => {
    await expect(decompress(elf, 'none', { limit: 6 })).rejects.toMatchObject({ code: 'payload-too-large' });
    await expect(decompress(elf, 'none', { limit: 9, expectedSize: 8 })).rejects.toMatchObject({
      code: 'payload-corrupt',
    });
    await expect(decompress(elf.subarray(1), 'none', { limit: 9 })).rejects.toMatchObject({ code: 'payload-corrupt' });
  });
});

it('an engine without vector instructions is told from a damaged payload', async () => {
  const compile = vi
    .spyOn(WebAssembly, 'compile')
    .mockRejectedValueOnce(new WebAssembly.CompileError('Wasm SIMD unsupported'));
  await expect(instantiate('AGFzbQEAAAA=')).rejects.toMatchObject({ code: 'tool-missing', blame: 'outside' });
  compile.mockRestore();
});
