/** Truncated files and header fields with every bad value: reading never throws and says what is wrong. */
import { describe, expect, it } from 'vitest';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { fieldOfVersion, SETUP_FIELDS, type SetupFieldName } from '../../src/bzimage/setup-header.js';
import { fieldSize } from '../../src/bytes/struct.js';
import { corpusFile, readCorpus } from '../kernels/corpus.js';
import { edited, withField } from './edit.js';
import { checkInvariants } from '../fuzz/invariants.js';

const names = ['k64-zstd.bzImage', 'k32-noreloc.bzImage', 'field/bzImage-2.4.24', 'field/vmlinuz-2.6.24.3'].filter(
  (name) => corpusFile(name) !== null,
);

/** Offsets in the file at which something begins or ends. */
function boundaries(image: BootImage): number[] {
  const { setup, stages, kernelInfo, pe, file } = image;
  const places = [0, 0x38, 0x3c, 0x40, 0x1f1, 0x1fe, 0x200, 0x202, 0x206, 0x208, setup?.headerEnd ?? 0, file.length];
  for (const range of [stages.setup, stages.protected_mode, stages.payload, kernelInfo, ...(pe?.sections ?? [])]) {
    if (range !== null) places.push(range.offset, range.offset + range.length);
  }
  for (const field of SETUP_FIELDS) places.push(field.offset);
  if (pe !== null) for (let at = pe.offset; at < pe.offset + 400; at += 4) places.push(at);
  return [...new Set(places.flatMap((at) => [at - 1, at, at + 1]))].filter((at) => at >= 0 && at < file.length);
}

describe.skipIf(names.length === 0)('truncated images', () => {
  it.each(names)('%s, cut at every boundary', (name) => {
    const bytes = readCorpus(name);
    const whole = readBootImage(bytes);
    const setupEnd = whole.stages.protected_mode?.offset ?? 0;
    for (const length of boundaries(whole)) {
      const image = readBootImage(bytes.subarray(0, length));
      checkInvariants(image);
      const ids = image.problems.map(({ id }) => id);
      if (length < 0x200) expect([length, image.setup]).toEqual([length, null]);
      else if (length < 0x208) expect([length, image.kind]).toEqual([length, whole.pe === null ? 'unknown' : 'pe']);
      else if (length <= setupEnd) expect([length, ids]).toEqual([length, expect.arrayContaining(['setup-truncated'])]);
      else if (whole.setup !== null && whole.setup.version >= 0x204 && whole.file.length - length >= 16) {
        expect([length, ids]).toEqual([length, expect.arrayContaining(['file-truncated'])]);
      } else if (whole.setup !== null && whole.setup.version < 0x204 && whole.file.length - length >= 16) {
        expect([length, ids]).toEqual([length, expect.arrayContaining(['syssize-mismatch'])]);
      }
    }
  });

  it('an empty file and single bytes', () => {
    expect(readBootImage(new Uint8Array())).toMatchObject({ kind: 'unknown', description: 'empty file', setup: null });
    for (let byte = 0; byte < 256; byte++) checkInvariants(readBootImage(Uint8Array.of(byte)));
  });
});

describe.skipIf(names.length === 0)('every setup field with every bad value', () => {
  it.each(names)('%s', (name) => {
    const bytes = readCorpus(name);
    const { setup } = readBootImage(bytes);
    const version = setup?.version ?? 0;
    for (const row of SETUP_FIELDS) {
      const field = fieldOfVersion(row, version);
      const max = (1n << BigInt(8 * fieldSize(field))) - 1n;
      const now = BigInt(setup?.values[row.name] ?? 0);
      const tries = [0n, 1n, max, max - 1n, max >> 1n, (max >> 1n) + 1n, now - 1n, now + 1n];
      for (const value of new Set(tries.filter((value) => value >= 0n && value <= max))) {
        const image = readBootImage(
          edited(bytes, (copy) => {
            for (let i = 0; i < fieldSize(field); i++)
              copy[field.offset + i] = Number((value >> BigInt(8 * i)) & 0xffn);
          }),
        );
        checkInvariants(image);
      }
    }
  });

  const base = names[0] === undefined ? new Uint8Array() : readCorpus(names[0]);
  const cases: readonly (readonly [SetupFieldName, number, string])[] = [
    ['setup_sects', 255, 'payload-unknown'],
    ['syssize', 0, 'syssize-zero'],
    ['syssize', 0xffffffff, 'file-truncated'],
    ['boot_flag', 0, 'boot-flag'],
    ['jump', 0x00eb, 'setup-header-short'],
    ['jump', 0xffeb, 'setup-header-long'],
    ['jump', 0, 'setup-jump'],
    ['version', 0x1ff, 'protocol-unknown'],
    ['version', 0xffff, 'protocol-unknown'],
    ['version', 0x20e, 'protocol-withdrawn'],
    ['kernel_version', 0xffff, 'version-string-outside'],
    ['payload_offset', 0xffffffff, 'payload-outside'],
    ['payload_length', 0xffffffff, 'payload-truncated'],
    ['kernel_info_offset', 1, 'kernel-info'],
    ['kernel_info_offset', 0xffffffff, 'kernel-info'],
  ];
  it.each(cases)('%s = %i is reported as %s', (field, value, id) => {
    const image = readBootImage(withField(base, field, value));
    expect(image.problems.map((problem) => problem.id)).toContain(id);
    expect(image.kind).toBe('bzImage');
  });
});
