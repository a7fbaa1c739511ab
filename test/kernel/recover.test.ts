import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { BootImageError } from '../../src/bytes/error.js';
import { writeSetupField } from '../../src/bzimage/setup-header.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { readConfig, findConfig } from '../../src/kernel/ikconfig.js';
import { buildId } from '../../src/kernel/notes.js';
import { decompressPayload, recoverVmlinux, vmlinuxOf } from '../../src/kernel/recover.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { fieldImages } from '../kernels/field.js';
import { changed, haveXz, rawKernel, unpackedCorpus } from './images.js';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function failure(work: Promise<unknown>): Promise<BootImageError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof BootImageError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const FLAGS = (flags: number): string => `${flags & 4 ? 'R' : '-'}${flags & 2 ? 'W' : '-'}${flags & 1 ? 'X' : '-'}`;

describe.each(corpus)('$name', (truth) => {
  const { decompressed } = truth;

  test('decompresses to the bytes of the build tree', async () => {
    const { bytes, payload } = await decompressPayload(readBootImage(readCorpus(truth.file)));
    expect(sha256(bytes)).toBe(decompressed.sha256);
    expect(payload).toMatchObject({ offset: truth.payload_file_offset, length: truth.payload_length });
    const vmlinux = vmlinuxOf({ bytes, payload, image: readBootImage(bytes) });
    expect(vmlinux.elfBytes.length).toBe(decompressed.vmlinux_bin.elf_end);
    expect(sha256(vmlinux.elfBytes)).toBe(decompressed.vmlinux_bin.sha256);
    expect(vmlinux.elfBytes.buffer).toBe(bytes.buffer);
  });

  test('what the kernel says about itself', async () => {
    const vmlinux = await recoverVmlinux(readBootImage(readCorpus(truth.file)));
    expect(vmlinux.bits).toBe(truth.arch_bits);
    expect(`0x${vmlinux.elf.header.e_entry.toString(16)}`).toBe(decompressed.vmlinux_bin.entry);
    expect(vmlinux.elf.sectionHeaders.length).toBe(decompressed.vmlinux_bin.shnum);
    expect(
      vmlinux.elf.programHeaders.map((p) => ({
        type: p.p_type === 1 ? 'LOAD' : 'NOTE',
        offset: Number(p.p_offset),
        vaddr: `0x${p.p_vaddr.toString(16)}`,
        paddr: `0x${p.p_paddr.toString(16)}`,
        filesz: Number(p.p_filesz),
        memsz: Number(p.p_memsz),
        flags: FLAGS(p.p_flags),
        align: `0x${p.p_align.toString(16)}`,
      })),
    ).toEqual(decompressed.vmlinux_bin.phdrs);
    expect(vmlinux.segments.map(({ offset, filesz }) => [offset, filesz])).toEqual(
      decompressed.vmlinux_bin.phdrs.filter(({ type }) => type === 'LOAD').map((p) => [p.offset, p.filesz]),
    );
    expect(
      vmlinux.notes.map(({ owner, type, name, desc }) => ({
        owner,
        type,
        name,
        desc: Buffer.from(desc).toString('hex'),
      })),
    ).toEqual(truth.notes.map(({ owner, type, name, desc }) => ({ owner, type, name, desc })));
    expect(buildId(vmlinux.notes)).toBe(truth.build_id);
    expect(vmlinux.banner).toBe(truth.linux_banner);
    expect(vmlinux.release).toBe(truth.uname_r);
    expect(vmlinux.problems).toEqual([]);
  });

  test('its configuration', async () => {
    const vmlinux = await recoverVmlinux(readBootImage(readCorpus(truth.file)));
    expect(findConfig(vmlinux) !== null).toBe(truth.ikconfig);
    expect(sha256(await readConfig(vmlinux))).toBe(truth.config_sha256);
  });
});

describe.each(Object.entries(fieldImages))('field/%s', (name, facts) => {
  test('payload, ELF file, notes, banner, relocation groups', async () => {
    const result = await decompressPayload(readBootImage(readCorpus(`field/${name}`)));
    expect(result.bytes.length).toBe(facts.payload.decompressed_bytes);
    expect(sha256(result.bytes)).toBe(facts.payload.decompressed_sha256);
    expect(result.payload?.offset).toBe(facts.payload.file_offset);
    if (facts.payload.compressed_bytes !== undefined) {
      expect(result.payload?.length).toBe(facts.payload.compressed_bytes);
    }
    const kernel = facts.vmlinux;
    if (kernel === undefined) {
      const error = await failure(Promise.resolve().then(() => vmlinuxOf(result)));
      expect(error.code).toBe('payload-not-elf');
      expect(error.hint).toContain('--what raw');
      return;
    }
    const vmlinux = vmlinuxOf(result);
    expect(vmlinux.bits).toBe(kernel.elf_class);
    expect(vmlinux.elfBytes.length).toBe(kernel.elf_end);
    expect(vmlinux.banner).toBe(kernel.banners.at(-1)?.[1]);
    expect(vmlinux.notes.map(({ owner, type, desc }) => [owner, type, Buffer.from(desc).toString('hex')])).toEqual(
      kernel.notes_name_type_desc,
    );
    expect(
      vmlinux.elf.programHeaders.map((p) => [
        p.p_type,
        p.p_flags,
        Number(p.p_offset),
        `0x${p.p_vaddr.toString(16)}`,
        `0x${p.p_paddr.toString(16)}`,
        Number(p.p_filesz),
        Number(p.p_memsz),
        Number(p.p_align),
      ]),
    ).toEqual(kernel.phdrs_type_flags_off_va_pa_filesz_memsz_align);
    const { relocations } = vmlinux;
    expect(
      relocations === null ? [] : [relocations.abs32.length, relocations.inverse32.length, relocations.abs64.length],
    ).toEqual(kernel.relocs_groups_from_end);
  });
});

const K64 = 'k64-gzip';
const has64 = corpusFile(`${K64}.bzImage`) !== null;

/** An image whose payload is `payload`, at the place where `name` has its own; the rest as there. */
function withPayload(name: string, payload: Uint8Array): Uint8Array {
  const original = readCorpus(`${name}.bzImage`);
  const { payload: old } = readBootImage(original);
  if (old === null) throw new Error('no payload');
  const bytes = new Uint8Array(old.offset + payload.length + 64);
  bytes.set(original.subarray(0, old.offset));
  bytes.set(payload, old.offset);
  writeSetupField(bytes, 'payload_length', payload.length);
  writeSetupField(bytes, 'syssize', Math.ceil((bytes.length - 16384) / 16));
  return bytes;
}

/** The image, older than the protocol that knows payload_offset: the payload has to be found by scanning. */
function older(bytes: Uint8Array): Uint8Array {
  return changed(bytes, (copy) => {
    writeSetupField(copy, 'payload_offset', 0);
    writeSetupField(copy, 'payload_length', 0);
    writeSetupField(copy, 'version', 0x207);
  });
}

describe.skipIf(!has64)('payloads of other kinds', () => {
  test('a plain ELF file, which no kernel build makes but Xen starts', async () => {
    const raw = await rawKernel(K64);
    const image = readBootImage(withPayload(K64, raw));
    const result = await decompressPayload(image);
    expect(result.payload?.compression).toBe('none');
    expect(result.bytes.buffer).toBe(image.file.bytes.buffer);
    expect(sha256(result.bytes)).toBe(sha256(raw));
    expect(vmlinuxOf(result).relocations?.abs64.length).toBe(13987);
  });

  test.skipIf(!haveXz)('a bare vmlinux', async () => {
    const bytes = unpackedCorpus('vmlinux-k64.xz');
    const vmlinux = await recoverVmlinux(readBootImage(bytes));
    expect(vmlinux.elfBytes.length).toBe(bytes.length);
    expect(vmlinux.relocations).toBeNull();
    expect(sha256(vmlinux.elfBytes)).toBe(
      (corpus.find(({ name }) => name === K64)?.['vmlinux'] as { sha256: string }).sha256,
    );
  });

  test('a compressed vmlinux by itself', async () => {
    const raw = await rawKernel(K64);
    const vmlinux = await recoverVmlinux(readBootImage(gzipSync(raw, { level: 1 })));
    expect(vmlinux.raw.length).toBe(raw.length);
  });

  test.each(['k64-gzip', 'k64-xz', 'k64-lzma', 'k64-bzip2', 'k64-lzo', 'k64-zstd', 'k32-lz4', 'k32-xz'])(
    '%s, found by scanning',
    async (name) => {
      const truth = corpus.find((image) => image.name === name);
      const image = readBootImage(older(readCorpus(`${name}.bzImage`)));
      expect(image.payload?.foundBy).toBe('scan');
      const { bytes, payload } = await decompressPayload(image);
      expect(sha256(bytes)).toBe(truth?.decompressed.sha256);
      expect(payload?.offset).toBe(truth?.payload_file_offset);
    },
  );
});

describe.skipIf(!has64)('false magic numbers in front of the payload', () => {
  /** k64-xz as an old image, with `decoy` between the setup stage and the payload. */
  function withDecoy(decoy: Uint8Array): { bytes: Uint8Array; offset: number } {
    const image = older(readCorpus('k64-xz.bzImage'));
    const place = 20480 + 16;
    // The protected-mode code in front of the payload is short: make room.
    const bytes = new Uint8Array(image.length + decoy.length + 64);
    bytes.set(image.subarray(0, place));
    bytes.set(decoy, place);
    bytes.set(image.subarray(place), place + decoy.length);
    return { bytes, offset: 21188 + decoy.length };
  }

  const real = (): Uint8Array => readCorpus('k64-xz.bzImage').subarray(21188, 21188 + 4096);

  test.each<[string, () => Uint8Array]>([
    ['the xz magic as a string', () => Buffer.from('\xfd7zXZ\0', 'latin1')],
    ['a whole xz header, then nothing', () => real().subarray(0, 64)],
    ['the beginning of an xz stream', () => real()],
    ['gzip of something that is no kernel', () => gzipSync(Buffer.alloc(100_000, 'not a kernel '))],
    ['a bare ELF header', () => Buffer.from('7f454c4602010100000000000000000002003e0001000000', 'hex')],
  ])('%s', async (_what, decoy) => {
    const { bytes, offset } = withDecoy(decoy());
    const result = await decompressPayload(readBootImage(bytes));
    expect(result.payload?.offset).toBe(offset);
    expect(sha256(result.bytes)).toBe(corpus.find(({ name }) => name === 'k64-xz')?.decompressed.sha256);
  });

  test('nothing but decoys: payload-missing', async () => {
    const bytes = older(readCorpus('k64-xz.bzImage'));
    bytes.fill(0x90, 21188 + 4096, 21188 + 1_400_000);
    expect((await failure(decompressPayload(readBootImage(bytes)))).code).toMatch(/^payload-(missing|corrupt)$/);
  });
});

describe.skipIf(!has64)('bombs and limits', () => {
  test('a size word beyond the limit is refused before decompressing', async () => {
    const bytes = changed(readCorpus('k64-zstd.bzImage'), (copy, view) => {
      const { payload } = readBootImage(copy);
      view.setUint32((payload?.offset ?? 0) + (payload?.length ?? 0) - 4, 0xfffffff0, true);
    });
    expect((await failure(decompressPayload(readBootImage(bytes)))).code).toBe('payload-too-large');
  });

  test('a size word that lies about a bomb', async () => {
    const bomb = gzipSync(Buffer.alloc(64 << 20), { level: 9 });
    new DataView(bomb.buffer, bomb.byteOffset).setUint32(bomb.length - 4, 100_000, true);
    const error = await failure(decompressPayload(readBootImage(withPayload(K64, bomb))));
    expect(error.code).toMatch(/^payload-(too-large|corrupt)$/);
  });

  test('the limit holds where nothing is announced', async () => {
    const image = readBootImage(older(readCorpus('k64-xz.bzImage')));
    expect((await failure(decompressPayload(image, { limit: 1 << 20 }))).code).toMatch(/^payload-(too-large|missing)$/);
  });

  test('limit and size word, to the byte', async () => {
    const image = readBootImage(readCorpus('k64-xz.bzImage'));
    expect((await decompressPayload(image, { limit: 14325864 })).bytes.length).toBe(14325864);
    expect((await failure(decompressPayload(image, { limit: 14325863 }))).code).toBe('payload-too-large');
    for (const wrong of [-1, 1]) {
      const bytes = changed(readCorpus('k64-xz.bzImage'), (_, view) =>
        view.setUint32(21188 + 1538944 - 4, 14325864 + wrong, true),
      );
      expect((await failure(decompressPayload(readBootImage(bytes)))).code).toMatch(/^payload-(corrupt|too-large)$/);
    }
  });

  test('a caller that gave up', async () => {
    const image = readBootImage(readCorpus('k64-xz.bzImage'));
    expect((await failure(decompressPayload(image, { signal: AbortSignal.abort() }))).code).toBe('aborted');
  });
});

test('files without a kernel', async () => {
  for (const bytes of [new Uint8Array(0), new Uint8Array(4096), Buffer.from('#!/bin/sh\n')]) {
    expect((await failure(recoverVmlinux(readBootImage(bytes)))).code).toBe('payload-missing');
  }
});
