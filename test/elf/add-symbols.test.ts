import { describe, expect, test } from 'vitest';
import { ByteView } from '../../src/bytes/byte-view.js';
import { addSymbols } from '../../src/elf/add-symbols.js';
import { elfEnd, iterateSymbols, readElf } from '../../src/elf/read-elf.js';
import { writeElfHeader } from '../../src/elf/write-elf.js';
import { formatSystemMap, readKallsyms } from '../../src/kernel/kallsyms/kallsyms.js';
import type { Vmlinux } from '../../src/kernel/vmlinux.js';
import { corpusFile } from '../kernels/corpus.js';
import { changed, corpusKernel, haveBinutils, haveTool, haveXz, toolOutput, unpackedCorpus } from '../kernel/images.js';

const withSymbols = (vmlinux: Vmlinux): Uint8Array =>
  addSymbols(vmlinux.elf, vmlinux.elfBytes, readKallsyms(vmlinux) ?? []);

describe.skipIf(!haveBinutils || corpusFile('k64-xz.bzImage') === null).each([
  ['k64-xz', 64, 'vmlinux-k64.xz', 8],
  ['k32-xz', 32, 'vmlinux-k32.xz', 4],
] as const)('%s with symbols from kallsyms', (name, bits, full, align) => {
  test('nm lists what kallsyms has', async () => {
    const vmlinux = await corpusKernel(name);
    const symbols = readKallsyms(vmlinux) ?? [];
    const listing = toolOutput('nm', ['-a', 'FILE'], withSymbols(vmlinux)).trimEnd().split('\n');
    const key = (line: string): string => line.replace(/ \S /, ' ');
    expect(listing.map(key).sort()).toEqual(formatSystemMap(symbols, bits).trimEnd().split('\n').map(key).sort());
  });

  test('readelf has nothing to complain about, and all old sections stay', async () => {
    const vmlinux = await corpusKernel(name);
    const bytes = withSymbols(vmlinux);
    const elf = readElf(new ByteView(bytes));
    expect(elfEnd(elf)).toBe(bytes.length);
    expect(elf.defects).toEqual([]);
    const old = vmlinux.elf.sectionHeaders;
    expect(elf.sectionHeaders.map((section) => section.name)).toEqual([
      ...old.map((s) => s.name),
      '.symtab',
      '.strtab',
    ]);
    for (const [i, { sh_addr, sh_size }] of old.entries()) {
      if (old[i]?.name === '.shstrtab') continue;
      expect([elf.sectionHeaders[i]?.sh_addr, elf.sectionHeaders[i]?.sh_size]).toEqual([sh_addr, sh_size]);
    }
    expect(Buffer.compare(bytes.subarray(64, vmlinux.elfBytes.length), vmlinux.elfBytes.subarray(64))).toBe(0);
    expect(Number(elf.sectionHeaders.at(-2)?.sh_offset) % align).toBe(0);
    const output = toolOutput('readelf', ['-aW', 'FILE'], bytes);
    expect(output).not.toMatch(/^readelf: /m);
  });

  test.skipIf(!haveXz || corpusFile(full) === null)(
    'functions have the section, size, type and binding that the linker gave them',
    async () => {
      const vmlinux = await corpusKernel(name);
      const linked = readElf(new ByteView(unpackedCorpus(full)));
      const truth = new Map<string, string>();
      for (const s of iterateSymbols(linked)) {
        if ((s.st_info & 15) !== 2 || s.st_size === 0n) continue;
        const section = linked.sectionHeaders[s.st_shndx]?.name ?? '';
        truth.set(`${s.name} ${s.st_value}`, `${section} ${s.st_size} ${s.st_info}`);
      }
      const ours = readElf(new ByteView(withSymbols(vmlinux)));
      let same = 0;
      let sizes = 0;
      let compared = 0;
      for (const s of iterateSymbols(ours)) {
        const expected = truth.get(`${s.name} ${s.st_value}`);
        if (expected === undefined) continue;
        compared++;
        const [section, size, info] = expected.split(' ');
        if (section === ours.sectionHeaders[s.st_shndx]?.name && Number(info) === s.st_info) same++;
        // Ours reach up to the next symbol: padding counts.
        if (s.st_size >= BigInt(size ?? 0) && s.st_size < BigInt(size ?? 0) + 64n) sizes++;
      }
      expect(compared).toBeGreaterThan(5000);
      expect(same / compared).toBeGreaterThan(0.99);
      expect(sizes / compared).toBeGreaterThan(0.97);
    },
  );

  test.skipIf(!haveTool('gdb'))('gdb finds functions and data by name and by address', async () => {
    const vmlinux = await corpusKernel(name);
    const address = readKallsyms(vmlinux)?.find((symbol) => symbol.name === 'start_kernel')?.address ?? 0n;
    const output = toolOutput(
      'gdb',
      [
        '-nx',
        '-batch',
        '-ex',
        'info address start_kernel',
        '-ex',
        `info symbol 0x${(address + 5n).toString(16)}`,
        'FILE',
      ],
      withSymbols(vmlinux),
    );
    expect(output).toContain(`0x${address.toString(16)}`);
    expect(output).toContain('start_kernel + 5 in section .init.text');
  });
});

describe.skipIf(corpusFile('k64-xz.bzImage') === null)('special files', () => {
  const symbols = [
    { address: 0xffffffff81000000n, type: 'T', name: '_text' },
    { address: 0xffffffff81000010n, type: 't', name: 'local' },
    { address: 0xffffffff81000010n, type: 'W', name: 'weak' },
    { address: 0x1234n, type: 'A', name: 'absolute' },
  ];

  test('without sections, symbols are absolute and still there', async () => {
    const vmlinux = await corpusKernel('k64-xz');
    const bytes = changed(vmlinux.elfBytes, (copy) =>
      writeElfHeader(64, copy, 0, { e_shoff: 0n, e_shnum: 0, e_shstrndx: 0 }),
    );
    const added = readElf(new ByteView(addSymbols(readElf(new ByteView(bytes)), bytes, symbols)));
    expect(added.sectionHeaders.map(({ name }) => name)).toEqual(['', '.symtab', '.strtab', '.shstrtab']);
    const read = [...iterateSymbols(added)].slice(1);
    expect(read.map(({ name }) => name).sort()).toEqual(['_text', 'absolute', 'local', 'weak']);
    expect(read.every(({ st_shndx }) => st_shndx === 0xfff1)).toBe(true);
    expect(read.map(({ name, st_info }) => `${name} ${st_info >> 4}`)).toContain('weak 2');
    // sh_info: one past the last local symbol.
    expect(added.sectionHeaders[1]?.sh_info).toBe(2);
  });

  test('a second symbol table is refused', async () => {
    const vmlinux = await corpusKernel('k64-xz');
    const bytes = addSymbols(vmlinux.elf, vmlinux.elfBytes, symbols);
    expect(() => addSymbols(readElf(new ByteView(bytes)), bytes, symbols)).toThrow(
      expect.objectContaining({ code: 'unsupported' }),
    );
  });
});
