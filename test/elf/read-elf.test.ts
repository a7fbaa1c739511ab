import { describe, expect, test } from 'vitest';
import { ByteView } from '../../src/bytes/byte-view.js';
import { BootImageError } from '../../src/bytes/error.js';
import { ELF_STRUCTS, PT_NAMES } from '../../src/elf/definitions.js';
import type { ElfFile } from '../../src/elf/elf-file.js';
import { elfEnd, findSection, iterateSymbols, readElf, sectionView } from '../../src/elf/read-elf.js';
import {
  newElfHeader,
  writeElfHeader,
  writeProgramHeader,
  writeSectionHeader,
  writeSymbol,
} from '../../src/elf/write-elf.js';
import { corpusFile } from '../kernels/corpus.js';
import { changed, haveBinutils, haveXz, rawKernel, toolOutput, unpackedCorpus } from '../kernel/images.js';

const full = (bits: number): boolean => haveXz && corpusFile(`vmlinux-k${bits}.xz`) !== null;
const h = (value: bigint | number, width = 0): string => value.toString(16).padStart(width, '0');

function error(work: () => unknown): BootImageError {
  try {
    work();
  } catch (caught) {
    if (caught instanceof BootImageError) return caught;
    throw caught;
  }
  throw new Error('nothing was thrown');
}

/** `readelf -hW`: "  Entry point address:               0x1000000" */
function headerLines(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/^ {2}([^:\n]+): +(.*)$/gm)].map(([, name = '', value = '']) => [name, value.trim()]),
  );
}

/** `readelf -lW`: type, offset, vaddr, paddr, filesz, memsz, flags, alignment. */
function segmentLines(text: string): string[] {
  return [...text.matchAll(/^ {2}([A-Z_]+) +0x(\w+) 0x(\w+) 0x(\w+) 0x(\w+) 0x(\w+) ([RWE ]{3}) 0x(\w+)$/gm)].map(
    (match) =>
      match
        .slice(1)
        .map((cell, i) => (i === 0 || i === 6 ? cell.replaceAll(' ', '') : BigInt(`0x${cell}`).toString(16)))
        .join(' '),
  );
}

/** `readelf -SW`: index, name, address, offset, size, entry size, link, info, alignment. */
function sectionLines(text: string): string[] {
  return [
    ...text.matchAll(/^ {2}\[ *(\d+)\] (\S*) +[A-Z_]+ +(\w+) (\w+) (\w+) (\w+) [ A-Za-z]{3} +(\d+) +(\d+) +(\d+)$/gm),
  ].map((match) =>
    [1, 2, 3, 4, 5, 6, 7, 8, 9]
      .map((i) => (i >= 3 && i <= 6 ? BigInt(`0x${match[i] ?? ''}`).toString(16) : match[i]))
      .join(' '),
  );
}

const flags = (value: number): string => `${value & 4 ? 'R' : ''}${value & 2 ? 'W' : ''}${value & 1 ? 'E' : ''}`;

function ourSegments(elf: ElfFile): string[] {
  return elf.programHeaders.map((p) =>
    [PT_NAMES[p.p_type], h(p.p_offset), h(p.p_vaddr), h(p.p_paddr), h(p.p_filesz), h(p.p_memsz), flags(p.p_flags)]
      .concat(h(p.p_align))
      .join(' '),
  );
}

function ourSections(elf: ElfFile): string[] {
  return elf.sectionHeaders.map((s, i) =>
    [i, s.name, h(s.sh_addr), h(s.sh_offset), h(s.sh_size), h(s.sh_entsize), s.sh_link, s.sh_info, s.sh_addralign]
      .map(String)
      .join(' '),
  );
}

describe.each([32, 64] as const)('%i bit: what readelf and nm see', (bits) => {
  const has = haveBinutils && full(bits);

  test.skipIf(!has)('header, segments, sections of a full vmlinux', () => {
    const bytes = unpackedCorpus(`vmlinux-k${bits}.xz`);
    const elf = readElf(new ByteView(bytes));
    const listing = toolOutput('readelf', ['-hlSW', 'FILE'], bytes);
    const header = headerLines(listing);
    expect(elf.class).toBe(bits);
    expect(header['Class']).toBe(`ELF${bits}`);
    expect(`0x${h(elf.header.e_entry)}`).toBe(header['Entry point address']);
    expect(`${elf.header.e_phoff} (bytes into file)`).toBe(header['Start of program headers']);
    expect(`${elf.header.e_shoff} (bytes into file)`).toBe(header['Start of section headers']);
    expect(String(elf.header.e_shstrndx)).toBe(header['Section header string table index']);
    expect(segmentLines(listing).length).toBe(elf.programHeaders.length);
    expect(ourSegments(elf)).toEqual(segmentLines(listing));
    expect(sectionLines(listing).length).toBeGreaterThan(40);
    expect(ourSections(elf)).toEqual(sectionLines(listing));
    expect(elfEnd(elf)).toBe(bytes.length);
  });

  test.skipIf(!has)('symbols, by value and name', () => {
    const bytes = unpackedCorpus(`vmlinux-k${bits}.xz`);
    const listing = toolOutput('nm', ['-a', 'FILE'], bytes);
    const expected = listing
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^(\w+) \S /, '$1 '))
      .sort();
    const width = bits / 4;
    const ours = [...iterateSymbols(readElf(new ByteView(bytes)))]
      .slice(1)
      // nm names section symbols after their section.
      .filter(({ name }) => name !== '')
      .map(({ st_value, name }) => `${h(st_value, width)} ${name}`);
    const names = new Set(expected);
    expect(ours.length).toBeGreaterThan(15_000);
    expect(ours.filter((line) => !names.has(line))).toEqual([]);
  });

  test.skipIf(!has)('writing every header again gives the same bytes', () => {
    const bytes = unpackedCorpus(`vmlinux-k${bits}.xz`);
    const elf = readElf(new ByteView(bytes));
    const { header } = elf;
    const blank = changed(bytes, (copy) => {
      const { ehdr, phdr, shdr, sym } = ELF_STRUCTS[bits];
      copy.fill(0, 0, ehdr.size);
      copy.fill(0, Number(header.e_phoff), Number(header.e_phoff) + header.e_phnum * phdr.size);
      copy.fill(0, Number(header.e_shoff), Number(header.e_shoff) + header.e_shnum * shdr.size);
      writeElfHeader(bits, copy, 0, header);
      elf.programHeaders.forEach((segment, i) =>
        writeProgramHeader(bits, copy, Number(header.e_phoff) + i * phdr.size, segment),
      );
      elf.sectionHeaders.forEach((section, i) =>
        writeSectionHeader(bits, copy, Number(header.e_shoff) + i * shdr.size, section),
      );
      const symtab = findSection(elf, '.symtab');
      const at = Number(symtab?.sh_offset);
      copy.fill(0, at, at + Number(symtab?.sh_size));
      [...iterateSymbols(elf)].forEach((symbol, i) => writeSymbol(bits, copy, at + i * sym.size, symbol));
    });
    expect(Buffer.compare(blank, bytes)).toBe(0);
  });
});

/** A small valid file: one segment, three sections. */
function smallElf(bits: 32 | 64): Uint8Array {
  const { ehdr, phdr, shdr } = ELF_STRUCTS[bits];
  const data = ehdr.size + phdr.size;
  const sections = data + 16;
  const bytes = new Uint8Array(sections + 3 * shdr.size);
  bytes.set(new TextEncoder().encode('\0.data\0.names\0'), data);
  writeElfHeader(
    bits,
    bytes,
    0,
    newElfHeader(bits, {
      e_type: 2,
      e_machine: bits === 64 ? 62 : 3,
      e_phoff: BigInt(ehdr.size),
      e_phnum: 1,
      e_shoff: BigInt(sections),
      e_shnum: 3,
      e_shstrndx: 2,
    }),
  );
  writeProgramHeader(bits, bytes, ehdr.size, { p_type: 1, p_offset: BigInt(data), p_filesz: 16n, p_memsz: 32n });
  const range = { sh_type: 1, sh_offset: BigInt(data), sh_size: 16n };
  writeSectionHeader(bits, bytes, sections + shdr.size, { ...range, sh_name: 1 });
  writeSectionHeader(bits, bytes, sections + 2 * shdr.size, { ...range, sh_type: 3, sh_name: 7 });
  return bytes;
}

const offsetOf = (bits: 32 | 64, name: string): number =>
  ELF_STRUCTS[bits].ehdr.fields.find((field) => field.name === name)?.offset ?? -1;

describe.each([32, 64] as const)('%i bit: damage', (bits) => {
  const good = smallElf(bits);

  test('a good file reads', () => {
    const elf = readElf(new ByteView(good));
    expect(elf.sectionHeaders.map(({ name }) => name)).toEqual(['', '.data', '.names']);
    expect(elf.defects).toEqual([]);
    expect(elfEnd(elf)).toBe(good.length);
    // What follows does not belong to it.
    expect(elfEnd(readElf(new ByteView(Uint8Array.of(...good, 1, 2, 3))))).toBe(good.length);
  });

  test('every shorter file is refused or reported, never misread', () => {
    for (let length = 0; length < good.length; length++) {
      const cut = new ByteView(good.subarray(0, length));
      const { code } = error(() => readElf(cut));
      expect(['bad-magic', 'truncated', 'elf-malformed']).toContain(code);
      if (length >= ELF_STRUCTS[bits].ehdr.size) {
        const elf = readElf(cut, { tolerant: true });
        expect(elf.defects.length).toBeGreaterThan(0);
        expect(elf.sectionHeaders.length).toBe(0);
        expect(elfEnd(elf)).toBeLessThanOrEqual(length);
      }
    }
  });

  test.each(['e_phoff', 'e_shoff'])('%s outside the file, also where a sum would wrap', (field) => {
    const all = (1n << BigInt(bits)) - 1n;
    for (const value of [BigInt(good.length), BigInt(good.length - 1), all, all - 31n, all / 2n + 1n]) {
      const bytes = changed(good, (copy) => writeElfHeader(bits, copy, 0, { [field]: value }));
      expect(error(() => readElf(new ByteView(bytes)))).toMatchObject({ code: 'elf-malformed', field });
      expect(readElf(new ByteView(bytes), { tolerant: true }).defects.map((each) => each.field)).toEqual([field]);
    }
  });

  test.each(['e_phentsize', 'e_shentsize'])('%s too small', (field) => {
    for (const value of [0, 1, 31]) {
      const bytes = changed(good, (copy) => writeElfHeader(bits, copy, 0, { [field]: value }));
      expect(error(() => readElf(new ByteView(bytes)))).toMatchObject({ code: 'elf-malformed', field });
    }
  });

  test('counts that the file cannot hold', () => {
    for (const name of ['e_phnum', 'e_shnum']) {
      const bytes = changed(good, (_, view) => view.setUint16(offsetOf(bits, name), 0xfffe, true));
      expect(error(() => readElf(new ByteView(bytes))).code).toBe('elf-malformed');
    }
  });

  test('names and string tables that point outside give empty names', () => {
    const shoff = good.length - 3 * ELF_STRUCTS[bits].shdr.size;
    const bytes = changed(good, (copy) =>
      writeSectionHeader(bits, copy, shoff + ELF_STRUCTS[bits].shdr.size, { sh_name: 0xffffffff }),
    );
    expect(readElf(new ByteView(bytes)).sectionHeaders[1]?.name).toBe('');
    const noTable = changed(good, (copy) => writeElfHeader(bits, copy, 0, { e_shstrndx: 77 }));
    expect(readElf(new ByteView(noTable)).sectionHeaders.map(({ name }) => name)).toEqual(['', '', '']);
  });

  test('a section outside the file is refused when its bytes are asked for', () => {
    const shoff = good.length - 3 * ELF_STRUCTS[bits].shdr.size;
    const bytes = changed(good, (copy) =>
      writeSectionHeader(bits, copy, shoff + ELF_STRUCTS[bits].shdr.size, { sh_size: 0xffffffffn }),
    );
    const elf = readElf(new ByteView(bytes));
    const section = findSection(elf, '.data');
    expect(error(() => section !== null && sectionView(elf, section)).code).toBe('elf-malformed');
    expect(elfEnd(elf)).toBe(good.length);
  });

  test('class and byte order', () => {
    for (const [offset, value] of [
      [4, 0],
      [4, 3],
      [5, 2],
      [5, 0],
    ] as const) {
      const bytes = changed(good, (copy) => (copy[offset] = value));
      expect(error(() => readElf(new ByteView(bytes)))).toMatchObject({ code: 'unsupported', offset });
    }
    expect(error(() => readElf(new ByteView(changed(good, (copy) => (copy[0] = 0))))).code).toBe('bad-magic');
  });

  test('extended counts stand in section header 0', () => {
    const shoff = good.length - 3 * ELF_STRUCTS[bits].shdr.size;
    const bytes = changed(good, (copy) => {
      writeElfHeader(bits, copy, 0, { e_phnum: 0xffff, e_shnum: 0, e_shstrndx: 0xffff });
      writeSectionHeader(bits, copy, shoff, { sh_size: 3n, sh_info: 1, sh_link: 2 });
    });
    const elf = readElf(new ByteView(bytes));
    expect(elf.programHeaders.length).toBe(1);
    expect(elf.sectionHeaders.map(({ name }) => name)).toEqual(['', '.data', '.names']);
    const absurd = changed(bytes, (copy) => writeSectionHeader(bits, copy, shoff, { sh_size: 0xffffffffn }));
    expect(error(() => readElf(new ByteView(absurd))).code).toBe('elf-malformed');
  });
});

test.skipIf(corpusFile('k64-xz.bzImage') === null)(
  'offsets in errors count from where the window was cut',
  async () => {
    const raw = await rawKernel('k64-xz');
    const view = new ByteView(
      changed(raw.subarray(0, 64), (copy) => (copy[5] = 9)),
      0x1000,
    );
    expect(error(() => readElf(view)).offset).toBe(0x1005);
  },
);
