/** What cannot work is refused, with a sentence that says what and why. */
import { describe, expect, it } from 'vitest';
import { BootImageError, describeError, type ErrorCode } from '../../src/bytes/error.js';
import type { MemoryMap } from '../../src/boot/memory-map.js';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import type { PlanRequest } from '../../src/boot/request.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { withField } from '../bzimage/edit.js';
import { corpusFile, readCorpus } from '../kernels/corpus.js';
import { loadCorpus } from './images.js';
import { checkInvariants, readMemory, view } from './invariants.js';

const MIB = 1n << 20n;

function ram(...ranges: readonly (readonly [start: bigint, end: bigint])[]): MemoryMap {
  return ranges.map(([start, end]) => ({ address: start, size: end - start, type: 'ram' }));
}

interface Refusal {
  readonly name: string;
  readonly file?: string;
  readonly request: Partial<PlanRequest>;
  readonly code: ErrorCode;
  /** Words that the sentence must contain. */
  readonly says: readonly string[];
}

const LOW: readonly [bigint, bigint] = [0n, 0x9fc00n];

const REFUSALS: readonly Refusal[] = [
  {
    name: 'too little memory',
    request: { memory: pcMemoryMap(16n * MIB) },
    code: 'does-not-fit',
    says: ['the kernel', '0x1000000', 'RAM'],
  },
  {
    name: 'an initrd larger than memory',
    request: { initrd: new Uint8Array(64 << 20), memory: pcMemoryMap(48n * MIB) },
    code: 'does-not-fit',
    says: ['initrd', '67108864 bytes', 'one piece'],
  },
  {
    name: 'an initrd that fits nowhere below initrd_addr_max',
    file: 'k32-gzip',
    request: { initrd: new Uint8Array(16 << 20), memory: ram(LOW, [MIB, 22n * MIB], [3072n * MIB, 3584n * MIB]) },
    code: 'does-not-fit',
    says: ['initrd', '0x80000000'],
  },
  {
    name: 'mem= leaves no room for the initrd',
    request: { initrd: new Uint8Array(16 << 20), commandLine: 'mem=32M' },
    code: 'does-not-fit',
    says: ['initrd', '0x2000000'],
  },
  {
    name: 'a command line that is too long',
    request: { commandLine: 'x'.repeat(2048) },
    code: 'does-not-fit',
    says: ['2048 characters', 'at most 2047'],
  },
  {
    name: 'a NUL in the command line',
    request: { commandLine: 'a\0b' },
    code: 'bad-argument',
    says: ['NUL'],
  },
  {
    name: 'a character beyond Latin-1',
    request: { commandLine: '\u20ac' },
    code: 'bad-argument',
    says: ['Latin-1'],
  },
  {
    name: 'a hole where a kernel that cannot move has to be',
    file: 'k64-noreloc',
    request: { memory: ram(LOW, [MIB, 20n * MIB], [24n * MIB, 512n * MIB]) },
    code: 'does-not-fit',
    says: ['not relocatable', '0x1000000', '0x1400000'],
  },
  {
    name: 'the same for a 32-bit kernel at the decompressor stage',
    file: 'k32-noreloc',
    request: { stage: 'decompressor', memory: ram(LOW, [MIB, 18n * MIB]) },
    code: 'does-not-fit',
    says: ['not relocatable', 'init_size'],
  },
  {
    name: 'no low memory for the real-mode code',
    request: { stage: 'setup', memory: ram([MIB, 512n * MIB]) },
    code: 'does-not-fit',
    says: ['setup code', '0x10000', 'no RAM'],
  },
  {
    name: 'a memory map with overlapping entries',
    request: { memory: ram([0n, 8n * MIB], [4n * MIB, 512n * MIB]) },
    code: 'bad-argument',
    says: ['memory map', 'overlaps'],
  },
  {
    name: 'linux32 for a 64-bit kernel',
    request: { protocol: 'linux32' },
    code: 'protocol-unavailable',
    says: ['long mode'],
  },
  {
    name: 'linux64 for a 32-bit kernel',
    file: 'k32-gzip',
    request: { protocol: 'linux64' },
    code: 'protocol-unavailable',
    says: ['long mode'],
  },
  { name: 'linux16 at the kernel stage', request: { protocol: 'linux16' }, code: 'bad-argument', says: [] },
  {
    name: 'pvh at the setup stage',
    request: { stage: 'setup', protocol: 'pvh' },
    code: 'bad-argument',
    says: ['setup stage'],
  },
  {
    name: 'a place that is not aligned',
    request: { at: { physicalDelta: 0x1000n, virtualDelta: 0n } },
    code: 'bad-argument',
    says: ['multiple'],
  },
  {
    name: 'a place beyond RAM',
    request: { at: { physicalDelta: 1024n * MIB, virtualDelta: 0n } },
    code: 'does-not-fit',
    says: ['0x41000000', 'no RAM'],
  },
  {
    name: 'room for ACPI tables that memory does not have',
    request: { firmwareSize: 1 << 30 },
    code: 'does-not-fit',
    says: ['ACPI'],
  },
  {
    name: 'a machine’s region over the kernel',
    request: {
      extraRegions: [{ address: 0x1200000n, size: 4096, purpose: 'firmware', label: 'ACPI tables' }],
      at: { physicalDelta: 0n, virtualDelta: 0n },
    },
    code: 'overlap',
    says: ['ACPI tables', '0x1200000'],
  },
  {
    name: 'a video mode that is none',
    request: { stage: 'setup', commandLine: 'vga=pretty' },
    code: 'bad-argument',
    says: ['vga=pretty'],
  },
];

describe.skipIf(corpusFile('k64-gzip.bzImage') === null)('refused:', () => {
  it.each(REFUSALS)('$name', async ({ file = 'k64-gzip', request, code, says }) => {
    const { image, vmlinux } = await loadCorpus(`${file}.bzImage`);
    let error: unknown;
    try {
      planBoot(image, vmlinux, { stage: 'kernel', memory: pcMemoryMap(512n * MIB), ...request });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(BootImageError);
    const refusal = error as BootImageError;
    expect(refusal.code).toBe(code);
    for (const word of says) expect(describeError(refusal)).toContain(word);
    expect(describeError(refusal)).not.toContain('\n');
  });

  it('the kernel stage without a kernel', async () => {
    const { image } = await loadCorpus('k64-gzip.bzImage');
    expect(() => planBoot(image, null, { stage: 'kernel', memory: pcMemoryMap(512n * MIB) })).toThrow(
      expect.objectContaining({ code: 'payload-not-elf' }),
    );
  });

  it.each([
    ['kernel_alignment', 0x300000, 'bad-field'],
    ['code32_start', 0x10, 'bad-field'],
    ['init_size', 0xfffffff0, 'does-not-fit'],
    ['version', 0x0201, 'protocol-unavailable'],
  ] as const)('a header whose %s is %i', (name, value, code) => {
    const image = readBootImage(withField(readCorpus('k64-gzip.bzImage'), name, value));
    expect(() => planBoot(image, null, { stage: 'decompressor', memory: pcMemoryMap(512n * MIB) })).toThrow(
      expect.objectContaining({ code }),
    );
  });

  it('more setup code than real mode has room for', () => {
    const image = readBootImage(withField(readCorpus('k64-gzip.bzImage'), 'setup_sects', 64));
    expect(() => planBoot(image, null, { stage: 'setup', memory: pcMemoryMap(512n * MIB) })).toThrow(
      expect.objectContaining({ code: 'bad-field', field: 'setup_sects' }),
    );
  });

  it('a file that ends inside its setup part', () => {
    const image = readBootImage(readCorpus('k64-gzip.bzImage').slice(0, 4096));
    for (const stage of ['setup', 'decompressor', 'hook'] as const) {
      expect(() => planBoot(image, null, { stage, memory: pcMemoryMap(512n * MIB) })).toThrow(BootImageError);
    }
  });
});

describe.skipIf(corpusFile('k64-gzip.bzImage') === null)('not refused:', () => {
  it('an initrd above 4 GiB for a kernel that looks there', async () => {
    const { image, vmlinux } = await loadCorpus('k64-gzip.bzImage');
    const memory = ram(LOW, [MIB, 34n * MIB], [4096n * MIB, 6144n * MIB]);
    const initrd = new Uint8Array(24 << 20);
    const plan = planBoot(image, vmlinux, { stage: 'kernel', memory, initrd });
    checkInvariants(plan);
    expect(plan.facts.initrd?.address).toBe((6144n - 24n) * MIB);
  });

  it('an initrd as high as initrd_addr_max allows, when there is more memory', async () => {
    for (const name of ['k32-gzip', 'k64-gzip']) {
      const { image, vmlinux } = await loadCorpus(`${name}.bzImage`);
      const memory = ram(LOW, [MIB, 3072n * MIB], [4096n * MIB, 6144n * MIB]);
      const initrd = new Uint8Array(5 << 20);
      const plan = planBoot(image, vmlinux, { stage: 'kernel', memory, initrd });
      checkInvariants(plan);
      expect(plan.facts.initrd?.address).toBe((2048n - 5n) * MIB);
    }
  });

  it('a kernel above 4 GiB, mapped', async () => {
    const { image, vmlinux } = await loadCorpus('k64-gzip.bzImage');
    const memory = ram(LOW, [MIB, 12n * MIB], [4096n * MIB, 6144n * MIB]);
    const plan = planBoot(image, vmlinux, { stage: 'kernel', memory });
    checkInvariants(plan);
    expect(plan.facts.kernelBase).toBe(4096n * MIB);
  });

  it('a 32-bit kernel moved out of a hole', async () => {
    const { image, vmlinux } = await loadCorpus('k32-gzip.bzImage');
    const memory = ram(LOW, [MIB, 18n * MIB], [30n * MIB, 64n * MIB]);
    const plan = planBoot(image, vmlinux, { stage: 'kernel', memory });
    checkInvariants(plan);
    expect(plan.facts.kernelBase).toBe(30n * MIB);
    expect(plan.facts.remarks[0]).toContain('0x1e00000');
  });

  it('a memory map of more than 128 entries', async () => {
    const { image, vmlinux } = await loadCorpus('k64-gzip.bzImage');
    const many = Array.from({ length: 200 }, (_, i): readonly [bigint, bigint] => {
      const start = BigInt(256 + 2 * i) * MIB;
      return [start, start + MIB];
    });
    const plan = planBoot(image, vmlinux, { stage: 'kernel', memory: ram(LOW, [MIB, 256n * MIB], ...many) });
    checkInvariants(plan);
    const old = readBootImage(withField(readCorpus('k64-gzip.bzImage'), 'version', 0x0208));
    expect(() => planBoot(old, vmlinux, { stage: 'kernel', memory: plan.memory })).toThrow(
      expect.objectContaining({ code: 'does-not-fit', field: 'e820_table' }),
    );
  });

  it('ACPI tables of the machine’s own', async () => {
    const { image, vmlinux } = await loadCorpus('k64-gzip.bzImage');
    const tables = new Uint8Array(100).fill(1);
    const at = 0x1f000000n;
    const plan = planBoot(image, vmlinux, {
      stage: 'kernel',
      memory: pcMemoryMap(512n * MIB),
      initrd: new Uint8Array(20 << 20),
      acpiRsdp: at,
      extraRegions: [{ address: at, size: 4096, bytes: tables, purpose: 'reserved', label: 'ACPI tables' }],
    });
    checkInvariants(plan);
    expect(plan.regions.find(({ address }) => address === at)?.bytes).toBe(tables);
    const page = readMemory(plan, Number(plan.facts.bootParams), 4096);
    expect(view(page).getBigUint64(0x70, true)).toBe(at);
    expect(plan.facts.initrd?.address).toBeLessThan(at);
  });

  it('vga= becomes vid_mode', async () => {
    const { image } = await loadCorpus('k32-gzip.bzImage');
    for (const [text, mode] of [
      ['ask', 0xfffd],
      ['0x317', 0x317],
      ['0123', 0o123],
      ['791', 791],
    ] as const) {
      const plan = planBoot(image, null, {
        stage: 'setup',
        memory: pcMemoryMap(64n * MIB),
        commandLine: `vga=${text}`,
      });
      const setup = plan.regions.find(({ purpose }) => purpose === 'setup')?.bytes;
      expect((setup?.[0x1fa] ?? 0) | ((setup?.[0x1fb] ?? 0) << 8)).toBe(mode);
    }
  });

  it('a bare vmlinux, with a header of our own', async () => {
    for (const name of ['k32-gzip', 'k64-gzip']) {
      const { vmlinux } = await loadCorpus(`${name}.bzImage`);
      const image = readBootImage(vmlinux.elfBytes);
      const plan = planBoot(image, vmlinux, {
        stage: 'kernel',
        memory: pcMemoryMap(64n * MIB),
        initrd: new Uint8Array(5),
      });
      checkInvariants(plan);
    }
  });
});
