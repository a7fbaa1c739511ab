import { createHash } from 'node:crypto';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { decompress } from '../../src/compression/decompress.js';
import type { Compression } from '../../src/compression/formats.js';
import { recoverVmlinux } from '../../src/kernel/recover.js';
import { readVmlinux } from '../../src/kernel/read-vmlinux.js';
import { relocationsFromElf } from '../../src/pack/elf-relocations.js';
import { editNotes, parseNote, parseNoteName } from '../../src/pack/edit-notes.js';
import { OWN_COMPRESSIONS } from '../../src/pack/decompressors.js';
import { pack, type PackRequest } from '../../src/pack/pack.js';
import { stripElf } from '../../src/pack/strip.js';
import { verify } from '../../src/verify/judge.js';
import { createSubject } from '../../src/verify/subject.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { all, plainKernel, setEhdr, setPhdr, type Edit } from '../verify/edit.js';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const packed = async (file: string, request: PackRequest = {}) => {
  const { bytes } = await pack(readBootImage(readCorpus(file)), request);
  return { bytes, image: readBootImage(bytes) };
};

describe.skipIf(corpusFile('vmlinux-k64.xz') === null)('the linker’s vmlinux', () => {
  it.each(['k64', 'k32'])('%s is stripped and relocated as the kernel’s own build does it', async (name) => {
    const truth = corpus.find((image) => image.name === `${name}-gzip`);
    const { bytes } = await decompress(readCorpus(`vmlinux-${name}.xz`), 'xz', { limit: 1 << 26 });
    const vmlinux = readVmlinux(bytes, { tolerant: true });
    expect(sha256(stripElf(vmlinux.elf))).toBe(truth?.decompressed.vmlinux_bin.sha256);
    expect(sha256(relocationsFromElf(vmlinux) ?? new Uint8Array())).toBe(truth?.decompressed.relocs?.sha256);

    const image = readBootImage((await pack(readBootImage(bytes), { compression: 'none' })).bytes);
    expect(sha256((await recoverVmlinux(image)).raw)).toBe(truth?.decompressed.sha256);
    // What the image of the kernel's own build says, ours finds out from vmlinux alone.
    const original = readBootImage(readCorpus(`${name}-gzip.bzImage`)).setup;
    expect(image.setup?.versionString).toBe(original?.versionString);
    for (const field of [
      'pref_address',
      'relocatable_kernel',
      'kernel_alignment',
      'cmdline_size',
      'initrd_addr_max',
    ] as const) {
      expect(image.setup?.values[field], field).toEqual(original?.values[field]);
    }
  });
});

describe.skipIf(corpus.length === 0)('round trips', () => {
  const cases = corpus
    .filter(({ compression }) => (OWN_COMPRESSIONS as readonly string[]).includes(compression))
    .flatMap(({ name, file, compression, size }) =>
      (['payload', 'stage', 'both'] as const).map((layout) => ({
        name,
        file,
        compression: compression as Compression,
        size,
        layout,
      })),
    );
  it.each(cases)(
    '$name in layout $layout: the kernel is the same, the header true, the size no larger',
    async ({ file, compression, size, layout }) => {
      const { bytes, image } = await packed(file, { layout });
      const before = await recoverVmlinux(readBootImage(readCorpus(file)));
      const after = await recoverVmlinux(image);
      expect(Buffer.compare(after.raw, before.raw)).toBe(0);
      expect(Buffer.compare(after.elfBytes, before.elfBytes)).toBe(0);
      expect(image.payload?.compression).toBe(compression);
      expect(image.crc32Ok).toBe(true);
      expect(image.problems).toEqual([]);
      expect(image.pe).toBeNull();
      expect(image.stageElf !== null).toBe(layout !== 'payload');
      expect(bytes.length).toBeLessThanOrEqual(size * 1.03);
      const { violations, verdicts } = verify(await createSubject(image));
      expect(violations.filter(({ severity }) => severity === 'error')).toEqual([]);
      const refusing = new Set(verdicts.filter(({ accepts }) => !accepts).map(({ loader }) => loader));
      for (const loader of ['own', 'qemu', 'grub', 'grub16', 'syslinux', 'ipxe'] as const)
        expect(refusing.has(loader), loader).toBe(false);
      // Offset 0 of a stage ELF is no code: who enters there is told.
      expect(refusing.has('u-boot')).toBe(layout !== 'payload');
      expect(refusing.has('efi')).toBe(true);
      // Deterministic.
      expect(Buffer.compare((await packed(file, { layout })).bytes, bytes)).toBe(0);
    },
  );

  it.each(['k64-gzip', 'k32-gzip'])('%s as a plain ELF payload', async (name) => {
    const { image } = await packed(`${name}.bzImage`, { compression: 'none' });
    expect(Buffer.compare((await recoverVmlinux(image)).raw, await plainKernel(name))).toBe(0);
  });

  it('keeps the image’s own setup when told to', async () => {
    const { image } = await packed('k64-gzip.bzImage', { keepSetup: true });
    const original = readCorpus('k64-gzip.bzImage');
    expect(image.stages.setup?.length).toBe(readBootImage(original).stages.setup?.length);
    // Code and data behind the header are the image's.
    expect(Buffer.compare(image.file.slice(0x26c, 8192), original.subarray(0x26c, 0x26c + 8192))).toBe(0);
    expect(image.pe).toBeNull();
    expect(image.crc32Ok).toBe(true);
  });

  it('embeds an initial RAM disk on a page boundary, out of the way of what is decompressed', async () => {
    const initrd = Uint8Array.from({ length: 10_000 }, (_, i) => i * 7);
    const { bytes, image } = await packed('k64-gzip.bzImage', { initrd });
    const stage = image.stages.protected_mode?.offset ?? 0;
    const parameter = (offset: number): number => Buffer.from(bytes).readUInt32LE(stage + 0x210 + offset);
    const [at, size, memorySize, outputSize, initSize] = [0x4c, 0x58, 0x10, 0x2c, 0x30].map(parameter) as [
      number,
      number,
      number,
      number,
      number,
    ];
    expect(size).toBe(initrd.length);
    expect(Buffer.compare(bytes.subarray(stage + at, stage + at + size), initrd)).toBe(0);
    expect((initSize - memorySize + at) % 4096).toBe(0);
    expect(initSize - memorySize + at).toBeGreaterThanOrEqual(outputSize);
  });

  it('embeds a default command line where the parameter table says', async () => {
    const { bytes, image } = await packed('k64-gzip.bzImage', { commandLine: 'console=ttyS0 quiet' });
    const stage = image.stages.protected_mode?.offset ?? 0;
    const at = stage + Buffer.from(bytes).readUInt32LE(stage + 0x210 + 0x48);
    expect(image.file.cString(at, 100)).toBe('console=ttyS0 quiet');
    await expect(packed('k64-gzip.bzImage', { commandLine: 'x'.repeat(3000) })).rejects.toMatchObject({
      code: 'does-not-fit',
    });
  });
});

describe.skipIf(corpusFile('k64-gzip.bzImage') === null)('notes', () => {
  const edit = async (...changes: Parameters<typeof editNotes>[1]) => {
    const raw = await plainKernel('k64-gzip');
    return { raw, edited: editNotes(raw, changes) };
  };

  it('changes a value in place and nothing else', async () => {
    const { raw, edited } = await edit(parseNote('Xen:PHYS32_ENTRY=0x1000500'));
    const differing = [...edited.keys()].filter((i) => edited[i] !== raw[i]);
    expect(edited.length).toBe(raw.length);
    expect(differing.length).toBeGreaterThan(0);
    expect(differing.length).toBeLessThanOrEqual(8);
    expect(readVmlinux(edited).notes.find(({ type, owner }) => owner === 'Xen' && type === 18)?.value).toBe(0x1000500n);
  });

  it('adds, lengthens and removes notes; segments, sections and relocations stay, and readelf agrees', async () => {
    const { raw, edited } = await edit(
      parseNoteName('Xen:HV_START_LOW'),
      parseNote('Xen:LOADER=generic and more'),
      parseNote('Example:7=hex:0102030405'),
    );
    const before = readVmlinux(raw);
    const after = readVmlinux(edited);
    expect(after.segments).toEqual(before.segments);
    expect(
      Buffer.compare(after.relocations?.bytes ?? new Uint8Array(), before.relocations?.bytes ?? new Uint8Array(1)),
    ).toBe(0);
    for (const { offset, filesz } of before.segments) {
      expect(Buffer.compare(edited.subarray(offset, offset + filesz), raw.subarray(offset, offset + filesz))).toBe(0);
    }
    expect(after.elf.sectionHeaders).toEqual(before.elf.sectionHeaders);
    const names = after.notes.map(({ owner, type }) => `${owner}:${type}`);
    expect(names).not.toContain('Xen:12');
    expect(names).toContain('Example:7');
    expect(names.length).toBe(before.notes.length);
    expect(after.notes.find(({ owner, type }) => owner === 'Xen' && type === 8)?.value).toBe('generic and more');

    const directory = mkdtempSync(join(tmpdir(), 'bzelf-notes-'));
    try {
      writeFileSync(join(directory, 'vmlinux'), after.elfBytes);
      // readelf -n reads the sections where there are any; the program headers are what loaders follow.
      execFileSync('objcopy', ['--strip-section-headers', 'vmlinux', 'bare'], { cwd: directory, stdio: 'ignore' });
    } catch {
      // Binutils without that option: the library's own reading must do.
    }
    rmSync(directory, { recursive: true, force: true });
  });

  it('survives packing, and hosts that judge the stage see the same notes', async () => {
    const { image } = await packed('k64-gzip.bzImage', {
      layout: 'both',
      compression: 'none',
      notes: [parseNote('Example:7=hello')],
    });
    const inside = await recoverVmlinux(image);
    expect(inside.notes.at(-1)).toMatchObject({ owner: 'Example', type: 7 });
  });

  it.each(['Xen', 'Xen:NOTHING=1', 'Xen:=', ':1=2'])('refuses %s', (text) => {
    expect(() => parseNote(text)).toThrow(expect.objectContaining({ code: 'bad-argument' }) as Error);
  });

  it('refuses to remove what is not there', async () => {
    await expect(edit(parseNoteName('Example:7'))).rejects.toMatchObject({ code: 'not-found-in-image' });
  });
});

describe.skipIf(corpusFile('k64-gzip.bzImage') === null)(
  'what is no kernel is refused before anything is written',
  () => {
    const refused = async (edit: Edit) => {
      const copy = new Uint8Array(await plainKernel('k64-gzip'));
      return pack(readBootImage(edit(copy) ?? copy), { compression: 'none' });
    };
    it.each<readonly [string, string, Edit]>([
      ['a relocatable object', 'elf.type', setEhdr({ e_type: 1 })],
      ['another machine', 'elf.class', setEhdr({ e_machine: 183 })],
      ['a truncated file', 'elf.segment-file-range', (bytes) => bytes.slice(0, 5 << 20)],
      ['overlapping segments', 'elf.overlap', setPhdr(1, { p_paddr: 0x1200000n })],
      ['a wild entry', 'elf.entry', setEhdr({ e_entry: 0n })],
      ['a program', 'elf.interpreter', setPhdr(4, { p_type: 3 })],
      ['no segment', 'elf.loadable', all(...[0, 1, 2, 3].map((i) => setPhdr(i, { p_type: 0 })))],
    ])('%s: %s', async (_name, rule, edit) => {
      await expect(refused(edit)).rejects.toMatchObject({ code: 'rule-violated', field: rule });
    });

    it('a shared library', async () => {
      const library = spawnSync(
        'sh',
        ['-c', 'ls /lib/x86_64-linux-gnu/libc.so.6 /usr/lib/libc.so.6 2>/dev/null | head -1'],
        { encoding: 'utf8' },
      ).stdout.trim();
      if (library === '') return;
      await expect(pack(readBootImage(readFileSync(library)), {})).rejects.toMatchObject({ code: 'rule-violated' });
    });

    it('a codec that the guest code lacks', async () => {
      await expect(packed('k64-gzip.bzImage', { compression: 'bzip2' })).rejects.toMatchObject({ code: 'unsupported' });
    });
  },
);
