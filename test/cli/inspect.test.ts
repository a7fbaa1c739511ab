import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runInspect, type InspectOptions } from '../../src/cli/inspect.js';
import { apportion, bar, wrap } from '../../src/cli/inspect-drawing.js';
import { count, sizeText } from '../../src/explain/text.js';
import { toJson, type CliIo } from '../../src/cli/io.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { fieldImages } from '../kernels/field.js';
import { edited } from '../bzimage/edit.js';

const scratch = mkdtempSync(join(tmpdir(), 'bzelf-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

function capture(json: boolean, width = 100): { io: CliIo; out: () => string; notes: string[] } {
  let text = '';
  const notes: string[] = [];
  const io: CliIo = {
    out: (more) => void (text += more),
    note: (line) => void notes.push(line),
    json: (document) => void (text += toJson(document)),
    paint: (_style, plain) => plain,
    width,
    interactive: false,
    quiet: false,
    asJson: json,
    colour: false,
  };
  return { io, out: () => text, notes };
}

const options: InspectOptions = { payload: true, limit: 2 ** 30 };

type Json = Readonly<Record<string, unknown>>;

async function json(
  path: string,
  more: Partial<InspectOptions> = {},
): Promise<{ document: Json; status: number; notes: string[] }> {
  const { io, out, notes } = capture(true);
  const status = await runInspect(path, { ...options, ...more }, io);
  return { document: JSON.parse(out()) as Json, status, notes };
}

async function page(path: string, more: Partial<InspectOptions> = {}, width?: number): Promise<string> {
  const { io, out } = capture(false, width);
  expect(await runInspect(path, { ...options, ...more }, io)).toBe(0);
  return out();
}

function file(name: string, bytes: Uint8Array): string {
  const path = join(scratch, name);
  writeFileSync(path, bytes);
  return path;
}

/** kallsyms has what System.map has, but for a few symbols that the build leaves out. */
function symbolCount(truth: (typeof corpus)[number]): unknown {
  const map = spawnSync('xz', ['-dc', corpusFile(truth.system_map_file) ?? ''], {
    maxBuffer: 2 ** 28,
    encoding: 'utf8',
  });
  if (map.status !== 0) return expect.any(Number);
  const lines = map.stdout.split('\n').length;
  return expect.toSatisfy((symbols: number) => symbols > 0.9 * lines && symbols <= lines);
}

describe.skipIf(corpus.length === 0)('the JSON document, against the build tree', () => {
  it.each(corpus.map((truth) => [truth.name, truth] as const))('%s', async (_name, truth) => {
    const { document, status } = await json(corpusFile(truth.file) ?? '');
    const { vmlinux_bin, relocs, size, sha256 } = truth.decompressed;
    expect(status).toBe(0);
    expect(document).toMatchObject({
      kind: 'bzImage',
      file: { size: truth.size, sha256: truth.sha256, crc32_ok: true },
      setup: {
        protocol: truth.boot_protocol,
        setup_sects: truth.setup_sects,
        syssize: truth.syssize_paragraphs,
        code32_start: truth.code32_start,
        pref_address: truth.pref_address,
        init_size: truth.init_size,
        kernel_alignment: truth.kernel_alignment,
        loadflags: Number(truth.loadflags),
        xloadflags: Number(truth.xloadflags),
        version_string: truth['header_version_string'],
      },
      stages: { payload: { offset: truth.payload_file_offset, length: truth.payload_length } },
      stage_elf: null,
      payload: {
        compression: truth.compression,
        length: truth.payload_length,
        uncompressed_length: size,
        sha256,
      },
      vmlinux: {
        class: truth.arch_bits,
        machine: truth.arch_bits === 64 ? 'x86_64' : 'i386',
        entry: vmlinux_bin.entry,
        size: vmlinux_bin.size,
        build_id: truth.build_id,
        banner: truth.linux_banner,
        release: truth.uname_r,
        config: truth.ikconfig,
        symbols: symbolCount(truth),
        relocations:
          relocs === null
            ? null
            : {
                abs32: relocs.entries.abs32,
                abs64: relocs.entries.abs64 ?? 0,
                inverse32: relocs.entries.inverse32 ?? 0,
                bytes: relocs.size,
              },
      },
      problems: [],
    });
    const vmlinux = document['vmlinux'] as {
      segments: unknown[];
      notes: { owner: string; type: number; desc: string }[];
    };
    expect(vmlinux.segments).toEqual(
      vmlinux_bin.phdrs.map((phdr) => ({ ...phdr, flags: phdr.flags.toLowerCase(), align: Number(phdr.align) })),
    );
    expect(vmlinux.notes.map(({ owner, type, desc }) => ({ owner, type, desc }))).toEqual(
      truth.notes.map(({ owner, type, desc }) => ({ owner, type, desc })),
    );
  });

  it('of an image that is not decompressed has everything but the kernel inside', async () => {
    const { document } = await json(corpusFile('k32-xz.bzImage') ?? '', { payload: false });
    expect(document).toMatchObject({
      vmlinux: null,
      payload: { compression: 'xz', uncompressed_length: null, sha256: null },
      setup: { protocol: '2.15' },
      problems: [],
    });
  });
});

describe.skipIf(Object.keys(fieldImages).length === 0)('the JSON document, against an independent reader', () => {
  it.each(Object.entries(fieldImages))('%s', async (name, facts) => {
    const { document } = await json(corpusFile(`field/${name}`) ?? '');
    expect(document).toMatchObject({
      file: { size: facts.bytes, sha256: facts.sha256 },
      payload: {
        compression: facts.payload.compression,
        uncompressed_length: facts.payload.decompressed_bytes,
        sha256: facts.payload.decompressed_sha256,
        ...(facts.payload.compressed_bytes === undefined ? {} : { found_by: 'scan' }),
      },
      stages: { payload: { offset: facts.payload.file_offset } },
    });
    const { vmlinux } = facts;
    if (vmlinux === undefined) {
      expect(document).toMatchObject({ vmlinux: null, problems: [{ id: 'payload-not-elf', severity: 'note' }] });
      return;
    }
    expect(document).toMatchObject({
      vmlinux: {
        class: vmlinux.elf_class,
        entry: vmlinux.e_entry,
        size: vmlinux.elf_end,
        banner: vmlinux.banners[0]?.[1],
      },
      problems: [],
    });
    const found = document['vmlinux'] as {
      notes: { owner: string; type: number; desc: string }[];
      segments: { vaddr: string; paddr: string; offset: number; filesz: number; memsz: number }[];
    };
    expect(found.notes.map(({ owner, type, desc }) => [owner, type, desc])).toEqual(vmlinux.notes_name_type_desc);
    expect(
      found.segments.map(({ offset, vaddr, paddr, filesz, memsz }) => [offset, vaddr, paddr, filesz, memsz]),
    ).toEqual(vmlinux.phdrs_type_flags_off_va_pa_filesz_memsz_align.map((row) => row.slice(2, 7)));
  });

  it('2.6.24.3: the length of a payload that was scanned for shows by decompressing', async () => {
    const truth = fieldImages['vmlinuz-2.6.24.3']?.payload.compressed_bytes;
    const { document } = await json(corpusFile('field/vmlinuz-2.6.24.3') ?? '');
    expect(document).toMatchObject({ payload: { length: truth }, stages: { payload: { length: truth } } });
  });
});

describe.skipIf(corpusFile('k32-xz.bzImage') === null)('damaged images', () => {
  const base = corpusFile('k32-xz.bzImage') === null ? new Uint8Array() : readCorpus('k32-xz.bzImage');

  it('are described, with what is wrong, and the status is 0', async () => {
    const path = file(
      'flipped',
      edited(base, (copy) => (copy[0x50000] = (copy[0x50000] ?? 0) ^ 1)),
    );
    const { document, status } = await json(path);
    expect(status).toBe(0);
    expect(document).toMatchObject({ kind: 'bzImage', file: { crc32_ok: false }, vmlinux: null });
    const ids = (document['problems'] as { id: string }[]).map(({ id }) => id);
    expect(ids).toEqual(['crc32-mismatch', 'payload-corrupt']);
    expect(await page(path)).toMatch(/error +.*\n/);
  });

  it('that want more memory than the limit are described, too', async () => {
    const { document } = await json(file('bomb', base), { limit: 1_000_000 });
    expect(document).toMatchObject({ vmlinux: null, problems: [{ id: 'payload-too-large', severity: 'error' }] });
  });

  it('cannot send control sequences to the terminal', async () => {
    const pointer = new DataView(base.buffer, base.byteOffset).getUint16(0x20e, true) + 0x200;
    const path = file(
      'hostile',
      edited(base, (copy) => copy.set([0x1b, 0x5b, 0x32, 0x4a, 0x9b, 0x07], pointer)),
    );
    const text = await page(path, { payload: false });
    expect(text).not.toMatch(/[\0-\x09\x0b-\x1f\x7f-\x9f]/);
    expect(text).toContain('�[2J');
  });
});

describe('files that are no images', () => {
  it('are explained, with status 1', async () => {
    const { document, status, notes } = await json(file('text', new TextEncoder().encode('hello')));
    expect([status, document['kind']]).toEqual([1, 'unknown']);
    expect(notes).toEqual([expect.stringContaining('not a boot image') as string]);
  });

  it('that are missing are errors', async () => {
    await expect(json(join(scratch, 'missing'))).rejects.toMatchObject({ code: 'file-not-found' });
  });
});

describe.skipIf(corpusFile('k64-zstd.bzImage') === null)('the page', () => {
  it('draws the layout and says what the header means', async () => {
    const text = await page(corpusFile('k64-zstd.bzImage') ?? '');
    for (const words of [
      'protocol 2.15, 64-bit, with EFI stub',
      'CRC-32 holds',
      'Layout of the file',
      ' zstd ',
      'may be loaded at any multiple of 2.0 MiB',
      'XEN_ELFNOTE_PHYS32_ENTRY',
      '13,987 64-bit, 19,383 32-bit, 1,497 inverse 32-bit',
      'Problems\n  none',
    ]) {
      expect(text).toContain(words);
    }
  });

  it('keeps to the width', async () => {
    for (const width of [60, 80, 100]) {
      const text = await page(corpusFile('k64-zstd.bzImage') ?? '', { payload: false }, width);
      const drawn = text.split('\n').filter((line) => /[┌│└]/.test(line));
      expect(drawn.length).toBe(3);
      expect(drawn.map((line) => line.length)).toEqual(drawn.map(() => width));
    }
  });
});

describe('drawing', () => {
  it('divides the width in proportion, with a cell for everyone', () => {
    expect(apportion([1, 1, 2], 40)).toEqual([10, 10, 20]);
    expect(apportion([1, 1_000_000], 10)).toEqual([1, 9]);
    expect(apportion([0, 0], 10).reduce((sum, cells) => sum + cells)).toBe(10);
    for (let parts = 1; parts < 20; parts++) {
      const lengths = Array.from({ length: parts }, (_, i) => (i * 7919) % 97);
      const cells = apportion(lengths, 60);
      expect(cells.reduce((sum, one) => sum + one)).toBe(60);
      expect(Math.min(...cells)).toBeGreaterThanOrEqual(1);
    }
  });

  it('leaves out a bar that does not fit', () => {
    const part = { label: 'x', length: 1, fill: '█', style: 'green' } as const;
    const { io } = capture(false);
    const drawn = bar([part, part], 21, io);
    expect(drawn).toEqual(['┌─────────┬─────────┐', '│███ x ███│███ x ███│', '└─────────┴─────────┘']);
    expect(
      bar(
        Array.from({ length: 30 }, () => part),
        20,
        io,
      ),
    ).toEqual([]);
    expect(bar([], 20, io)).toEqual([]);
  });

  it('writes sizes and counts for people', () => {
    expect([0, 1023, 1024, 1536, 14811136, 2 ** 40, 2 ** 63].map(sizeText)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '1.5 KiB',
      '14.1 MiB',
      '1.0 TiB',
      '8192 PiB',
    ]);
    expect([0, 999, 1000, 1872896].map(count)).toEqual(['0', '999', '1,000', '1,872,896']);
    expect(wrap('a bb ccc dddddddddd e', 6)).toEqual(['a bb', 'ccc', 'dddddddddd', 'e']);
  });
});
