import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BootImageError } from '../../src/bytes/error.js';
import { ELF64_PHDR } from '../../src/elf/definitions.js';
import type { ProgramHeader } from '../../src/elf/elf-file.js';
import { addSymbols } from '../../src/elf/add-symbols.js';
import { buildNote, newElfHeader, writeElfHeader, writeProgramHeader } from '../../src/elf/write-elf.js';
import { findBanner, releaseOf } from '../../src/kernel/banner.js';
import { findBtf, readBtf } from '../../src/kernel/btf.js';
import { findConfig } from '../../src/kernel/ikconfig.js';
import { countKallsyms, readKallsyms } from '../../src/kernel/kallsyms/kallsyms.js';
import { findNote, noteNumber } from '../../src/kernel/notes.js';
import { readVmlinux } from '../../src/kernel/read-vmlinux.js';
import { placeKernel } from '../../src/kernel/relocate.js';
import { relocatedElf } from '../../src/kernel/relocated-elf.js';
import { indexOfBytes } from '../../src/kernel/search.js';
import { corpus, corpusFile } from '../kernels/corpus.js';
import { changed, corpusKernel, rawKernel } from './images.js';

const has = corpusFile('k64-xz.bzImage') !== null;

function refusal(bytes: Uint8Array): BootImageError {
  try {
    readVmlinux(bytes);
  } catch (error) {
    if (error instanceof BootImageError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** The kernel with one program header changed. */
function withSegment(raw: Uint8Array, index: number, values: Partial<ProgramHeader>): Uint8Array {
  return changed(raw, (copy) => writeProgramHeader(64, copy, 64 + index * ELF64_PHDR.size, values));
}

const ALL = (1n << 64n) - 1n;

describe.skipIf(!has)('segments that cannot be loaded', () => {
  test.each<[string, number, Partial<ProgramHeader>, string]>([
    ['begins behind the end', 0, { p_offset: 1n << 40n }, 'p_offset'],
    ['an offset that wraps', 0, { p_offset: ALL - 100n }, 'p_offset'],
    ['ends behind the end', 1, { p_filesz: 1n << 30n, p_memsz: 1n << 30n }, 'p_offset'],
    ['a size that wraps', 1, { p_filesz: ALL, p_memsz: ALL }, 'p_offset'],
    ['more in the file than in memory', 3, { p_memsz: 4096n }, 'p_memsz'],
    ['physical addresses that wrap', 1, { p_paddr: ALL - 4096n }, 'p_paddr'],
    ['virtual addresses that wrap', 1, { p_vaddr: ALL - 4096n }, 'p_vaddr'],
    ['endless memory', 3, { p_memsz: 1n << 60n, p_vaddr: 0n }, 'p_memsz'],
    ['on top of another', 1, { p_paddr: 0x1000000n }, 'p_paddr'],
    ['one byte on top of another', 1, { p_paddr: 0x1000000n + 7267643n }, 'p_paddr'],
  ])('%s', async (_what, index, values, field) => {
    const bytes = withSegment(await rawKernel('k64-xz'), index, values);
    const error = refusal(bytes);
    expect(error).toMatchObject({ code: 'elf-malformed', field });
    expect(error.offset).toBeGreaterThanOrEqual(64);
    expect(error.hint).toBeTruthy();
    const tolerant = readVmlinux(bytes, { tolerant: true });
    expect(tolerant.problems[0]).toMatchObject({ severity: 'error', field });
    expect(tolerant.banner).toContain('Linux version 6.1');
  });

  test('nothing to load', async () => {
    const raw = await rawKernel('k64-xz');
    const bytes = changed(raw, (copy) => writeElfHeader(64, copy, 0, { e_phnum: 0 }));
    expect(refusal(bytes)).toMatchObject({ code: 'elf-malformed', field: 'e_phnum' });
  });

  test('another machine, another kind of file', async () => {
    const raw = await rawKernel('k64-xz');
    const arm = changed(raw, (copy) => writeElfHeader(64, copy, 0, { e_machine: 183 }));
    expect(refusal(arm)).toMatchObject({ code: 'unsupported', field: 'e_machine' });
    const object = changed(raw, (copy) => writeElfHeader(64, copy, 0, { e_type: 1 }));
    expect(refusal(object)).toMatchObject({ code: 'unsupported', field: 'e_type' });
  });

  test('a segment right behind another is no overlap', async () => {
    const bytes = withSegment(await rawKernel('k64-xz'), 1, { p_paddr: 0x1000000n + 7267644n });
    expect(readVmlinux(bytes).problems).toEqual([]);
  });
});

describe.skipIf(!has)('mutations of a real kernel', () => {
  /** Everything that a caller may ask of a kernel. */
  function useAll(bytes: Uint8Array, tolerant: boolean): void {
    const vmlinux = readVmlinux(bytes, { tolerant });
    expect([vmlinux.notes, vmlinux.banner, vmlinux.problems, findConfig(vmlinux), countKallsyms(vmlinux)].length).toBe(
      5,
    );
    for (const work of [
      () => findBtf(vmlinux),
      () => placeKernel(vmlinux, { physicalDelta: 0x400000n, virtualDelta: 0x400000n }),
      () => relocatedElf(vmlinux, { physicalDelta: 0x400000n, virtualDelta: 0x400000n }),
      () => addSymbols(vmlinux.elf, vmlinux.elfBytes, [{ address: 0xc1000000n, type: 'T', name: '_text' }]),
      () => readKallsyms(vmlinux),
    ]) {
      try {
        work();
      } catch (error) {
        if (!(error instanceof BootImageError)) throw error;
      }
    }
  }

  test('only BootImageError leaves, whatever the headers say', { timeout: 300_000 }, async () => {
    const raw = await rawKernel('k32-xz');
    const { elfBytes } = readVmlinux(raw);
    const tables = elfBytes.length - 24 * 40;
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            fc.oneof(fc.nat(52 + 3 * 32), fc.integer({ min: tables, max: elfBytes.length - 4 })),
            fc.oneof(fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff), fc.nat(0xffffffff)),
          ),
          { minLength: 1, maxLength: 4 },
        ),
        fc.boolean(),
        (edits, tolerant) => {
          const bytes = changed(raw, (_, view) => {
            for (const [at, value] of edits) view.setUint32(at, value >>> 0, true);
          });
          try {
            useAll(bytes, tolerant);
          } catch (error) {
            expect(error).toBeInstanceOf(BootImageError);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test('nor when the file is cut off anywhere', async () => {
    const raw = await rawKernel('k32-xz');
    for (const length of [0, 3, 4, 51, 52, 83, 84, 147, 148, 4096, 2_211_852, 2_211_900, 3_185_116, 3_186_075]) {
      const cut = new Uint8Array(raw.subarray(0, length));
      expect(refusal(cut).code).toMatch(/^(bad-magic|truncated|elf-malformed)$/);
      try {
        useAll(cut, true);
      } catch (error) {
        expect((error as BootImageError).code).toMatch(/^(bad-magic|truncated)$/);
      }
    }
  });
});

describe('the banner', () => {
  const find = (text: string): string | null => findBanner(Buffer.from(text, 'latin1'));
  const complete = 'Linux version 7.2.13 (a@b) (gcc) #1 SMP Sun Nov 22 12:00:00 UTC 2026';

  test('the complete one wins over a placeholder', () => {
    expect(find(`xx\0Linux version 7.2.13 (a@b) (gcc) # SMP \n\0....${complete}\n\0`)).toBe(complete);
    expect(find('Linux version 7.2.13 (a@b) (gcc) # SMP \n')).toBe('Linux version 7.2.13 (a@b) (gcc) # SMP ');
  });

  test('formats and prose are none', () => {
    expect(find('Linux version %s (%s)\n\0Linux version magic\n')).toBeNull();
    expect(find(`Linux version Linux ${complete}\n`)).toBe(complete);
  });

  test('release', () => {
    expect(releaseOf(complete)).toBe('7.2.13');
    expect(releaseOf(null)).toBeNull();
  });
});

test('the search finds what indexOf finds', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => bytes.map((byte) => byte & 3)),
      fc.string({ unit: fc.constantFrom('\0', '\x01', '\x02', '\x03'), minLength: 1, maxLength: 6 }),
      fc.nat(100),
      (bytes, pattern, from) => {
        expect(indexOfBytes(bytes, pattern, from)).toBe(Buffer.from(bytes).indexOf(pattern, from, 'latin1'));
      },
    ),
    { numRuns: 2000 },
  );
});

describe.skipIf(!has)('notes, decoded', () => {
  test('numbers, texts and pairs of a Xen kernel', async () => {
    const { notes } = await corpusKernel('k64-xz');
    const value = (name: string): unknown => notes.find((note) => note.name === name)?.value;
    expect(value('XEN_ELFNOTE_GUEST_OS')).toBe('linux');
    expect(value('XEN_ELFNOTE_FEATURES')).toBe('!writable_page_tables|pae_pgdir_above_4gb');
    expect(value('XEN_ELFNOTE_VIRT_BASE')).toBe(0xffffffff80000000n);
    expect(value('XEN_ELFNOTE_SUPPORTED_FEATURES')).toBe(0x8801n);
    expect(value('XEN_ELFNOTE_L1_MFN_VALID')).toEqual([1n, 1n]);
    expect(value('LINUX_ELFNOTE_BUILD_SALT')).toBe('corpus-salt');
    expect(noteNumber(notes, 'Xen', 18)).toBe(0x10004a0n);
    expect(noteNumber(notes, 'Xen', 6)).toBeNull();
    const raw = await rawKernel('k64-xz');
    for (const { offset, desc, owner } of notes) {
      const header = new DataView(raw.buffer, raw.byteOffset + offset);
      expect(header.getUint32(0, true)).toBe(owner.length + 1);
      expect(header.getUint32(4, true)).toBe(desc.length);
    }
  });

  test('PHYS32_RELOC and a note that is cut off behind it', () => {
    const words = new Uint8Array(Uint32Array.of(0x200000, 0x1000000, 0x3fffffff).buffer);
    const notes = Buffer.concat([buildNote('Xen', 19, words), buildNote('GNU', 3, new Uint8Array(20)).subarray(0, 20)]);
    const bytes = new Uint8Array(64 + 2 * 56 + notes.length);
    writeElfHeader(64, bytes, 0, newElfHeader(64, { e_type: 2, e_machine: 62, e_phoff: 64n, e_phnum: 2 }));
    const range = { p_offset: 176n, p_filesz: BigInt(notes.length), p_memsz: BigInt(notes.length) };
    writeProgramHeader(64, bytes, 64, { p_type: 1, ...range });
    writeProgramHeader(64, bytes, 120, { p_type: 4, ...range });
    bytes.set(notes, 176);
    const vmlinux = readVmlinux(bytes);
    expect(findNote(vmlinux.notes, 'Xen', 19)?.value).toEqual([0x200000n, 0x1000000n, 0x3fffffffn]);
    expect(vmlinux.notes.length).toBe(1);
    expect(vmlinux.problems).toMatchObject([{ id: 'note-malformed', severity: 'warning', offset: 176 + 28 }]);
  });
});

describe.skipIf(!has)('BTF', () => {
  test('a kernel without it', async () => {
    const vmlinux = await corpusKernel('k64-xz');
    expect(findBtf(vmlinux)).toBeNull();
    expect(() => readBtf(vmlinux)).toThrow(expect.objectContaining({ code: 'not-found-in-image' }));
  });

  test('found by its header, with exactly its length', async () => {
    const raw = await rawKernel('k64-xz');
    const btf = Buffer.alloc(24 + 12 + 5);
    btf.set([0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 12, 0, 0, 0, 5, 0, 0, 0]);
    btf.write('\0int\0', 36, 'latin1');
    const place = 2097152 + 0x2001;
    const bytes = changed(raw, (copy) => {
      // A false start in front of it: the strings would end outside the file.
      copy.set(btf, place - 64);
      new DataView(copy.buffer).setUint32(place - 64 + 20, 0x7fffffff, true);
      copy.set(btf, place);
    });
    const found = findBtf(readVmlinux(bytes));
    expect(found?.length).toBe(btf.length);
    expect(found?.byteOffset).toBe(place);
  });
});

test.skipIf(!has)('the magic of the configuration alone is none', async () => {
  const truth = corpus.find(({ name }) => name === 'k64-xz');
  const raw = await rawKernel('k64-xz');
  const vmlinux = readVmlinux(changed(raw, (copy) => copy.set(Buffer.from('IKCFG_ST, they said'), 2097152 + 0x3000)));
  const config = findConfig(vmlinux);
  expect(truth?.ikconfig).toBe(true);
  expect([...(config ?? []).slice(0, 3)]).toEqual([0x1f, 0x8b, 8]);
});
