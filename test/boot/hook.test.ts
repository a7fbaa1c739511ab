/** Resuming at the kernel from what a guest's setup code left behind. */
import { describe, expect, it } from 'vitest';
import { resumeAtKernel } from '../../src/boot/hook.js';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import type { BootPlan } from '../../src/boot/plan.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import { corpusFile } from '../kernels/corpus.js';
import { loadCorpus } from './images.js';
import { checkInvariants, n, need, readMemory, regionOf, view } from './invariants.js';

const initrd = new Uint8Array(5000).fill(3);
const commandLine = 'console=ttyS0';

/** What setup does: its own header into the page, and the BIOS' memory map. */
function setupsPage(plan: BootPlan, map: readonly (readonly [start: number, end: number, type: number])[]): Uint8Array {
  const page = new Uint8Array(4096);
  const setup = need(regionOf(plan, 'setup').bytes);
  page.set(setup.subarray(0x1f1, 0x202 + need(setup[0x201])), 0x1f1);
  page[0x06] = 3;
  page[0x1e8] = map.length;
  map.forEach(([start, end, type], i) => {
    const words = view(page);
    words.setBigUint64(0x2d0 + 20 * i, BigInt(start), true);
    words.setBigUint64(0x2d8 + 20 * i, BigInt(end - start), true);
    words.setUint32(0x2e0 + 20 * i, type, true);
  });
  return page;
}

const BIOS_MAP = [
  [0, 0x9fc00, 1],
  [0x9fc00, 0xa0000, 2],
  [0xf0000, 0x100000, 2],
  [0x100000, 0x0ffe0000, 1],
  [0x0ffe0000, 0x10000000, 2],
] as const;

describe.skipIf(corpusFile('k64-gzip.bzImage') === null).each(['k32-gzip', 'k64-gzip'])('%s', (name) => {
  async function hooked() {
    const { image, vmlinux } = await loadCorpus(`${name}.bzImage`);
    const plan = planBoot(image, null, { stage: 'hook', memory: pcMemoryMap(256n << 20n), initrd, commandLine });
    return { image, vmlinux, plan };
  }

  it('keeps what setup wrote and what the loader placed', async () => {
    const { image, vmlinux, plan } = await hooked();
    const page = setupsPage(plan, BIOS_MAP);
    const resumed = resumeAtKernel(image, vmlinux, plan, { bootParams: 0x13c30n, page });
    checkInvariants({ ...resumed, regions: [...resumed.regions, ...inGuest(plan)].sort(byAddress) });
    expect(resumed.cpu.registers).toEqual({ rsi: 0x13c30n });
    expect(Buffer.compare(readMemory(resumed, 0x13c30, 4096), page)).toBe(0);
    for (const region of resumed.regions) {
      if (region.purpose === 'boot-params') continue;
      for (const kept of plan.regions) {
        if (kept.purpose === 'trampoline') continue;
        const apart =
          region.address + BigInt(region.size) <= kept.address || kept.address + BigInt(kept.size) <= region.address;
        expect(apart, `${region.label} and ${kept.label}`).toBe(true);
      }
    }
    expect(resumed.facts.kernelBase).toBe(0x1000000n);
  });

  it('obeys the memory map that the BIOS told', async () => {
    const { image, vmlinux, plan } = await hooked();
    const page = setupsPage(plan, [
      [0, 0x9fc00, 1],
      [0x100000, 0x1200000, 1],
      [0x4000000, 0x0ffe0000, 1],
    ]);
    const resumed = resumeAtKernel(image, vmlinux, plan, { bootParams: 0x13c30n, page });
    expect(resumed.facts.kernelBase).toBe(0x4000000n);
    const tiny = setupsPage(plan, [
      [0, 0x9fc00, 1],
      [0x100000, 0x1200000, 1],
    ]);
    expect(() => resumeAtKernel(image, vmlinux, plan, { bootParams: 0x13c30n, page: tiny })).toThrow(
      expect.objectContaining({ code: 'does-not-fit' }),
    );
    const none = setupsPage(plan, []);
    expect(() => resumeAtKernel(image, vmlinux, plan, { bootParams: 0x13c30n, page: none })).toThrow(
      expect.objectContaining({ code: 'guest-failed', field: 'e820_entries' }),
    );
  });

  it('KASLR on the way', async () => {
    const { image, vmlinux, plan } = await hooked();
    const page = setupsPage(plan, BIOS_MAP);
    const resumed = resumeAtKernel(image, vmlinux, plan, { bootParams: 0x13c30n, page }, { kaslr: { seed: 'k' } });
    expect(resumed.facts.physicalDelta).not.toBe(0n);
    const changed = readMemory(resumed, 0x13c30, 4096);
    expect(need(changed[0x211]) ^ need(page[0x211]), 'KASLR_FLAG alone').toBe(0x02);
    changed[0x211] = need(page[0x211]);
    expect(Buffer.compare(changed, page)).toBe(0);
  });
});

const byAddress = (a: { address: bigint }, b: { address: bigint }): number => n(a.address) - n(b.address);

/** Regions of the hook plan that are still in guest memory, and that no region of the resumed plan replaces. */
function inGuest(plan: BootPlan): BootPlan['regions'] {
  return plan.regions.filter(({ purpose }) => purpose === 'command-line' || purpose === 'initrd');
}
