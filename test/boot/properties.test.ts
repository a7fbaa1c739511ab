/** Whatever the machine, the kernel's header and the request: a refusal in our own words, or a plan that holds. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BootImageError } from '../../src/bytes/error.js';
import { E820_TYPES, type MemoryMap, type MemoryType } from '../../src/boot/memory-map.js';
import type { BootPlan } from '../../src/boot/plan.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import type { PlanRequest } from '../../src/boot/request.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { withField } from '../bzimage/edit.js';
import { corpusFile, readCorpus } from '../kernels/corpus.js';
import { loadCorpus } from './images.js';
import { checkInvariants, need } from './invariants.js';

const MIB = 1 << 20;
const INITRD = new Uint8Array(64 * MIB);
const KERNELS = ['k32-gzip', 'k64-gzip', 'k32-noreloc', 'k64-noreloc', 'k64-nokaslr'];

/** Lengths of alternating gaps and entries, small and large ones alike; most begin like a PC, many as a large one. */
const memoryMaps: fc.Arbitrary<MemoryMap> = fc
  .tuple(
    fc.constantFrom(0, 0, 12, 24, 64, 128, 300, 512),
    fc.array(
      fc.record({
        gap: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 64 * MIB }), fc.constantFrom(0x1000, MIB, 2 ** 32)),
        size: fc.oneof(
          fc.integer({ min: 1, max: 2 * MIB }),
          fc.integer({ min: 1, max: 1024 }).map((count) => count * MIB),
          fc.integer({ min: 1, max: 512 }).map((count) => count * 4096),
        ),
        type: fc.oneof(
          { weight: 4, arbitrary: fc.constant<MemoryType>('ram') },
          { weight: 1, arbitrary: fc.constantFrom(...(Object.keys(E820_TYPES) as MemoryType[])) },
        ),
      }),
      { minLength: 1, maxLength: 150, size: 'small' },
    ),
  )
  .map(([pc, entries]) => {
    const map: { address: bigint; size: bigint; type: MemoryType }[] = [];
    let at = 0;
    if (pc > 0) {
      map.push({ address: 0n, size: 0x9fc00n, type: 'ram' });
      map.push({ address: 0x100000n, size: BigInt(pc * MIB), type: 'ram' });
      at = 0x100000 + pc * MIB;
    }
    for (const { gap, size, type } of entries) {
      at += gap;
      map.push({ address: BigInt(at), size: BigInt(size), type });
      at += size;
    }
    return map;
  });

const stages = fc.constantFrom(
  { stage: 'kernel' },
  { stage: 'kernel', protocol: 'linux32' },
  { stage: 'kernel', protocol: 'linux64' },
  { stage: 'kernel', protocol: 'pvh' },
  { stage: 'decompressor', protocol: 'linux32' },
  { stage: 'decompressor', protocol: 'linux64' },
  { stage: 'setup' },
  { stage: 'hook' },
) as fc.Arbitrary<Pick<PlanRequest, 'stage' | 'protocol'>>;

const requests: fc.Arbitrary<PlanRequest> = fc
  .record({
    entry: stages,
    memory: memoryMaps,
    initrd: fc.oneof(fc.integer({ min: 0, max: 64 * MIB }), fc.integer({ min: 0, max: MIB })),
    commandLine: fc.oneof(
      fc.string({ maxLength: 300 }),
      fc.integer({ min: 0, max: 2100 }).map((length) => 'x'.repeat(length)),
      fc.constantFrom('mem=64M', 'mem=24m quiet', 'vga=ask', 'nokaslr', 'mem=1G vga=0x303 -- mem=1M'),
    ),
    seed: fc.option(fc.string({ minLength: 1 })),
    firmwareSize: fc.option(fc.integer({ min: 1, max: 4 * MIB })),
  })
  .map(({ entry, memory, initrd, commandLine, seed, firmwareSize }) => ({
    ...entry,
    memory,
    initrd: INITRD.subarray(0, initrd),
    commandLine,
    ...(seed === null || entry.stage === 'setup' || entry.stage === 'decompressor' ? {} : { kaslr: { seed } }),
    ...(firmwareSize === null ? {} : { firmwareSize }),
  }));

/** The plan, or null for a refusal; anything else that is thrown is a defect. */
function plan(make: () => BootPlan): BootPlan | null {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
    expect(error.message).not.toMatch(/undefined|NaN|\[object/);
    return null;
  }
}

describe.skipIf(corpusFile('k64-gzip.bzImage') === null)('any machine', () => {
  it('with any request', async () => {
    const loaded = await Promise.all(KERNELS.map((name) => loadCorpus(`${name}.bzImage`)));
    let made = 0;
    fc.assert(
      fc.property(fc.nat(KERNELS.length - 1), requests, (index, request) => {
        const { image, vmlinux } = need(loaded[index]);
        const result = plan(() => planBoot(image, vmlinux, request));
        if (result === null) return;
        made++;
        checkInvariants(result);
        expect(result.facts.initrd?.size ?? 0).toBe(request.initrd?.length);
      }),
      { numRuns: 1000 },
    );
    // A generator whose machines are all refused would prove nothing.
    expect(made).toBeGreaterThan(200);
  });

  it('with any header', async () => {
    const file = readCorpus('k64-gzip.bzImage');
    const { vmlinux } = await loadCorpus('k64-gzip.bzImage');
    const words = fc.oneof(fc.constantFrom(0, 1, 0x200000, 0x1000000, 0x7fffffff, 0xffffffff), fc.nat(0xffffffff));
    const edits = fc.oneof(
      fc.tuple(
        fc.constantFrom(
          'code32_start',
          'initrd_addr_max',
          'kernel_alignment',
          'cmdline_size',
          'init_size',
          'payload_offset',
          'payload_length',
          'syssize',
        ),
        words,
      ),
      fc.tuple(
        fc.constantFrom('setup_sects', 'loadflags', 'relocatable_kernel', 'min_alignment', 'type_of_loader'),
        fc.nat(255),
      ),
      fc.tuple(fc.constantFrom('version', 'xloadflags', 'jump', 'heap_end_ptr', 'boot_flag'), fc.nat(0xffff)),
      fc.tuple(fc.constantFrom('version'), fc.integer({ min: 0x200, max: 0x20f })),
      fc.tuple(fc.constantFrom('pref_address'), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })),
    );
    let made = 0;
    fc.assert(
      fc.property(
        fc.array(edits, { minLength: 1, maxLength: 3 }),
        requests,
        (changes: readonly (readonly [string, number | bigint])[], request) => {
          const changed = changes.reduce<Uint8Array>(
            (bytes, [name, value]) => withField(bytes, name as 'code32_start', value as number),
            new Uint8Array(file.subarray(0, 0x40000)),
          );
          const image = readBootImage(changed);
          const result = plan(() => planBoot(image, vmlinux, request));
          if (result === null || image.setup === null) return;
          made++;
          checkInvariants(result);
        },
      ),
      { numRuns: 1000 },
    );
    expect(made).toBeGreaterThan(100);
  });
});
