import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { BootImageError } from '../../src/bytes/error.js';
import { readRelocationTable, type RelocationTable } from '../../src/kernel/relocation-table.js';
import { corpus, corpusFile } from '../kernels/corpus.js';
import { corpusKernel, haveBinutils, haveXz, toolOutput, unpackedCorpus } from './images.js';

const hex = (word: number | undefined): string => `0x${((word ?? 0) >>> 0).toString(16)}`;
const ends = (words: Int32Array): string[] => [hex(words[0]), hex(words.at(-1))];

interface Entries {
  readonly abs32: number;
  readonly inverse32?: number;
  readonly abs64?: number;
  readonly first_last_abs32: readonly string[];
  readonly first_last_inverse32?: readonly string[];
  readonly first_last_abs64?: readonly string[];
}

describe.each(corpus)('$name', ({ name, arch_bits, decompressed }) => {
  test('groups, counts, first and last entries of the build tree', async () => {
    const { relocations, elfBytes } = await corpusKernel(name);
    const truth = decompressed.relocs;
    if (truth === null) {
      expect(relocations).toBeNull();
      return;
    }
    expect(elfBytes.length).toBe(truth.offset);
    if (relocations === null) throw new Error('no relocations');
    expect(createHash('sha256').update(relocations.bytes).digest('hex')).toBe(truth.sha256);
    const { abs32, inverse32, abs64, ...firstAndLast } = truth.entries as Entries;
    expect(relocations.groups).toBe(arch_bits === 64 ? 3 : 1);
    expect(relocations.abs32.length).toBe(abs32);
    expect(relocations.inverse32.length).toBe(inverse32 ?? 0);
    expect(relocations.abs64.length).toBe(abs64 ?? 0);
    expect(ends(relocations.abs32)).toEqual(firstAndLast.first_last_abs32);
    if (firstAndLast.first_last_inverse32 !== undefined) {
      expect(ends(relocations.inverse32)).toEqual(firstAndLast.first_last_inverse32);
      expect(ends(relocations.abs64)).toEqual(firstAndLast.first_last_abs64);
    }
  });
});

describe.skipIf(!haveXz || !haveBinutils || corpusFile('vmlinux-k64.xz') === null)(
  'the relocation entries that the linker left in vmlinux (--emit-relocs)',
  () => {
    /** Relocation types by address, as `readelf -rW` lists them. */
    function linkerEntries(file: string): Map<number, Set<string>> {
      const types = new Map<number, Set<string>>();
      for (const line of toolOutput('readelf', ['-rW', 'FILE'], unpackedCorpus(file)).split('\n')) {
        const match = /^([0-9a-f]{8,16}) +[0-9a-f]+ (R_\w+)/.exec(line);
        if (match === null) continue;
        const address = Number(BigInt.asUintN(32, BigInt(`0x${match[1] ?? ''}`)));
        types.set(address, (types.get(address) ?? new Set()).add(match[2] ?? ''));
      }
      return types;
    }

    function typesOf(words: Int32Array, entries: Map<number, Set<string>>): string[] {
      const seen = new Set<string>();
      for (const word of words) for (const type of entries.get(word >>> 0) ?? ['none']) seen.add(type);
      return [...seen].sort();
    }

    test('64 bit', async () => {
      const entries = linkerEntries('vmlinux-k64.xz');
      const { relocations } = await corpusKernel('k64-gzip');
      if (relocations === null) throw new Error('no relocations');
      expect(typesOf(relocations.abs32, entries)).toEqual(['R_X86_64_32', 'R_X86_64_32S']);
      // Those in the per-CPU area count from 0 in vmlinux; in the table they are where it is loaded.
      expect(typesOf(relocations.abs64, entries).filter((type) => type !== 'none')).toEqual(['R_X86_64_64']);
      expect(typesOf(relocations.inverse32, entries)).toEqual(['R_X86_64_PC32']);
    });

    test('32 bit', async () => {
      const { relocations } = await corpusKernel('k32-gzip');
      if (relocations === null) throw new Error('no relocations');
      expect(typesOf(relocations.abs32, linkerEntries('vmlinux-k32.xz'))).toEqual(['R_386_32']);
    });
  },
);

/** Words as bytes, at every alignment of the buffer. */
function bytesOf(words: readonly number[], shift = 0): Uint8Array {
  const buffer = new Uint8Array(words.length * 4 + shift);
  const view = new DataView(buffer.buffer, shift);
  words.forEach((word, i) => view.setUint32(i * 4, word, true));
  return buffer.subarray(shift);
}

const groups = ({ abs64, inverse32, abs32 }: RelocationTable): number[][] =>
  [abs64, inverse32, abs32].map((words) => [...words].map((word) => word >>> 0));

function refusal(bytes: Uint8Array, bits: 32 | 64): BootImageError {
  try {
    readRelocationTable(bytes, bits, 0x100);
  } catch (error) {
    if (error instanceof BootImageError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('structure', () => {
  const [A, B, C, D] = [0x81000010, 0x81000020, 0x81000030, 0x81000040];

  test.each([0, 1, 2, 3])('three groups, two groups, one group, at alignment %i', (shift) => {
    const read = (words: readonly number[], bits: 32 | 64): unknown => {
      const table = readRelocationTable(bytesOf(words, shift), bits);
      return [table.groups, ...groups(table)];
    };
    expect(read([0, A, B, 0, C, 0, D], 64)).toEqual([3, [A, B], [C], [D]]);
    // Uniprocessor kernels have an empty middle group.
    expect(read([0, A, B, 0, 0, D], 64)).toEqual([3, [A, B], [], [D]]);
    expect(read([0, 0, 0], 64)).toEqual([3, [], [], []]);
    // Since Linux 6.15.
    expect(read([0, A, B, 0, C, D], 64)).toEqual([2, [A, B], [], [C, D]]);
    expect(read([0, 0], 64)).toEqual([2, [], [], []]);
    expect(read([0, A, B, C, D], 32)).toEqual([1, [], [], [A, B, C, D]]);
    expect(read([0], 32)).toEqual([1, [], [], []]);
  });

  test.each<[string, Uint8Array, 32 | 64, number]>([
    ['no table: something else stands there', bytesOf([A, 0, B]), 64, 0x100],
    ['no whole words', bytesOf([0, A, 0, B]).subarray(0, 15), 64, 0x100],
    ['a 64-bit table with one group', bytesOf([0, A]), 64, 0x100],
    ['a 64-bit table with four groups', bytesOf([0, A, 0, B, 0, C, 0, D]), 64, 0x118],
    ['a 32-bit table with two groups', bytesOf([0, A, 0, B]), 32, 0x108],
    ['nothing but zeros', new Uint8Array(4096), 64, 0x10c],
  ])('%s', (_what, bytes, bits, offset) => {
    expect(refusal(bytes, bits)).toMatchObject({ code: 'relocations-malformed', offset });
  });
});
