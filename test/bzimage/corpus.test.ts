import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { setBitNames, setupField, type SetupFieldName } from '../../src/bzimage/setup-header.js';
import { corpus, readCorpus } from '../kernels/corpus.js';
import { fieldImages } from '../kernels/field.js';

interface ManifestPe {
  readonly offset: string;
  readonly machine: string;
  readonly optional_magic: string;
  readonly entry: string;
  readonly section_alignment: number;
  readonly file_alignment: number;
  readonly size_of_image: number;
  readonly size_of_headers: number;
  readonly sections: readonly {
    readonly name: string;
    readonly virtual_size: number;
    readonly virtual_address: string;
    readonly raw_size: number;
    readonly raw_offset: number;
    readonly flags: string;
  }[];
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe.skipIf(corpus.length === 0)('the corpus, against its build tree', () => {
  it.each(corpus.map((truth) => [truth.name, truth] as const))('%s', (_name, truth) => {
    const bytes = readCorpus(truth.file);
    const image = readBootImage(bytes);
    const { setup, payload, stages } = image;
    if (setup === null || payload === null) throw new Error('no setup header or no payload');
    expect(image.problems).toEqual([]);
    expect(image.kind).toBe('bzImage');
    expect(image.description).toContain(`${truth.arch_bits}-bit`);

    const { values } = setup;
    expect({
      boot_protocol: setup.protocol,
      setup_sects: values.setup_sects,
      setup_sects_effective: setup.setupSects,
      syssize_paragraphs: values.syssize,
      cmdline_size: values.cmdline_size,
      payload_offset: values.payload_offset,
      payload_length: values.payload_length,
      init_size: values.init_size,
      kernel_alignment: values.kernel_alignment,
      min_alignment: values.min_alignment,
      handover_offset: values.handover_offset,
      kernel_info_offset: values.kernel_info_offset,
      header_version_string: setup.versionString,
    }).toEqual(
      Object.fromEntries(
        [
          'boot_protocol',
          'setup_sects',
          'setup_sects_effective',
          'syssize_paragraphs',
          'cmdline_size',
          'payload_offset',
          'payload_length',
          'init_size',
          'kernel_alignment',
          'min_alignment',
          'handover_offset',
          'kernel_info_offset',
          'header_version_string',
        ].map((name) => [name, truth[name]]),
      ),
    );
    expect(values.loadflags).toBe(Number(truth.loadflags));
    expect(values.code32_start).toBe(Number(truth.code32_start));
    expect(values.initrd_addr_max).toBe(Number(truth['initrd_addr_max']));
    expect(values.pref_address).toBe(BigInt(truth.pref_address));
    expect(values.relocatable_kernel !== 0).toBe(truth.relocatable);
    expect(values.xloadflags).toBe(Number(truth.xloadflags));
    expect(setBitNames(setupField('xloadflags'), values.xloadflags ?? 0)).toEqual(
      (truth['xloadflags_names'] as string[]).map((name) => `XLF_${name}`),
    );

    expect(stages.setup).toEqual({ offset: 0, length: truth['protected_mode_file_offset'] });
    expect(stages.protected_mode?.offset).toBe(truth['protected_mode_file_offset']);
    expect(stages.payload).toEqual({ offset: truth.payload_file_offset, length: truth.payload_length });
    expect(payload).toMatchObject({
      compression: truth.compression,
      foundBy: 'header',
      sizeWord: truth['payload_trailing_size_field'],
      compressedLength: truth.payload_length - (truth.compression === 'gzip' ? 0 : 4),
    });
    expect(sha256(bytes.subarray(payload.offset, payload.offset + payload.length))).toBe(truth.payload_sha256);
    expect(bytes.length - payload.offset - payload.length).toBe(truth['bytes_after_payload']);
    expect(image.crc32Ok).toBe(true);
    expect(image.kernelInfo).toMatchObject({ header: 0x506f544c, size: truth['kernel_info_size'] });

    const pe = truth['pe'] as ManifestPe | null | undefined;
    expect(image.pe === null).toBe(pe === null || pe === undefined);
    if (pe === null || pe === undefined || image.pe === null) return;
    const { optional, coff } = image.pe;
    expect({
      offset: image.pe.offset,
      machine: coff.Machine,
      optional_magic: optional?.Magic,
      entry: optional?.AddressOfEntryPoint,
      section_alignment: optional?.SectionAlignment,
      file_alignment: optional?.FileAlignment,
      size_of_image: optional?.SizeOfImage,
      size_of_headers: optional?.SizeOfHeaders,
      sections: image.pe.sections.map((section) => ({
        name: section.name,
        virtual_size: section.virtualSize,
        virtual_address: section.virtualAddress,
        raw_size: section.length,
        raw_offset: section.offset,
        flags: section.characteristics,
      })),
    }).toEqual({
      ...pe,
      offset: Number(pe.offset),
      machine: Number(pe.machine),
      optional_magic: Number(pe.optional_magic),
      entry: Number(pe.entry),
      sections: pe.sections.map((section) => ({
        ...section,
        virtual_address: Number(section.virtual_address),
        flags: Number(section.flags),
      })),
    });
  });

  it('fails the CRC-32 when any byte changes', () => {
    const bytes = new Uint8Array(readCorpus('k32-xz.bzImage'));
    for (const at of [0x10, 0x1f2, 0x5000, bytes.length - 5, bytes.length - 1]) {
      bytes[at] = (bytes[at] ?? 0) ^ 0x10;
      expect([at, readBootImage(bytes).crc32Ok, ~crc32(bytes) >>> 0 === 0]).toEqual([at, false, false]);
      bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    }
    expect(readBootImage(bytes).crc32Ok).toBe(true);
  });
});

describe.skipIf(Object.keys(fieldImages).length === 0)('images from the field, against an independent reader', () => {
  it.each(Object.entries(fieldImages))('%s', (name, facts) => {
    const bytes = readCorpus(`field/${name}`);
    const image = readBootImage(bytes);
    const { setup, payload } = image;
    if (setup === null || payload === null) throw new Error('no setup header or no payload');
    expect(image.problems).toEqual([]);
    expect(image.kind).toBe('bzImage');

    const renamed: Record<string, SetupFieldName> = { kernel_version_ptr: 'kernel_version' };
    let compared = 0;
    for (const [key, truth] of Object.entries(facts.header)) {
      if (['header_end', 'version_string', 'jump', 'kernel_info'].includes(key)) continue;
      const value = setup.values[renamed[key] ?? (key as SetupFieldName)];
      expect([key, BigInt(value ?? -1)]).toEqual([key, BigInt(truth as string | number)]);
      compared++;
    }
    expect(compared).toBeGreaterThanOrEqual(10);
    expect(setup.headerEnd).toBe(Number(facts.header.header_end));
    expect(setup.versionString).toBe(facts.header.version_string);
    expect(setup.values.boot_flag).toBe(Number(`0x${facts.boot_flag}`));
    expect(Buffer.from(bytes.subarray(0x200, 0x202)).toString('hex')).toBe(facts.header.jump);
    const info = facts.header.kernel_info;
    expect(image.kernelInfo === null).toBe(info === undefined);
    if (info !== undefined) {
      expect(image.kernelInfo).toMatchObject({
        size: info['size'],
        size_total: info['size_total'],
        setup_type_max: Number(info['setup_type_max']),
      });
    }

    expect(image.stages.protected_mode?.length).toBe(facts.protected_mode_bytes);
    expect(payload.compression).toBe(facts.payload.compression);
    expect(payload.offset).toBe(facts.payload.file_offset);
    expect(payload.foundBy).toBe(facts.payload.found_by ?? 'header');
    expect(payload.sizeWord).toBe(facts.payload.size_word ?? null);
    // Before 2.08 there was no checksum.
    expect(image.crc32Ok).toBe(facts.crc32_register_over_file_is_zero || null);
  });
});
