/** Host KASLR: the slots that the kernel itself would choose from, and memory relocated as a slow reference does it. */
import { describe, expect, it, vi } from 'vitest';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import type { BootPlan } from '../../src/boot/plan.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import { randomSource } from '../../src/boot/random.js';
import type { PlanRequest } from '../../src/boot/request.js';
import { recoverVmlinux } from '../../src/kernel/recover.js';
import { corpus, type ManifestImage } from '../kernels/corpus.js';
import { loadCorpus } from './images.js';
import { checkInvariants, n, need, readMemory } from './invariants.js';

const request = (more: Partial<PlanRequest>): PlanRequest => ({
  stage: 'kernel',
  memory: pcMemoryMap(512n << 20n),
  initrd: new Uint8Array(12345).fill(7),
  ...more,
});

/**
 * handle_relocations() of arch/x86/boot/compressed/misc.c, read backwards word by word from the end of the decompressed
 * bytes, on a flat image of the kernel.
 */
function relocateSlowly(facts: ManifestImage, raw: Uint8Array, virtualDelta: bigint): { base: number; flat: Buffer } {
  const loads = facts.decompressed.vmlinux_bin.phdrs.filter(({ type }) => type === 'LOAD');
  const base = Math.min(...loads.map(({ paddr }) => Number(paddr)));
  const end = Math.max(...loads.map(({ paddr, memsz }) => Number(paddr) + memsz));
  const flat = Buffer.alloc(end - base);
  for (const { offset, paddr, filesz } of loads) flat.set(raw.subarray(offset, offset + filesz), Number(paddr) - base);
  const first = need(loads.find(({ paddr }) => Number(paddr) === base));
  const toFlat = (word: number): number => {
    const virtual = facts.arch_bits === 64 ? BigInt.asUintN(64, BigInt(word)) : BigInt(word >>> 0);
    return Number(virtual - BigInt(first.vaddr));
  };
  const tail = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  let at = tail.length - 4;
  for (; tail.readInt32LE(at) !== 0; at -= 4) {
    const where = toFlat(tail.readInt32LE(at));
    flat.writeUInt32LE(Number(BigInt.asUintN(32, BigInt(flat.readUInt32LE(where)) + virtualDelta)), where);
  }
  if (facts.arch_bits === 32) return { base, flat };
  for (at -= 4; tail.readInt32LE(at) !== 0; at -= 4) {
    const where = toFlat(tail.readInt32LE(at));
    flat.writeUInt32LE(Number(BigInt.asUintN(32, BigInt(flat.readUInt32LE(where)) - virtualDelta)), where);
  }
  for (at -= 4; tail.readInt32LE(at) !== 0; at -= 4) {
    const where = toFlat(tail.readInt32LE(at));
    flat.writeBigUInt64LE(BigInt.asUintN(64, flat.readBigUInt64LE(where) + virtualDelta), where);
  }
  return { base, flat };
}

/**
 * Newer PVH entries compute the kernel's move from PHYS32_ENTRY: what is entered by PVH holds its own addresses there and
 * in ENTRY. (The kernel's relocations leave notes alone.)
 */
function moveAddressNotes(facts: ManifestImage, flat: Buffer, delta: bigint): void {
  for (const { owner, type, desc } of facts.notes) {
    if (owner !== 'Xen' || ![1, 18].includes(type)) continue;
    const linked = Buffer.from(desc, 'hex');
    const head = Buffer.from([4, 0, 0, 0, linked.length, 0, 0, 0, type, 0, 0, 0, 0x58, 0x65, 0x6e, 0]);
    const at = flat.indexOf(head);
    expect(at).toBeGreaterThan(0);
    flat.writeUInt32LE(Number(BigInt.asUintN(32, BigInt(linked.readUInt32LE(0)) + delta)), at + head.length);
  }
}

function expectKernel(plan: BootPlan, facts: ManifestImage, raw: Uint8Array): void {
  const { base, flat } = relocateSlowly(facts, raw, need(plan.facts.virtualDelta));
  if (plan.protocol === 'pvh') moveAddressNotes(facts, flat, need(plan.facts.physicalDelta));
  const placed = readMemory(plan, base + n(need(plan.facts.physicalDelta)), flat.length);
  expect(Buffer.compare(placed, flat)).toBe(0);
}

const movable = corpus.filter((facts) => facts.has_relocs && ['gzip', 'zstd'].includes(facts.compression));

describe.skipIf(movable.length === 0).each(movable)('$name', (facts) => {
  it('relocates memory byte for byte as the kernel would', async () => {
    const { image, vmlinux } = await loadCorpus(facts.file);
    for (const seed of ['a', 'b']) {
      const plan = planBoot(image, vmlinux, request({ kaslr: { seed } }));
      checkInvariants(plan);
      expectKernel(plan, facts, vmlinux.raw);
      expect(need(readMemory(plan, n(need(plan.facts.bootParams)) + 0x211, 1)[0]) & 0x02, 'KASLR_FLAG').toBe(0x02);
    }
  });

  it('relocates in place when it may, with the same result', async () => {
    const { image, vmlinux } = await loadCorpus(facts.file);
    const own = await recoverVmlinux(image);
    const plan = planBoot(image, own, request({ kaslr: { seed: 'x' }, consumeKernel: true }));
    expectKernel(plan, facts, vmlinux.raw);
    const kernel = need(plan.regions.find(({ purpose }) => purpose === 'kernel'));
    expect(need(kernel.bytes).buffer).toBe(own.raw.buffer);
  });

  it('a seed repeats a start, another seed or none does not', async () => {
    const { image, vmlinux } = await loadCorpus(facts.file);
    const where = (seed: string | null): string => {
      const { kernelBase, virtualDelta } = planBoot(image, vmlinux, request({ kaslr: { seed } })).facts;
      return `${String(kernelBase)} ${String(virtualDelta)}`;
    };
    expect(where('one')).toBe(where('one'));
    const places = new Set(Array.from({ length: 24 }, (_, i) => where(i < 12 ? String(i) : null)));
    expect(places.size).toBeGreaterThan(12);
  });

  it('stays within what the kernel itself allows, and uses all of it', async () => {
    const { image, vmlinux } = await loadCorpus(facts.file);
    const size = BigInt(facts.init_size);
    const limit = facts.arch_bits === 32 ? 512n << 20n : 1n << 30n;
    const virtual: bigint[] = [];
    const physical: bigint[] = [];
    for (let i = 0; i < 60; i++) {
      const at = planBoot(image, vmlinux, request({ memory: pcMemoryMap(1n << 30n), kaslr: { seed: `${i}` } })).facts;
      const base = BigInt(facts.pref_address);
      expect(need(at.kernelBase) % BigInt(facts.kernel_alignment)).toBe(0n);
      expect(need(at.virtualDelta) % BigInt(facts.kernel_alignment)).toBe(0n);
      expect(at.kernelBase).toBeGreaterThanOrEqual(base);
      expect(base + need(at.virtualDelta) + size).toBeLessThanOrEqual(limit);
      virtual.push(need(at.virtualDelta));
      physical.push(need(at.kernelBase));
    }
    const top = (values: bigint[]): bigint => values.reduce((a, b) => (a > b ? a : b));
    expect(top(virtual)).toBeGreaterThan((limit * 3n) / 4n);
    expect(top(physical)).toBeGreaterThan((limit * 3n) / 4n);
    if (facts.arch_bits === 64) expect(new Set(virtual.map((v, i) => v - need(physical[i]))).size).toBeGreaterThan(50);
  });

  it('exactly where it is told', async () => {
    const { image, vmlinux } = await loadCorpus(facts.file);
    const delta = 64n << 20n;
    const at = { physicalDelta: delta, virtualDelta: facts.arch_bits === 64 ? 16n << 20n : delta };
    const plan = planBoot(image, vmlinux, request({ at }));
    checkInvariants(plan);
    expectKernel(plan, facts, vmlinux.raw);
    expect(plan.facts).toMatchObject(at);
    expect(need(readMemory(plan, n(need(plan.facts.bootParams)) + 0x211, 1)[0]) & 0x02).toBe(0);
  });

  if (facts.notes.some(({ type }) => type === 18))
    it('by PVH, both addresses move together', async () => {
      const { image, vmlinux } = await loadCorpus(facts.file);
      const plan = planBoot(image, vmlinux, request({ protocol: 'pvh', kaslr: { seed: 'pvh' } }));
      checkInvariants(plan);
      expectKernel(plan, facts, vmlinux.raw);
      expect(plan.facts.physicalDelta).toBe(plan.facts.virtualDelta);
      expect(plan.facts.physicalDelta).not.toBe(0n);
    });
});

describe.skipIf(corpus.length === 0)('kernels that cannot', () => {
  const named = (name: string): Promise<Awaited<ReturnType<typeof loadCorpus>>> => loadCorpus(`${name}.bzImage`);

  it.each(['k64-noreloc', 'k32-noreloc', 'k64-nokaslr'])('%s is refused', async (name) => {
    const { image, vmlinux } = await named(name);
    expect(() => planBoot(image, vmlinux, request({ kaslr: { seed: 'x' } }))).toThrow(
      expect.objectContaining({ code: 'not-relocatable', field: 'kaslr' }),
    );
  });

  it('nokaslr contradicts it, behind -- it does not', async () => {
    const { image, vmlinux } = await named('k64-gzip');
    const kaslr = { seed: 'x' };
    expect(() => planBoot(image, vmlinux, request({ kaslr, commandLine: 'quiet nokaslr' }))).toThrow(
      expect.objectContaining({ code: 'bad-argument', field: 'kaslr' }),
    );
    expect(() => planBoot(image, vmlinux, request({ kaslr, commandLine: 'quiet -- nokaslr' }))).not.toThrow();
  });

  it('the guest places the kernel at other stages', async () => {
    const { image } = await named('k64-gzip');
    for (const stage of ['setup', 'decompressor'] as const) {
      expect(() => planBoot(image, null, request({ stage, kaslr: { seed: null } }))).toThrow(
        expect.objectContaining({ code: 'bad-argument', field: 'kaslr' }),
      );
    }
  });

  it('a 64-bit kernel without relocations still moves in physical memory', async () => {
    const { image, vmlinux } = await named('k64-nokaslr');
    const memory = [
      { address: 0n, size: 0x9fc00n, type: 'ram' },
      { address: 0x100000n, size: 8n << 20n, type: 'ram' },
      { address: 128n << 20n, size: 64n << 20n, type: 'ram' },
    ] as const;
    const plan = planBoot(image, vmlinux, request({ memory }));
    checkInvariants(plan);
    expect(plan.facts).toMatchObject({ kernelBase: 128n << 20n, virtualDelta: 0n });
    expect(plan.facts.remarks).toHaveLength(1);
    const { image: fixedImage, vmlinux: fixed } = await named('k64-noreloc');
    expect(() => planBoot(fixedImage, fixed, request({ memory }))).toThrow(
      expect.objectContaining({ code: 'does-not-fit', hint: expect.stringContaining('not relocatable') as string }),
    );
  });
});

describe('random numbers', () => {
  it.each([
    ['the system', false],
    ['the Web Cryptography API', true],
  ])('come from %s, and differ', (_source, inBrowser) => {
    if (inBrowser) vi.spyOn(process, 'getBuiltinModule').mockReturnValue(undefined);
    const random = randomSource(null);
    const words = Array.from({ length: 64 }, () => random.below(1n << 64n));
    vi.restoreAllMocks();
    expect(new Set(words).size).toBe(64);
    // 4096 fair coins: 8 standard deviations.
    const ones = words.reduce((sum, word) => sum + word.toString(2).replaceAll('0', '').length, 0);
    expect(Math.abs(ones - 2048)).toBeLessThan(256);
  });

  it('SplitMix64 of the seed’s FNV-1a hash', () => {
    // FNV-1a of "a" is af63dc4c8601ec8c (the authors' test vectors); the state of SplitMix64 advances by the golden ratio.
    const mask = (1n << 64n) - 1n;
    let z = (0xaf63dc4c8601ec8cn + 0x9e3779b97f4a7c15n) & mask;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
    expect(randomSource('a').below(1n << 64n)).toBe(z ^ (z >> 31n));
  });

  it.each(['seeded', null])('every slot has its chance (%s)', (seed) => {
    const random = randomSource(seed);
    const counts = new Array<number>(7).fill(0);
    for (let i = 0; i < 7000; i++) {
      const slot = Number(random.below(7n));
      counts[slot] = need(counts[slot]) + 1;
    }
    // Six standard deviations.
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(6 * Math.sqrt(1000 * (6 / 7)));
  });

  it('refuses an empty seed', () => {
    expect(() => randomSource('')).toThrow(expect.objectContaining({ code: 'bad-argument' }));
  });
});
