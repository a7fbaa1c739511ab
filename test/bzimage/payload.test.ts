import { describe, expect, it } from 'vitest';
import { decompressPayload } from '../../src/kernel/recover.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { edited, withField } from './edit.js';

/** One image of each compression, and one of each edge case. */
const images = corpus.filter(({ name }) => !name.startsWith('k32-') || name === 'k32-gzip' || name === 'k32-noreloc');
const small = 'k32-xz.bzImage';

describe.skipIf(images.length === 0)('scanning, when the header does not say where the payload is', () => {
  it.each(images.map((truth) => [truth.name, truth] as const))(
    'finds it in %s as in the build tree',
    (_name, truth) => {
      // Protocol 2.07 has no payload_offset; its header is shorter as well.
      const old = withField(readCorpus(truth.file), 'version', 0x207);
      const { payload, candidates } = readBootImage(old);
      expect(payload).toMatchObject({
        offset: truth.payload_file_offset,
        compression: truth.compression,
        foundBy: 'scan',
        sizeWord: null,
      });
      expect(candidates).toEqual([]);
    },
  );

  it('goes on after false magics, and the proof by decompressing decides', async () => {
    const truth = corpus.find(({ file }) => file === small);
    const decoys: Record<string, readonly number[]> = {
      gzip: [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 1, 0, 0, 0xff, 0xff],
      // Flags with a wrong checksum: refused at once.
      xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 1, 0, 0, 0, 0],
      lz4: [0x02, 0x21, 0x4c, 0x18, 0x10, 0, 0, 0],
      zstd: [0x28, 0xb5, 0x2f, 0xfd, 0x24, 0x40, 0x05, 0, 0],
    };
    const image = readBootImage(
      edited(withField(readCorpus(small), 'version', 0x207), (copy) => {
        // Behind the payload, where the decompressor's code is: 44 KB.
        let at = copy.length - 40_000;
        for (const bytes of Object.values(decoys)) {
          copy.set(bytes, at);
          at += 128;
        }
      }),
    );
    const found = [image.payload, ...image.candidates].map((payload) => payload?.compression);
    expect(found[0]).toBe('xz');
    expect(found.slice(1).sort()).toEqual(['gzip', 'lz4', 'zstd']);
    const { payload, bytes } = await decompressPayload(image);
    expect(payload?.offset).toBe(truth?.payload_file_offset);
    expect(bytes.length).toBe(truth?.decompressed.size);
  });

  it('is not slow on a file made of magic numbers', () => {
    const base = readCorpus(small);
    const hostile = edited(withField(base, 'version', 0x207), (copy) => {
      // gzip headers with a name that never ends.
      for (let at = 0x4000; at + 16 < copy.length; at += 4) copy.set([0x1f, 0x8b, 8, 8], at);
    });
    expect(readBootImage(hostile).payload).toBeNull();
  });
});

describe.skipIf(corpusFile(small) === null)('the header’s payload', () => {
  const truth = corpus.find(({ file }) => file === small);
  const base = corpusFile(small) === null ? new Uint8Array() : readCorpus(small);
  const ids = (bytes: Uint8Array): string[] => readBootImage(bytes).problems.map(({ id }) => id);

  it('is found by scanning when the fields are damaged, and the damage is reported', () => {
    for (const [name, value, id] of [
      ['payload_offset', 0, 'payload-unplaced'],
      ['payload_length', 0, 'payload-unplaced'],
      ['payload_offset', 0xffffffff, 'payload-outside'],
      ['payload_offset', 149, 'payload-unknown'],
    ] as const) {
      const image = readBootImage(withField(base, name, value));
      expect([name, value, image.problems.map((problem) => problem.id)]).toEqual([name, value, [id]]);
      expect(image.problems[0]).toMatchObject({ severity: 'error' });
      expect(image.payload).toMatchObject({ offset: truth?.payload_file_offset, compression: 'xz', foundBy: 'scan' });
    }
  });

  it('is cut down to the file', () => {
    const image = readBootImage(withField(base, 'payload_length', 0xffffffff));
    expect(image.problems.map(({ id, field }) => [id, field])).toEqual([['payload-truncated', 'payload_length']]);
    expect(image.payload).toMatchObject({
      length: base.length - (truth?.payload_file_offset ?? 0),
      sizeWord: null,
      foundBy: 'header',
    });
  });

  it('has to lie within what syssize counts', () => {
    expect(ids(withField(base, 'syssize', 1000))).toEqual(['payload-behind-kernel']);
  });

  it('may have a format that nobody knows', () => {
    const image = readBootImage(
      edited(base, (copy) => copy.fill(0, truth?.payload_file_offset, (truth?.payload_file_offset ?? 0) + 64)),
    );
    expect(image.problems.map(({ id }) => id)).toEqual(['payload-unknown']);
    expect(image.payload).toMatchObject({ compression: null, foundBy: 'header' });
  });
});
