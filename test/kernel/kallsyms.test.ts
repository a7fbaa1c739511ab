import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { ByteView } from '../../src/bytes/byte-view.js';
import { countKallsyms, formatSystemMap, moveSymbols, readKallsyms } from '../../src/kernel/kallsyms/kallsyms.js';
import { findKallsymsNames } from '../../src/kernel/kallsyms/names.js';
import { readVmlinux } from '../../src/kernel/read-vmlinux.js';
import type { Vmlinux } from '../../src/kernel/vmlinux.js';
import { corpus, corpusFile } from '../kernels/corpus.js';
import { changed, corpusKernel, haveXz, rawKernel } from './images.js';

interface MapLine {
  readonly address: string;
  readonly type: string;
  readonly name: string;
}

function systemMap(file: string): MapLine[] {
  const path = corpusFile(file);
  if (path === null) throw new Error(`${file} is not in the corpus`);
  return execFileSync('xz', ['-dc', path], { encoding: 'utf8', maxBuffer: 1 << 26 })
    .trimEnd()
    .split('\n')
    .map((line) => line.split(' '))
    .map(([address = '', type = '', name = '']) => ({ address, type, name }));
}

/** What scripts/kallsyms leaves out of its own table: its tables, and absolute symbols. */
const LEFT_OUT =
  /^(kallsyms_(offsets|relative_base|num_syms|names|markers|seqs_of_names|token_table|token_index)|kexec_control_code_size|init_per_cpu__\w+|phys_startup_\d+)$/;

describe.skipIf(!haveXz).each(corpus)('$name', ({ name, arch_bits, system_map_file }) => {
  test('every symbol of System.map, and no other', async () => {
    const vmlinux = await corpusKernel(name);
    const symbols = readKallsyms(vmlinux) ?? [];
    const truth = systemMap(system_map_file).filter(({ name }) => !LEFT_OUT.test(name));
    const line = ({ address, name }: MapLine): string => `${address} ${name}`;
    const ours = formatSystemMap(symbols, arch_bits)
      .trimEnd()
      .split('\n')
      .map((text) => text.split(' '))
      .map(([address = '', type = '', name = '']) => ({ address, type, name }));
    expect(ours.length).toBeGreaterThan(10_000);
    expect(ours.map(line).sort()).toEqual(truth.map(line).sort());
    // Types are equal but for per-CPU symbols, which kallsyms makes absolute.
    const types = new Map(truth.map((each) => [line(each), each.type]));
    const others = ours.filter((each) => each.type !== 'A' && types.get(line(each)) !== each.type);
    expect(others.filter((each) => !truth.some((t) => line(t) === line(each) && t.type === each.type))).toEqual([]);
    expect(countKallsyms(vmlinux)).toBe(symbols.length);
  });
});

/**
 * The tables of a real kernel in the layouts of other versions. The name tables stay what scripts/kallsyms made; the
 * addresses are written anew. They replace the beginning of the first segment, which kallsyms does not need.
 */
interface Layout {
  readonly name: string;
  /** Bytes of a marker. */
  readonly marker: 4 | 8;
  readonly alignment: 4 | 8;
  readonly addresses: 'absolute' | 'base' | 'base-percpu' | 'place' | 'value';
  readonly behind: boolean;
  readonly sequences: boolean;
  /** The kernel that is rewritten; k64-gzip if absent. */
  readonly kernel?: string;
}

const LAYOUTS: readonly Layout[] = [
  { name: '2.6.10 to 4.5', marker: 8, alignment: 8, addresses: 'absolute', behind: false, sequences: false },
  { name: '4.6 to 4.19', marker: 8, alignment: 8, addresses: 'base-percpu', behind: false, sequences: false },
  { name: '4.20 to 6.1', marker: 4, alignment: 8, addresses: 'base-percpu', behind: false, sequences: false },
  { name: 'uniprocessor', marker: 4, alignment: 8, addresses: 'base', behind: false, sequences: false },
  { name: '6.2 and 6.3', marker: 4, alignment: 8, addresses: 'base-percpu', behind: false, sequences: true },
  { name: '6.4 to 6.14', marker: 4, alignment: 8, addresses: 'base-percpu', behind: true, sequences: false },
  { name: '6.15 to 6.19', marker: 4, alignment: 8, addresses: 'base', behind: true, sequences: false },
  { name: '6.4, absolute', marker: 4, alignment: 8, addresses: 'absolute', behind: true, sequences: false },
  { name: '7.0 and newer', marker: 4, alignment: 4, addresses: 'place', behind: true, sequences: false },
  {
    name: '2.6.10 to 4.5, 32 bits',
    marker: 4,
    alignment: 4,
    addresses: 'absolute',
    behind: false,
    sequences: false,
    kernel: 'k32-gzip',
  },
  {
    name: '7.0 and newer, 32 bits, relocatable',
    marker: 4,
    alignment: 4,
    addresses: 'place',
    behind: true,
    sequences: false,
    kernel: 'k32-gzip',
  },
  {
    name: '7.0 and newer, 32 bits, not relocatable',
    marker: 4,
    alignment: 4,
    addresses: 'value',
    behind: true,
    sequences: false,
    kernel: 'k32-noreloc',
  },
];

class Writer {
  readonly bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  align(alignment: number): void {
    while (this.at % alignment !== 0) this.bytes[this.at++] = 0;
  }

  word(value: bigint | number, size: 3 | 4 | 8): void {
    for (let i = 0; i < size; i++) this.bytes[this.at++] = Number((BigInt(value) >> BigInt(8 * i)) & 0xffn);
  }

  copy(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }
}

/** The name tables as they stand in the kernel: names, markers, token table and index. */
function originalTables(
  vmlinux: Vmlinux,
  kernel: string,
): { names: Uint8Array; markers: number[]; tokens: Uint8Array; count: number } {
  const view = new ByteView(vmlinux.elfBytes);
  const symbols = systemMap(corpus.find(({ name }) => name === kernel)?.system_map_file ?? '');
  const place = (name: string): number => {
    const address = BigInt(`0x${symbols.find((symbol) => symbol.name === name)?.address ?? '0'}`);
    const segment = vmlinux.segments.find((s) => address >= s.vaddr && address < s.vaddr + BigInt(s.filesz));
    if (segment === undefined) throw new Error(name);
    return segment.offset + Number(address - segment.vaddr);
  };
  const count = view.u32(place('kallsyms_num_syms'));
  const markersAt = place('kallsyms_markers');
  const tokenTable = place('kallsyms_token_table');
  const names = place('kallsyms_names');
  return {
    count,
    names: vmlinux.elfBytes.subarray(names, markersAt),
    markers: Array.from({ length: Math.ceil(count / 256) }, (_, i) => view.u32(markersAt + 4 * i)),
    tokens: vmlinux.elfBytes.subarray(tokenTable, place('kallsyms_token_index') + 512),
  };
}

function rewritten(vmlinux: Vmlinux, layout: Layout, addresses: readonly bigint[]): Uint8Array {
  const { names, markers, tokens, count } = originalTables(vmlinux, layout.kernel ?? 'k64-gzip');
  const bytes = Buffer.from(vmlinux.elfBytes);
  // The original tables must not be found.
  const original = bytes.indexOf(Buffer.from(tokens));
  bytes.fill(0, original, original + tokens.length);
  const text = vmlinux.segments[0];
  if (text === undefined) throw new Error('no segments');
  const out = new Writer(bytes, text.offset + 0x1000);
  const base = text.vaddr;
  const word = vmlinux.bits === 64 ? 8 : 4;
  const writeAddresses = (): void => {
    out.align(layout.alignment);
    for (const address of addresses) {
      const slot = text.vaddr + BigInt(out.at - text.offset);
      switch (layout.addresses) {
        case 'absolute':
          out.word(address, word);
          break;
        case 'base':
          out.word(address - base, 4);
          break;
        case 'base-percpu':
          out.word(address < 1n << 31n ? address : base - 1n - address, 4);
          break;
        case 'place':
          out.word(address - slot, 4);
          break;
        case 'value':
          out.word(address, 4);
      }
    }
    if (layout.addresses.startsWith('base')) {
      out.align(layout.alignment);
      out.word(base, word);
    }
  };
  if (!layout.behind) writeAddresses();
  out.align(layout.alignment);
  out.word(count, 4);
  out.align(layout.alignment);
  out.copy(names.subarray(0, names.findLastIndex((byte) => byte !== 0) + 1));
  out.align(layout.alignment);
  for (const marker of markers) out.word(marker, layout.marker);
  if (layout.sequences) {
    out.align(layout.alignment);
    for (let i = 0; i < count; i++) out.word((i * 7919) % count, 3);
  }
  out.align(layout.alignment);
  out.copy(tokens);
  if (layout.behind) writeAddresses();
  return bytes;
}

describe.skipIf(!haveXz || corpusFile('k64-gzip.bzImage') === null).each(LAYOUTS)('the layout of $name', (layout) => {
  test('gives the same symbols', async () => {
    const vmlinux = await corpusKernel(layout.kernel ?? 'k64-gzip');
    const symbols = readKallsyms(vmlinux) ?? [];
    // Without per-CPU symbols at 0, addresses rise from _text on.
    const perCpu = layout.addresses === 'base-percpu' || layout.addresses === 'absolute';
    const start = vmlinux.segments[0]?.vaddr ?? 0n;
    const addresses = symbols.map(({ address }) => (perCpu || address >= start ? address : start));
    const found = readKallsyms(readVmlinux(rewritten(vmlinux, layout, addresses))) ?? [];
    expect(found.length).toBe(symbols.length);
    expect(found.map(({ name }) => name)).toEqual(symbols.map(({ name }) => name));
    expect(found.map(({ address }) => address)).toEqual(addresses);
  });
});

describe.skipIf(!haveXz || corpusFile('k64-gzip.bzImage') === null)('what does not prove right is not believed', () => {
  test('one changed byte in token table, token index, markers or lengths', async () => {
    const raw = await rawKernel('k64-gzip');
    const vmlinux = await corpusKernel('k64-gzip');
    const { tokens, names } = originalTables(vmlinux, 'k64-gzip');
    const places: number[] = [
      tokens.byteOffset - raw.byteOffset + tokens.length - 512 + 100,
      tokens.byteOffset - raw.byteOffset + tokens.length - 1,
      names.byteOffset - raw.byteOffset,
      names.byteOffset - raw.byteOffset + names.length + 8,
    ];
    for (const place of places) {
      const bytes = changed(raw, (copy) => (copy[place] = (copy[place] ?? 0) ^ 0x11));
      expect(findKallsymsNames(new ByteView(bytes), 64)).toBeNull();
    }
  });

  test('addresses that contradict the ELF file', async () => {
    const vmlinux = await corpusKernel('k64-gzip');
    const addresses = (readKallsyms(vmlinux) ?? []).map(({ address }) => address + (address > 1n << 32n ? 16n : 0n));
    const layout = LAYOUTS.find(({ name }) => name === '4.20 to 6.1');
    if (layout === undefined) throw new Error('no such layout');
    expect(readKallsyms(readVmlinux(rewritten(vmlinux, layout, addresses)))).toBeNull();
  });
});

test.skipIf(corpusFile('k64-gzip.bzImage') === null)('symbols move with the kernel, per-CPU ones stay', async () => {
  const vmlinux = await corpusKernel('k64-gzip');
  const symbols = readKallsyms(vmlinux) ?? [];
  const moved = moveSymbols(vmlinux, symbols, 0x4000000n);
  const deltas = new Set(moved.map(({ address }, i) => address - (symbols[i]?.address ?? 0n)));
  expect(deltas).toEqual(new Set([0n, 0x4000000n]));
  for (const [i, { type, address }] of symbols.entries()) {
    if (type === 'A') expect(moved[i]?.address).toBe(address);
  }
});
