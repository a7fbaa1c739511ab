/**
 * The decompressor under QEMU, judged by the probe kernel: it checks in the guest whether every byte of its segments,
 * gaps and bss is as its program headers promise.
 */
import { describe, expect, test } from 'vitest';
import { artifactBytes } from '../../guest/artifact.js';
import { probe32 } from '../../guest/built/probe32.js';
import { probe64 } from '../../guest/built/probe64.js';
import { ELF_STRUCTS, PT_LOAD, PT_NULL } from '../../src/elf/definitions.js';
import type { ElfHeader, ProgramHeader } from '../../src/elf/elf-file.js';
import { writeElfHeader, writeProgramHeader } from '../../src/elf/write-elf.js';
import { readVmlinux } from '../../src/kernel/read-vmlinux.js';
import { linkedPhysicalBase, linkedPhysicalEnd } from '../../src/kernel/vmlinux.js';
import { loadDecompressor, OWN_COMPRESSIONS, type OwnCompression } from '../../src/pack/decompressors.js';
import { packSetup } from '../../src/pack/setup-part.js';
import type { PackSource } from '../../src/pack/source.js';
import { packStage, type Layout } from '../../src/pack/stage.js';
import { compressNatively, hasTool } from '../compression/native-tools.js';
import { readProbeReport, type ProbeReport } from './probe-report.js';
import { haveQemu, runQemu } from './qemu.js';

const PROBES = { 32: probe32, 64: probe64 } as const;
const END = /PROBE-END: .*\r?\n/;
const HALT = /System halted\r?\n/;
const KASLR_FLAG = 2;
const initrd = Uint8Array.from({ length: 300_001 }, (_, i) => (i * i) >> 3);

interface Kernel {
  readonly bits: 32 | 64;
  readonly elf: Uint8Array;
  /** Words of the relocation table, without which the kernel is not relocatable. */
  readonly relocations?: readonly number[];
  readonly groups?: 1 | 2 | 3;
}

interface Options {
  readonly codec?: OwnCompression;
  readonly layout?: Layout;
  readonly commandLine?: string;
  /** Damage to the finished image, whose protected-mode part begins at `stage`. */
  readonly damage?: (image: Uint8Array, stage: number) => void;
}

const probe = (bits: 32 | 64): Kernel => ({ bits, elf: artifactBytes(PROBES[bits]) });

async function imageOf(kernel: Kernel, options: Options = {}): Promise<Uint8Array> {
  const { codec = 'gzip', layout = 'payload', commandLine = '', damage } = options;
  const { bits, elf, relocations = [], groups = 0 } = kernel;
  const table = new Uint8Array(Int32Array.from(relocations).buffer);
  const raw = new Uint8Array(elf.length + table.length);
  raw.set(elf);
  raw.set(table, elf.length);
  const good = readVmlinux(artifactBytes(PROBES[bits]));
  const source: PackSource = {
    bits,
    raw,
    elfSize: elf.length,
    relocationGroups: groups,
    loadPhysicalAddr: linkedPhysicalBase(good),
    span: Number(linkedPhysicalEnd(good) - linkedPhysicalBase(good)),
    relocatable: groups > 0,
    kaslr: groups > 0,
    kernelAlignment: 0x200000,
    minAlignment: bits === 64 ? 21 : 13,
    la57: { capable: false, wanted: false },
    efiKexec: false,
    versionString: 'probe',
    setupTypeMax: 0x80000009,
    cmdlineSize: 2047,
    initrdAddrMax: 0x7fffffff,
    payload: null,
    image: null,
  };
  const payload = codec === 'none' ? raw : compressNatively(codec, raw);
  const stage = packStage(source, await loadDecompressor(bits, codec), codec, payload, layout, {
    commandLine,
    initrd: new Uint8Array(0),
  });
  const setup = await packSetup(source, stage, layout, false);
  const image = new Uint8Array([...setup, ...stage.bytes]);
  damage?.(image, setup.length);
  return image;
}

async function boot(image: Uint8Array, append = '', more: readonly string[] = []): Promise<ProbeReport> {
  return readProbeReport(await runQemu({ kernel: image, initrd, append }, END, more));
}

/** Why the image is refused. */
async function refusal(image: Uint8Array): Promise<string | undefined> {
  const console = await runQemu({ kernel: image, append: 'console=ttyS0' }, /PROBE-BEGIN|System halted\r?\n/);
  return /Cannot start the kernel: (.*?)\r?\n/.exec(console)?.[1];
}

/* The relocation table of the probe, from the symbols of its words (guest/probe/data.S). */
const RELOCATED = 16;
const INSTRUCTION = 8;
const IMMEDIATE = 3;

function relocatable(bits: 32 | 64, kernel = probe(bits)): Kernel {
  const linked = bits === 64 ? 0x81000000 : 0xc1000000;
  const words = linked + PROBES[bits].symbols.relocated_words;
  const list = (from: number, step: number): number[] => Array.from({ length: RELOCATED }, (_, i) => from + i * step);
  return bits === 64
    ? {
        ...kernel,
        groups: 3,
        relocations: [0, ...list(words, 8), 0, 0, ...list(words + RELOCATED * 8 + IMMEDIATE, INSTRUCTION)],
      }
    : { ...kernel, groups: 1, relocations: [0, ...list(words, 4)] };
}

/** The same kernel with its segments' bytes elsewhere in the file. */
function rearranged(
  bits: 32 | 64,
  places: (segments: readonly { size: number; address: number }[]) => number[],
): Kernel {
  const old = readVmlinux(artifactBytes(PROBES[bits]));
  const base = linkedPhysicalBase(old);
  const { ehdr, phdr } = ELF_STRUCTS[bits];
  const offsets = places(old.segments.map(({ filesz, paddr }) => ({ size: filesz, address: Number(paddr - base) })));
  const elf = new Uint8Array(Math.max(...old.segments.map(({ filesz }, i) => filesz + (offsets[i] ?? 0))));
  old.segments.forEach(({ offset, filesz }, i) => elf.set(old.elfBytes.subarray(offset, offset + filesz), offsets[i]));
  elf.set(old.elfBytes.subarray(0, ehdr.size));
  writeElfHeader(bits, elf, 0, {
    e_phoff: BigInt(ehdr.size),
    e_phnum: old.segments.length,
    e_shoff: 0n,
    e_shnum: 0,
    e_shstrndx: 0,
  });
  old.segments.forEach(({ index }, i) => {
    const header = old.elf.programHeaders[index];
    writeProgramHeader(bits, elf, ehdr.size + i * phdr.size, { ...header, p_offset: BigInt(offsets[i] ?? 0) });
  });
  return { bits, elf };
}

const HEADERS = 0x200;

describe.skipIf(!haveQemu)('a kernel is put where its program headers say', () => {
  const cases = ([32, 64] as const).flatMap((bits) => OWN_COMPRESSIONS.map((codec) => ({ bits, codec })));

  test.each(cases.filter(({ codec }) => codec === 'none' || hasTool(codec)))(
    '$bits bit, $codec',
    async ({ bits, codec }) => {
      const report = await boot(await imageOf(probe(bits), { codec }), 'one two');
      expect(report.failed).toEqual([]);
      expect(report.get('protocol')).toBe(bits === 64 ? 'linux64' : 'linux32');
      expect(report.get('command_line')).toBe('"one two"');
      expect(report.get('moved.load_address')).toBe('0x1000000');
      expect(Number(report.get('hdr.loadflags')) & KASLR_FLAG).toBe(0);
    },
  );

  test.each([32, 64] as const)('%s bit, moved at random, with relocations', async (bits) => {
    const image = await imageOf(relocatable(bits));
    const report = await boot(image);
    expect(report.failed).toEqual([]);
    expect(Number(report.get('moved.load_address')) % 0x200000).toBe(0);
    expect(report.get('moved.abs32')).not.toBe('0x0');
    expect(report.get('moved.abs64')).toBe(bits === 64 ? report.get('moved.abs32') : undefined);
    expect(Number(report.get('hdr.loadflags')) & KASLR_FLAG).toBe(KASLR_FLAG);

    const quiet = await boot(image, 'quiet nokaslr');
    expect(quiet.failed).toEqual([]);
    expect(quiet.get('moved.abs32')).toBe('0x0');
    expect(quiet.get('moved.load_address')).toBe('0x1000000');
    expect(Number(quiet.get('hdr.loadflags')) & KASLR_FLAG).toBe(0);
  });

  test('a 486 has neither rdrand nor rdtsc nor SSE2: random all the same', async () => {
    const image = await imageOf(relocatable(32));
    const places = new Set<string | undefined>();
    for (let i = 0; i < 3; i++) {
      const report = await boot(image, '', ['-cpu', '486']);
      expect(report.failed).toEqual([]);
      places.add(report.get('moved.load_address'));
    }
    expect(places.size).toBeGreaterThan(1);
  });

  test('random addresses differ, and stay out of what memmap= takes away', async () => {
    const image = await imageOf(relocatable(64));
    const places: number[] = [];
    for (let i = 0; i < 5; i++) {
      const report = await boot(image, 'memmap=64M$32M nokaslrx');
      expect(report.failed).toEqual([]);
      places.push(Number(report.get('moved.load_address')));
    }
    expect(new Set(places).size).toBeGreaterThan(1);
    for (const place of places) expect(place < 0x1e00000 || place >= 0x6000000, `0x${place.toString(16)}`).toBe(true);
  });

  test.each([
    [
      'in reverse order',
      (bits: 32 | 64) =>
        rearranged(bits, (segments) => {
          let at = HEADERS;
          const offsets = segments.map(() => 0);
          for (let i = segments.length; i-- > 0; at += segments[i]?.size ?? 0) offsets[i] = at;
          return offsets;
        }),
    ],
    [
      'packed tight, so that they move up',
      (bits: 32 | 64) =>
        rearranged(bits, (segments) => {
          let at = HEADERS;
          return segments.map(({ size }) => (at += size) - size);
        }),
    ],
    [
      'each in the next one’s place',
      (bits: 32 | 64) =>
        rearranged(bits, (segments) =>
          segments.map((_, i) =>
            i === 0 ? HEADERS + (segments.at(-1)?.address ?? 0) : (segments[i - 1]?.address ?? 0) + HEADERS,
          ),
        ),
    ],
  ] as const)('from a file that has them %s', async (_, make) => {
    for (const bits of [32, 64] as const) {
      for (const codec of ['gzip', 'none'] as const) {
        const report = await boot(await imageOf(make(bits), { codec }));
        expect(report.failed, `${bits} bit, ${codec}`).toEqual([]);
      }
    }
  });

  test('a stage ELF is entered behind its headers', async () => {
    for (const bits of [32, 64] as const)
      expect((await boot(await imageOf(probe(bits), { layout: 'stage' }))).failed).toEqual([]);
  });

  test('a default command line serves when the loader gives none', async () => {
    const image = await imageOf(probe(64), { commandLine: 'built in' });
    expect((await boot(image)).get('command_line')).toBe('"built in"');
    expect((await boot(image, 'given')).get('command_line')).toBe('"given"');
  });
});

type Damage = readonly [why: string, says: string, damage: (elf: Uint8Array, bits: 32 | 64) => void];

const setHeader = (values: Partial<ElfHeader>) => (elf: Uint8Array, bits: 32 | 64) => {
  writeElfHeader(bits, elf, 0, values);
};

/** Changes the program header of the n-th segment, in the order of the file. */
const setSegment =
  (n: number, change: (old: ProgramHeader) => Partial<ProgramHeader>) => (elf: Uint8Array, bits: 32 | 64) => {
    const { programHeaders, header } = readVmlinux(elf).elf;
    const loads = programHeaders.map((old, index) => ({ old, index })).filter(({ old }) => old.p_type === PT_LOAD);
    const { old, index } = loads.at(n) ?? { old: undefined, index: 0 };
    if (old === undefined) throw new RangeError(`no segment ${n}`);
    writeProgramHeader(bits, elf, Number(header.e_phoff) + index * ELF_STRUCTS[bits].phdr.size, change(old));
  };

const DAMAGES: readonly Damage[] = [
  ['no ELF magic', 'no ELF file', (elf) => elf.fill(0, 0, 4)],
  ['another machine', 'an ELF file for another machine', setHeader({ e_machine: 40 })],
  ['another class', 'an ELF file for another machine', (elf) => (elf[4] = 3 - (elf[4] ?? 0))],
  ['big-endian', 'an ELF file of unknown encoding', (elf) => (elf[5] = 2)],
  ['an object file', 'not an executable ELF file', setHeader({ e_type: 1 })],
  ['large program headers', 'e_phentsize is wrong', setHeader({ e_phentsize: 60 })],
  [
    'program headers behind the end',
    'the program headers lie outside the ELF file',
    setHeader({ e_phoff: 0x7ffffff0n }),
  ],
  ['more program headers than bytes', 'the program headers lie outside the ELF file', setHeader({ e_phnum: 0xffff })],
  ['no program headers', 'no segment to load', setHeader({ e_phnum: 0 })],
  [
    'more in the file than in memory',
    'p_filesz exceeds p_memsz',
    setSegment(0, ({ p_filesz }) => ({ p_memsz: p_filesz - 1n })),
  ],
  ['bytes behind the end', 'a segment lies outside the ELF file', setSegment(0, () => ({ p_offset: 0x7fffff00n }))],
  ['below the kernel', "a segment lies outside the kernel's memory", setSegment(0, () => ({ p_paddr: 0x800000n }))],
  ['above the kernel', "a segment lies outside the kernel's memory", setSegment(-1, () => ({ p_paddr: 0x7f000000n }))],
  ['too large', "a segment lies outside the kernel's memory", setSegment(-1, () => ({ p_memsz: 0x40000000n }))],
  ['in another’s place', 'segments overlap', setSegment(1, () => ({ p_paddr: 0x1000010n, p_align: 1n }))],
  ['an odd alignment', 'p_align is no power of two', setSegment(0, () => ({ p_align: 0x3000n }))],
  ['an entry in a gap', 'e_entry lies outside every segment', setHeader({ e_entry: 0xfff000n })],
];

describe.skipIf(!haveQemu)('a kernel that cannot be placed is refused on the console', () => {
  test.each(DAMAGES)('%s', async (_, says, damage) => {
    for (const bits of [32, 64] as const) {
      const { elf } = probe(bits);
      damage(elf, bits);
      expect(await refusal(await imageOf({ bits, elf })), `${bits} bit`).toBe(says);
    }
  });

  test('segments that nobody asked for do not matter', async () => {
    const { elf } = probe(64);
    setSegment(-1, ({ p_memsz }) => ({ p_memsz }))(elf, 64);
    writeProgramHeader(64, elf, 64 + 4 * 56, { p_type: PT_NULL, p_memsz: 0xffffffffffffn });
    expect((await boot(await imageOf({ bits: 64, elf }))).failed).toEqual([]);
  });

  test('relocations outside the kernel', async () => {
    const kernel = relocatable(64);
    const outside = { ...kernel, relocations: [...(kernel.relocations ?? []), 0x7f000000] };
    expect(await refusal(await imageOf(outside))).toBe('a relocation lies outside the kernel');
    const headless = { ...kernel, relocations: (kernel.relocations ?? []).slice(1) };
    expect(await refusal(await imageOf(headless))).toBe('the relocation table has no beginning');
  });

  test.each(OWN_COMPRESSIONS.filter((codec) => codec !== 'none' && hasTool(codec)))(
    'damaged %s data',
    async (codec) => {
      for (const bits of [32, 64] as const) {
        const image = await imageOf(probe(bits), {
          codec,
          damage: (bytes, stage) => {
            const view = new DataView(bytes.buffer, stage + 0x210);
            const at = stage + view.getUint32(0x18, true) + (view.getUint32(0x1c, true) >> 1);
            bytes[at] = (bytes[at] ?? 0) ^ 0x21;
          },
        });
        expect(await refusal(image), `${bits} bit`).toMatch(/is corrupt$|is damaged$|shorter than announced$/);
      }
    },
  );

  test('earlyprintk= names the port too', async () => {
    const { elf } = probe(64);
    elf.fill(0, 0, 4);
    const image = await imageOf({ bits: 64, elf });
    const console = await runQemu({ kernel: image, append: 'earlyprintk=serial,0x3f8,115200' }, HALT);
    expect(console).toContain('Cannot start the kernel: no ELF file');
  });
});
