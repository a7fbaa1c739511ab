/**
 * Property-based: real images with random damage. Reading never throws, what it hands out lies inside the file, and
 * the document that `inspect --no-payload` prints can be made of it.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inspectDocument } from '../../src/explain/inspect-document.js';
import { toJson } from '../../src/cli/io.js';
import { BootImageError } from '../../src/bytes/error.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { decompressPayload } from '../../src/kernel/recover.js';
import { corpusFile, readCorpus } from '../kernels/corpus.js';
import { checkInvariants } from './invariants.js';

const names = [
  'k32-xz.bzImage',
  'k64-xz.bzImage',
  'k32-noreloc.bzImage',
  'field/bzImage-2.4.24',
  'field/bzImage-4.12.7-efi-relocs',
].filter((name) => corpusFile(name) !== null);

interface Patch {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Values that break arithmetic more often than random ones. */
const nasty = fc.oneof(
  fc.constantFrom(0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff),
  fc.nat(0xffffffff),
);
const word = nasty.map((value) => Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24));
/** Most damage goes where decisions are made: the boot sector, both headers, the second sector. */
const place = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0x1f1, max: 0x270 }) },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 0x200 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 700_000 }) },
);
const patches: fc.Arbitrary<Patch[]> = fc.array(
  fc.record({ at: place, bytes: fc.oneof(word, fc.uint8Array({ minLength: 1, maxLength: 12 })) }),
  { minLength: 1, maxLength: 6 },
);

/** Applies patches to a shared buffer, runs, and puts the bytes back: no copy of a kernel a case. */
function withPatches<T>(bytes: Uint8Array, all: readonly Patch[], run: (damaged: Uint8Array) => T): T {
  const fitting = all.filter(({ at, bytes: patch }) => at + patch.length <= bytes.length);
  const before = fitting.map(({ at, bytes: patch }) => ({ at, bytes: bytes.slice(at, at + patch.length) }));
  for (const { at, bytes: patch } of fitting) bytes.set(patch, at);
  try {
    return run(bytes);
  } finally {
    for (const { at, bytes: old } of before.reverse()) bytes.set(old, at);
  }
}

describe.skipIf(names.length === 0)('damaged images', () => {
  it.each(names)('%s, with random patches and lengths', (name) => {
    const bytes = new Uint8Array(readCorpus(name));
    fc.assert(
      fc.property(patches, fc.option(fc.nat(bytes.length), { freq: 4 }), (all, length) => {
        withPatches(bytes, all, (damaged) => {
          checkInvariants(readBootImage(length === null ? damaged : damaged.subarray(0, length)));
        });
      }),
      { numRuns: 2000 },
    );
    expect(readBootImage(bytes).problems).toEqual([]);
  });

  it('gives a document for each of them', () => {
    const bytes = new Uint8Array(readCorpus(names[0] ?? '')).slice(0, 100_000);
    fc.assert(
      fc.property(patches, (all) => {
        withPatches(bytes, all, (damaged) => {
          const document: unknown = JSON.parse(toJson(inspectDocument(readBootImage(damaged), null, null, null, null)));
          expect(document).toMatchObject({ kind: expect.any(String) as string, file: { size: bytes.length } });
        });
      }),
      { numRuns: 500 },
    );
  });

  it('yields a kernel or a BootImageError, within the limit', async () => {
    const bytes = new Uint8Array(readCorpus(names[0] ?? ''));
    const limit = 8 * 2 ** 20;
    const damage = fc.oneof(
      patches,
      fc.array(fc.record({ at: fc.integer({ min: 0x4000, max: 0x5000 }), bytes: word }), {
        minLength: 1,
        maxLength: 3,
      }),
    );
    await fc.assert(
      fc.asyncProperty(damage, async (all) => {
        const copy = withPatches(bytes, all, (damaged) => damaged.slice());
        try {
          const result = await decompressPayload(readBootImage(copy), { limit });
          expect(result.bytes.length).toBeLessThanOrEqual(Math.max(limit, copy.length));
        } catch (error) {
          expect(error).toBeInstanceOf(BootImageError);
          expect((error as BootImageError).blame).toBe('image');
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('arbitrary bytes', () => {
  const magics = ['MZ', '\x7fELF', 'HdrS', 'PE\0\0', '\x1f\x8b\x08', '!<arch>\n', '070701', '\xfd7zXZ\0'];
  it('of any kind are read', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 2048 }),
        fc.array(fc.tuple(fc.constantFrom(...magics), fc.constantFrom(0, 0x3c, 0x40, 0x80, 0x1fe, 0x202, 0x400))),
        fc.boolean(),
        (random, marks, bootFlag) => {
          const bytes = new Uint8Array(2048);
          bytes.set(random);
          for (const [magic, at] of marks)
            bytes.set(
              Uint8Array.from(magic, (char) => char.charCodeAt(0)),
              at,
            );
          if (bootFlag) bytes.set([0x55, 0xaa], 0x1fe);
          const image = readBootImage(bytes);
          checkInvariants(image);
          expect([true, false, null]).toContain(image.crc32Ok);
        },
      ),
      { numRuns: 5000 },
    );
  });
});
