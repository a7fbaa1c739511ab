/** Plans for every kernel of the corpus, against the build tree's program headers and the documents' offsets. */
import { describe, expect, it } from 'vitest';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import type { BootPlan } from '../../src/boot/plan.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import type { PlanRequest } from '../../src/boot/request.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { fieldImages } from '../kernels/field.js';
import { loadCorpus } from './images.js';
import { checkInvariants, n, need, readMemory, regionOf, view } from './invariants.js';

const memory = pcMemoryMap(256n << 20n);
const initrd = Uint8Array.from({ length: 70_001 }, (_, i) => i * 7);
const request = (more: Partial<PlanRequest> & Pick<PlanRequest, 'stage'>): PlanRequest => ({
  memory,
  initrd,
  commandLine: 'console=ttyS0 panic=-1',
  ...more,
});

function checkInitrd(plan: BootPlan): void {
  const region = regionOf(plan, 'initrd');
  expect(region.size).toBe(73_728);
  expect(region.bytes).toBe(initrd);
}

describe.skipIf(corpus.length === 0).each(corpus)('$name', (facts) => {
  const phdrs = facts.decompressed.vmlinux_bin.phdrs.filter(({ type }) => type === 'LOAD');

  it('kernel stage: every segment where the build tree says, cleared behind it', async () => {
    const { image, vmlinux } = await loadCorpus(facts.file);
    const plan = planBoot(image, vmlinux, request({ stage: 'kernel' }));
    checkInvariants(plan);
    checkInitrd(plan);
    expect(plan.protocol).toBe(facts.arch_bits === 64 ? 'linux64' : 'linux32');
    expect(plan.cpu.rip).toBe(BigInt(facts.decompressed.vmlinux_bin.entry));
    for (const { offset, paddr, filesz, memsz } of phdrs) {
      const address = Number(paddr);
      const expected = new Uint8Array(memsz);
      expected.set(vmlinux.raw.subarray(offset, offset + filesz));
      expect(Buffer.compare(readMemory(plan, address, memsz), expected), `segment at ${paddr}`).toBe(0);
    }
    const first = Math.min(...phdrs.map(({ paddr }) => Number(paddr)));
    const last = Math.max(...phdrs.map(({ paddr, memsz }) => Number(paddr) + memsz));
    const bytes = plan.regions
      .filter(({ purpose }) => purpose === 'kernel' || purpose === 'bss')
      .reduce((sum, { size }) => sum + size, 0);
    expect(bytes, 'gaps are cleared, too').toBe(last - first);
    expect(regionOf(plan, 'initrd').address).toBeGreaterThanOrEqual(BigInt(first + facts.init_size));
  });

  it('kernel stage: the zero page carries the header of the file', async () => {
    const { image, vmlinux } = await loadCorpus(facts.file);
    const file = readCorpus(facts.file);
    const plan = planBoot(image, vmlinux, request({ stage: 'kernel' }));
    const page = readMemory(plan, n(need(plan.facts.bootParams)), 4096);
    const end = 0x202 + need(file[0x201]);
    // type_of_loader, loadflags; ramdisk; cmd_line_ptr: what loaders write (boot.rst).
    const written = [0x210, ...range(0x218, 0x220), ...range(0x226, 0x22c)];
    for (let at = 0x1f1; at < end; at++) {
      if (!written.includes(at)) expect(page[at], `0x${at.toString(16)}`).toBe(file[at]);
    }
    expect(need(page[0x211]) & 0x02, 'KASLR_FLAG').toBe(0);
    const told = [...range(0x02, 0x04), ...range(0x1e0, 0x1e4), 0x1e8, ...range(0x1f1, end), ...range(0x2d0, 0xcd0)];
    const silent = range(0, 4096).filter((at) => !told.includes(at) && page[at] !== 0);
    expect(silent, 'everything else is zero').toEqual([]);
  });

  const pvh = facts.notes.find(({ owner, type }) => owner === 'Xen' && type === 18);
  if (pvh !== undefined)
    it('pvh: hvm_start_info as start_info.h has it', async () => {
      const { image, vmlinux } = await loadCorpus(facts.file);
      const plan = planBoot(image, vmlinux, request({ stage: 'kernel', protocol: 'pvh', firmwareSize: 0x20000 }));
      checkInvariants(plan);
      expect(plan.cpu.mode).toBe('protected');
      expect(plan.cpu.rip).toBe(BigInt(`0x${Buffer.from(need(pvh).desc, 'hex').reverse().toString('hex')}`));
      const info = view(readMemory(plan, n(need(plan.facts.startInfo)), 56));
      expect(info.getUint32(0, true)).toBe(0x336ec578);
      expect(info.getUint32(4, true)).toBe(1);
      expect(info.getUint32(12, true)).toBe(1);
      const module = view(readMemory(plan, n(info.getBigUint64(16, true)), 32));
      expect(module.getBigUint64(0, true)).toBe(regionOf(plan, 'initrd').address);
      expect(module.getBigUint64(8, true)).toBe(BigInt(initrd.length));
      expect(info.getBigUint64(24, true)).toBe(need(plan.facts.commandLine).address);
      const firmware = regionOf(plan, 'firmware');
      expect(info.getBigUint64(32, true)).toBe(firmware.address);
      const count = info.getUint32(48, true);
      const map = view(readMemory(plan, n(info.getBigUint64(40, true)), count * 24));
      const entries = range(0, count).map((i) => ({
        address: map.getBigUint64(i * 24, true),
        size: map.getBigUint64(i * 24 + 8, true),
        type: map.getUint32(i * 24 + 16, true),
      }));
      const acpi = entries.filter(({ type }) => type === 3);
      expect(acpi).toEqual([{ address: firmware.address, size: BigInt(firmware.size), type: 3 }]);
      const size = (type: string) => memory.filter((r) => r.type === type).reduce((sum, r) => sum + r.size, 0n);
      expect(entries.filter(({ type }) => type === 1).reduce((sum, e) => sum + e.size, 0n)).toBe(
        size('ram') - BigInt(firmware.size),
      );
    });

  if (pvh === undefined)
    it('pvh: refused without the note', async () => {
      const { image, vmlinux } = await loadCorpus(facts.file);
      expect(() => planBoot(image, vmlinux, request({ stage: 'kernel', protocol: 'pvh' }))).toThrow(
        expect.objectContaining({ code: 'protocol-unavailable' }),
      );
    });

  it('decompressor stage: the protected-mode part at pref_address or where it was linked', async () => {
    const { image, vmlinux } = await loadCorpus(facts.file);
    const file = readCorpus(facts.file);
    const stage = new Uint8Array(file.subarray((facts.setup_sects + 1) * 512));
    for (const protocol of facts.arch_bits === 64 ? (['linux64', 'linux32'] as const) : (['linux32'] as const)) {
      const plan = planBoot(image, null, request({ stage: 'decompressor', protocol }));
      checkInvariants(plan);
      checkInitrd(plan);
      expect(plan.bits).toBe(facts.arch_bits);
      const load = facts.relocatable ? Number(facts.pref_address) : Number(facts.code32_start);
      expect(plan.cpu.rip).toBe(BigInt(load + (protocol === 'linux64' ? 0x200 : 0)));
      expect(Buffer.compare(readMemory(plan, load, stage.length), stage)).toBe(0);
      const page = view(readMemory(plan, n(need(plan.facts.bootParams)), 4096));
      expect(page.getUint32(0x214, true), 'code32_start').toBe(load);
      const run = Number(facts.pref_address);
      for (const region of plan.regions) {
        const start = n(region.address);
        if (region.purpose !== 'stage') {
          expect(start >= run + facts.init_size || start + region.size <= run, region.label).toBe(true);
        }
      }
    }
    if (facts.arch_bits === 32) {
      expect(() => planBoot(image, vmlinux, request({ stage: 'decompressor', protocol: 'linux64' }))).toThrow(
        expect.objectContaining({ code: 'protocol-unavailable', field: 'xloadflags' }),
      );
    }
  });

  it('setup stage: what boot.rst asks of a loader', async () => {
    const { image } = await loadCorpus(facts.file);
    const plan = planBoot(image, null, request({ stage: 'setup' }));
    checkInvariants(plan);
    checkSetup(plan, readCorpus(facts.file));
    const stage = readCorpus(facts.file).subarray((facts.setup_sects + 1) * 512);
    expect(Buffer.compare(readMemory(plan, 0x100000, stage.length), stage)).toBe(0);
  });

  it('hook stage: a stub at code32_start that tells ESI', async () => {
    const { image } = await loadCorpus(facts.file);
    const plan = planBoot(image, null, request({ stage: 'hook', kaslr: { seed: 'unused yet' } }));
    checkInvariants(plan);
    checkSetup(plan, readCorpus(facts.file));
    const { address, port } = need(plan.hook);
    const setup = view(need(regionOf(plan, 'setup').bytes));
    expect(setup.getUint32(0x214, true)).toBe(n(address));
    // mov eax, esi; mov dx, imm16; out dx, eax
    const stub = readMemory(plan, n(address), 7);
    expect([...stub]).toEqual([0x89, 0xf0, 0x66, 0xba, port & 0xff, port >> 8, 0xef]);
  });
});

function range(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

/** Real-mode side of a plan, protocol 2.02 and newer, loaded high. */
function checkSetup(plan: BootPlan, file: Uint8Array): void {
  const setup = regionOf(plan, 'setup');
  const words = view(need(setup.bytes));
  const base = n(setup.address);
  const sectors = need(file[0x1f1]) === 0 ? 4 : need(file[0x1f1]);
  expect(setup.size).toBe((sectors + 1) * 512);
  expect(n(plan.cpu.data.base)).toBe(base);
  expect(base % 16).toBe(0);
  expect(words.getUint8(0x210)).toBe(0xff);
  expect(words.getUint8(0x211) & 0x80, 'CAN_USE_HEAP').toBe(0x80);
  const heapEnd = words.getUint16(0x224, true) + 0x200;
  expect(heapEnd).toBeGreaterThan(setup.size);
  expect(n(need(plan.cpu.registers.rsp))).toBeGreaterThanOrEqual(heapEnd);
  const line = n(need(plan.facts.commandLine).address);
  expect(words.getUint32(0x228, true)).toBe(line);
  expect(line).toBeGreaterThanOrEqual(base + n(need(plan.cpu.registers.rsp)));
  expect(line).toBeLessThan(0xa0000);
  const image = words.getUint32(0x218, true);
  expect(image).toBe(plan.facts.initrd === undefined ? 0 : n(plan.facts.initrd.address));
  const written = [0x210, 0x211, ...range(0x214, 0x220), ...range(0x224, 0x22c)];
  for (let at = 0; at < setup.size; at++) {
    if (!written.includes(at) && need(setup.bytes)[at] !== file[at]) expect.fail(`0x${at.toString(16)} changed`);
  }
}

describe.skipIf(Object.keys(fieldImages).length === 0).each(Object.entries(fieldImages))('field image %s', (name) => {
  const path = `field/${name}`;
  it.skipIf(corpusFile(path) === null)('starts by setup and decompressor', () => {
    const file = readCorpus(path);
    const image = readBootImage(file);
    const setup = planBoot(image, null, request({ stage: 'setup' }));
    checkInvariants(setup);
    checkSetup(setup, file);
    checkInvariants(planBoot(image, null, request({ stage: 'decompressor' })));
  });
});
