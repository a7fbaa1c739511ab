import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { chooseElfMove } from '../../src/boot/elf-move.js';
import { BootImageError } from '../../src/bytes/error.js';
import { readKallsyms } from '../../src/kernel/kallsyms/kallsyms.js';
import { noteNumber } from '../../src/kernel/notes.js';
import { readVmlinux } from '../../src/kernel/read-vmlinux.js';
import { placeKernel } from '../../src/kernel/relocate.js';
import { movesIndependently, relocatedElf } from '../../src/kernel/relocated-elf.js';
import { linkedPhysicalBase, linkedPhysicalEnd } from '../../src/kernel/vmlinux.js';
import { haveQemu, runQemu } from '../guest/qemu.js';
import { corpusFile } from '../kernels/corpus.js';
import { corpusKernel, haveBinutils, toolOutput } from './images.js';

const has = corpusFile('k64-gzip.bzImage') !== null;
const MOVE = { physicalDelta: 0x4c00000n, virtualDelta: 0x4c00000n };

describe.skipIf(!has)('a relocated ELF file', () => {
  test.each(['k64-gzip', 'k64-noxen', 'k32-gzip'])('%s: what its headers say, it holds', async (name) => {
    const linked = await corpusKernel(name);
    const moved = readVmlinux(relocatedElf(linked, MOVE));
    expect(moved.elfBytes.length).toBe(linked.elfBytes.length);
    expect(moved.relocations).toBeNull();
    expect(moved.problems).toEqual([]);
    expect(linkedPhysicalBase(moved)).toBe(linkedPhysicalBase(linked) + MOVE.physicalDelta);
    expect(moved.elf.header.e_entry).toBe(linked.elf.header.e_entry + MOVE.physicalDelta);
    const placed = placeKernel(linked, MOVE);
    const notes = linked.elf.programHeaders.find(({ p_type }) => p_type === 4);
    moved.segments.forEach((segment, i) => {
      const original = linked.segments[i];
      expect(segment.paddr).toBe(placed[i]?.address);
      // The per-CPU segment counts from 0.
      expect(segment.vaddr).toBe(original?.vaddr === 0n ? 0n : (original?.vaddr ?? 0n) + MOVE.virtualDelta);
      const bytes = Buffer.from(moved.elfBytes.subarray(segment.offset, segment.offset + segment.filesz));
      const expected = Buffer.from(placed[i]?.bytes ?? []);
      // Notes hold addresses of their own.
      const from = Number(notes?.p_offset) - segment.offset;
      for (const each of [bytes, expected]) {
        if (from >= 0 && from < each.length) each.fill(0, from, from + Number(notes?.p_filesz));
      }
      expect(Buffer.compare(bytes, expected)).toBe(0);
    });
  });

  test('Xen notes move, each by its own distance', async () => {
    const linked = await corpusKernel('k64-gzip');
    const moved = readVmlinux(relocatedElf(linked, { physicalDelta: 0x2000000n, virtualDelta: 0x6000000n }));
    const delta = (type: number): bigint =>
      (noteNumber(moved.notes, 'Xen', type) ?? 0n) - (noteNumber(linked.notes, 'Xen', type) ?? 0n);
    expect(delta(1)).toBe(0x6000000n); // ENTRY
    expect(delta(18)).toBe(0x2000000n); // PHYS32_ENTRY
    for (const type of [3, 4, 12, 15, 16, 17]) expect(delta(type)).toBe(0n);
    expect(moved.notes.length).toBe(linked.notes.length);
  });

  test.skipIf(!haveBinutils)('sections, as readelf lists them', async () => {
    const linked = await corpusKernel('k64-gzip');
    const addresses = (bytes: Uint8Array): Map<string, bigint> =>
      new Map(
        [...toolOutput('readelf', ['-SW', 'FILE'], bytes).matchAll(/\] (\.\S+) +[A-Z]+ +(\w{16}) /g)].map(
          ([, name = '', address = '']) => [name, BigInt(`0x${address}`)],
        ),
      );
    const before = addresses(linked.elfBytes);
    const after = addresses(relocatedElf(linked, MOVE));
    expect(before.size).toBeGreaterThan(20);
    for (const [name, address] of before) {
      const stays = name === '.data..percpu' || name === '.shstrtab';
      expect([name, after.get(name)]).toEqual([name, stays ? address : address + MOVE.virtualDelta]);
    }
  });

  test('kallsyms, which is relocated too, agrees with the new headers', async () => {
    const linked = await corpusKernel('k32-gzip');
    const before = readKallsyms(linked) ?? [];
    const after = readKallsyms(readVmlinux(relocatedElf(linked, MOVE))) ?? [];
    expect(after.length).toBe(before.length);
    expect(after.every(({ address }, i) => address === (before[i]?.address ?? 0n) + MOVE.virtualDelta)).toBe(true);
  });
});

describe.skipIf(!has)('the choice of a move', () => {
  const memory = 256n << 20n;

  test('coupled where an entry needs it, and below three quarters of the memory', async () => {
    for (const name of ['k64-gzip', 'k32-gzip']) {
      const vmlinux = await corpusKernel(name);
      expect(movesIndependently(vmlinux)).toBe(false);
      const bases = new Set<bigint>();
      for (let i = 0; i < 200; i++) {
        const { physicalDelta, virtualDelta } = chooseElfMove(vmlinux, { memory, seed: `seed ${i}` });
        expect(virtualDelta).toBe(physicalDelta);
        expect(physicalDelta % 0x200000n).toBe(0n);
        expect(physicalDelta).toBeGreaterThanOrEqual(0n);
        expect(linkedPhysicalEnd(vmlinux) + physicalDelta).toBeLessThanOrEqual((memory * 3n) / 4n);
        bases.add(physicalDelta);
      }
      expect(bases.size).toBeGreaterThan(50);
    }
  });

  test('independent where nothing forbids it, through the whole GiB', async () => {
    const vmlinux = await corpusKernel('k64-noxen');
    expect(movesIndependently(vmlinux)).toBe(true);
    const moves = Array.from({ length: 300 }, (_, i) => chooseElfMove(vmlinux, { memory, seed: String(i) }));
    expect(moves.every(({ physicalDelta }) => physicalDelta === 0n)).toBe(true);
    const highest = moves.map(({ virtualDelta }) => virtualDelta).reduce((a, b) => (a > b ? a : b));
    expect(highest).toBeGreaterThan(900n << 20n);
    expect(() => relocatedElf(vmlinux, { physicalDelta: 0n, virtualDelta: highest })).not.toThrow();
  });

  test('a seed repeats itself, none does not', async () => {
    const vmlinux = await corpusKernel('k64-noxen');
    const pick = (seed: string | null): bigint => chooseElfMove(vmlinux, { memory, seed }).virtualDelta;
    expect(pick('abc')).toBe(pick('abc'));
    expect(new Set(Array.from({ length: 20 }, () => pick(null))).size).toBeGreaterThan(1);
  });

  test('larger units are kept; no room and no relocations are refused', async () => {
    const vmlinux = await corpusKernel('k32-gzip');
    for (let i = 0; i < 20; i++) {
      const { physicalDelta } = chooseElfMove(vmlinux, { memory, seed: String(i), alignment: 0x1000000n });
      expect(physicalDelta % 0x1000000n).toBe(0n);
    }
    const code = (work: () => unknown): string => {
      try {
        work();
      } catch (error) {
        return (error as BootImageError).code;
      }
      return 'none';
    };
    expect(code(() => chooseElfMove(vmlinux, { memory: 24n << 20n, seed: 'x' }))).toBe('does-not-fit');
    const fixed = await corpusKernel('k64-nokaslr');
    expect(code(() => chooseElfMove(fixed, { memory, seed: 'x' }))).toBe('not-relocatable');
  });
});

describe.skipIf(!has || !haveQemu)('started by QEMU, which obeys the headers', () => {
  test.each([
    ['k64-gzip', 64],
    ['k32-gzip', 32],
  ] as const)('%s reaches user space', async (name, bits) => {
    const path = corpusFile(`initramfs-${bits}.cpio.gz`);
    if (path === null) throw new Error('no initramfs');
    const kernel = relocatedElf(await corpusKernel(name), MOVE);
    const console = await runQemu(
      { kernel, initrd: new Uint8Array(readFileSync(path)), append: 'console=ttyS0 panic=-1' },
      /INIT-END/,
    );
    expect(console).toContain('INIT-OK Linux version 6.1.192-corpus');
  });
});
