import { describe, expect, it } from 'vitest';
import {
  COMPRESSION_FORMATS,
  compressionFormat,
  detectCompression,
  splitPayload,
} from '../../src/compression/formats.js';
import { COMPRESSED, compressNatively, hasTool } from './native-tools.js';

describe('detectCompression', () => {
  it.each(COMPRESSED.filter(hasTool))('knows what the native %s writes', (format) => {
    expect(detectCompression(compressNatively(format, new Uint8Array(1000)))).toBe(format);
  });

  it('wants the whole magic', () => {
    for (const { magic } of COMPRESSION_FORMATS) {
      expect(detectCompression(Uint8Array.from(magic.slice(0, -1)))).toBeNull();
      expect(detectCompression(Uint8Array.from([0, ...magic]))).toBeNull();
    }
    expect(detectCompression(new Uint8Array(0))).toBeNull();
  });
});

describe('splitPayload', () => {
  const payload = Uint8Array.from([9, 8, 7, 6, 0x78, 0x56, 0x34, 0x12]);

  it('takes the size word off, except from gzip, whose own serves', () => {
    for (const { name, sizeWord } of COMPRESSION_FORMATS) {
      if (name === 'none') continue;
      expect(splitPayload(payload, name)).toEqual({
        stream: sizeWord ? payload.subarray(0, 4) : payload,
        announced: 0x12345678,
      });
    }
    expect(compressionFormat('gzip').sizeWord).toBe(false);
    expect(COMPRESSION_FORMATS.filter(({ sizeWord }) => sizeWord)).toHaveLength(6);
  });

  it('announces nothing that is not there', () => {
    expect(splitPayload(payload.subarray(0, 3), 'xz')).toEqual({ stream: payload.subarray(0, 3), announced: null });
    expect(splitPayload(payload, 'none')).toEqual({ stream: payload, announced: 8 });
  });
});
