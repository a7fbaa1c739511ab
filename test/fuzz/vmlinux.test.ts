/** Property-based: recovered kernels with damaged ELF structures, notes and relocations. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { BootImageError } from '../../src/bytes/error.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { readVmlinux } from '../../src/kernel/read-vmlinux.js';
import { decompressPayload } from '../../src/kernel/recover.js';
import { corpusFile, readCorpus } from '../kernels/corpus.js';

const names = ['k32-lz4.bzImage', 'k64-nokaslr.bzImage'].filter((name) => corpusFile(name) !== null);

interface Patch {
  readonly region: number;
  readonly at: number;
  readonly value: number;
}

const patches: fc.Arbitrary<Patch[]> = fc.array(
  fc.record({
    region: fc.nat(2),
    at: fc.nat(511),
    value: fc.oneof(
      fc.constantFrom(0, 1, 4, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff),
      fc.nat(0xffffffff),
    ),
  }),
  { minLength: 1, maxLength: 5 },
);

describe.skipIf(names.length === 0)('damaged kernels', () => {
  describe.each(names)('%s', (name) => {
    let raw = new Uint8Array();
    /** Where damage goes: ELF header and program headers, notes, relocations (or the section headers at the end). */
    let regions: number[] = [];

    beforeAll(async () => {
      raw = new Uint8Array((await decompressPayload(readBootImage(readCorpus(name)))).bytes);
      const { elf, elfBytes } = readVmlinux(raw);
      const notes = elf.programHeaders.find(({ p_type }) => p_type === 4);
      regions = [0, Number(notes?.p_offset ?? 0n), Math.min(elfBytes.length, raw.length - 512)];
    });

    it('is read, or refused with a BootImageError', () => {
      fc.assert(
        fc.property(patches, fc.boolean(), fc.option(fc.nat(4096), { freq: 4 }), (all, tolerant, cut) => {
          const view = new DataView(raw.buffer);
          const places = all.map(({ region, at }) => Math.min((regions[region] ?? 0) + at, raw.length - 4));
          const before = places.map((at) => view.getUint32(at, true));
          all.forEach(({ value }, i) => view.setUint32(places[i] ?? 0, value, true));
          try {
            const vmlinux = readVmlinux(cut === null ? raw : raw.subarray(0, raw.length - cut), { tolerant });
            const { length } = vmlinux.raw;
            expect(vmlinux.elfBytes.length).toBeLessThanOrEqual(length);
            for (const { offset, filesz, memsz } of vmlinux.segments) {
              expect(offset + filesz).toBeLessThanOrEqual(length);
              expect(memsz).toBeGreaterThanOrEqual(filesz);
            }
            for (const { desc } of vmlinux.notes) expect(desc.length).toBeLessThanOrEqual(length);
            expect(vmlinux.problems).toBeInstanceOf(Array);
            expect(vmlinux.relocations?.bytes.length ?? 0).toBeLessThanOrEqual(length);
          } catch (error) {
            if (!(error instanceof BootImageError)) throw error;
            expect(error.blame).toBe('image');
          } finally {
            for (let i = places.length - 1; i >= 0; i--) view.setUint32(places[i] ?? 0, before[i] ?? 0, true);
          }
        }),
        { numRuns: 1500 },
      );
      expect(readVmlinux(raw).problems).toEqual([]);
    });
  });
});
