/**
 * What must hold for every plan, checked without the product's range arithmetic: memory as a list of intervals in plain
 * numbers, structures by the offsets of boot.rst and zero-page.rst.
 */
import { expect } from 'vitest';
import type { BootPlan, Region } from '../../src/boot/plan.js';

/** A value that has to be there. */
export function need<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw new Error('a value is missing');
  return value;
}

export const n = (value: bigint): number => {
  expect(value <= BigInt(Number.MAX_SAFE_INTEGER)).toBe(true);
  return Number(value);
};

/** True if every page-sized (or smaller) step of [start, end) lies in some RAM entry of the map. */
function inRam(plan: BootPlan, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    const entry = plan.memory.find(
      ({ address, size, type }) => type === 'ram' && n(address) <= at && at < n(address) + n(size),
    );
    if (entry === undefined) return false;
    at = n(entry.address) + n(entry.size);
  }
  return true;
}

export function regionOf(plan: BootPlan, purpose: Region['purpose']): Region {
  const found = plan.regions.filter((region) => region.purpose === purpose);
  expect(found, purpose).toHaveLength(1);
  return need(found[0]);
}

/** Guest memory as the plan leaves it; bytes that no region covers read as `untouched`. */
export function readMemory(plan: BootPlan, address: number, length: number, untouched = 0xcc): Uint8Array {
  const bytes = new Uint8Array(length).fill(untouched);
  for (const region of plan.regions) {
    const start = n(region.address);
    for (let at = Math.max(start, address); at < Math.min(start + region.size, address + length);) {
      const given = region.bytes ?? new Uint8Array(0);
      const offset = at - start;
      if (offset < given.length) {
        const count = Math.min(given.length - offset, address + length - at);
        bytes.set(given.subarray(offset, offset + count), at - address);
        at += count;
      } else {
        const end = Math.min(start + region.size, address + length);
        bytes.fill(0, at - address, end - address);
        at = end;
      }
    }
  }
  return bytes;
}

export function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Translates a linear address by the plan's own page tables, as the SDM's figure 4-8 and 4-9 walk them. */
export function translate(plan: BootPlan, linear: bigint): bigint | null {
  let table = plan.cpu.cr3;
  for (const shift of [39n, 30n, 21n, 12n]) {
    const entry = view(readMemory(plan, n(table), 4096)).getBigUint64(Number((linear >> shift) & 511n) * 8, true);
    if ((entry & 1n) === 0n) return null;
    const base = entry & 0x000ffffffffff000n;
    if (shift === 12n || (entry & 0x80n) !== 0n)
      return (base & ~((1n << shift) - 1n)) | (linear & ((1n << shift) - 1n));
    table = base;
  }
  return null;
}

function checkRegions(plan: BootPlan): void {
  let end = 0;
  for (const region of plan.regions) {
    const start = n(region.address);
    expect(region.size, region.label).toBeGreaterThan(0);
    expect(start, `${region.label} overlaps or is out of order`).toBeGreaterThanOrEqual(end);
    expect(region.bytes?.length ?? 0, region.label).toBeLessThanOrEqual(region.size);
    end = start + region.size;
    expect(inRam(plan, start, end), `${region.label} leaves RAM`).toBe(true);
    expect(end <= 0xa0000 || start >= 0x100000, `${region.label} touches 0xa0000-0xfffff`).toBe(true);
    if (plan.bits === 32) expect(end, region.label).toBeLessThanOrEqual(2 ** 32);
  }
}

/** boot.rst, "32-bit Boot Protocol" and "64-bit Boot Protocol": descriptors as the CPU would load them. */
function checkGdt(plan: BootPlan): void {
  const { gdt, cs, data } = plan.cpu;
  expect(gdt).not.toBeNull();
  const table = view(readMemory(plan, n(need(gdt).base), need(gdt).limit + 1));
  for (const segment of [cs, data]) {
    const low = table.getUint32(segment.selector, true);
    const high = table.getUint32(segment.selector + 4, true);
    const base = (low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000);
    const limit = (low & 0xffff) | (high & 0xf0000);
    expect(base >>> 0).toBe(n(segment.base));
    expect((high & 0x800000) === 0 ? limit : limit * 4096 + 4095).toBe(segment.limit);
    expect((high >>> 8) & 0xf0ff).toBe(segment.access);
  }
  expect(cs.selector).toBe(0x10);
  expect(data.selector).toBe(0x18);
  expect(cs.limit).toBe(0xffffffff);
  expect(data.limit).toBe(0xffffffff);
}

function checkCpu(plan: BootPlan): void {
  const { cpu } = plan;
  expect(cpu.rflags & 0x200n, 'interrupts').toBe(0n);
  if (cpu.mode === 'real') {
    expect(plan.firmware).toBe('bios');
    expect(cpu.cr0 & 0x80000001n).toBe(0n);
    expect(cpu.cs.selector).toBe(cpu.data.selector + 0x20);
    expect(cpu.rip).toBe(0n);
    expect(n(cpu.cs.base)).toBe(cpu.cs.selector * 16);
    return;
  }
  expect(plan.firmware).toBe('none');
  checkGdt(plan);
  expect(cpu.cr0 & 1n).toBe(1n);
  if (cpu.mode === 'protected') {
    expect(cpu.cr0 & 0x80000000n, 'paging').toBe(0n);
    expect(cpu.cs.access & 0x6000, '32-bit code segment').toBe(0x4000);
  } else {
    expect(cpu.cr0 & 0x80000000n).toBe(0x80000000n);
    expect(cpu.cr4 & 0x20n).toBe(0x20n);
    expect(cpu.efer & 0x100n).toBe(0x100n);
    expect(cpu.cs.access & 0x6000, '64-bit code segment').toBe(0x2000);
    for (const region of plan.regions) {
      if (region.purpose === 'initrd') continue;
      expect(translate(plan, region.address), region.label).toBe(region.address);
      const last = region.address + BigInt(region.size) - 1n;
      expect(translate(plan, last), region.label).toBe(last);
    }
  }
}

/** Address of a word of the zero page, and the fields that a loader has to fill in. */
function checkZeroPage(plan: BootPlan): void {
  const { facts } = plan;
  const page = readMemory(plan, n(need(facts.bootParams)), 4096);
  const words = view(page);
  expect(words.getUint32(0x202, true), 'HdrS').toBe(0x53726448);
  expect(page[0x210], 'type_of_loader').toBe(0xff);
  expect(page[0x1ef], 'sentinel').toBe(0);
  const line = n(need(facts.commandLine).address);
  expect(words.getUint32(0x228, true)).toBe(line);
  expect(Buffer.from(readMemory(plan, line, need(facts.commandLine).text.length + 1)).toString('latin1')).toBe(
    `${need(facts.commandLine).text}\0`,
  );
  const initrd = words.getUint32(0x218, true) + words.getUint32(0xc0, true) * 2 ** 32;
  expect(initrd).toBe(facts.initrd === undefined ? 0 : n(facts.initrd.address));
  expect(words.getUint32(0x21c, true)).toBe(facts.initrd?.size ?? 0);
  if (facts.initrd !== undefined) {
    expect(initrd % 4096).toBe(0);
    // XLF_CAN_BE_LOADED_ABOVE_4G lifts initrd_addr_max for a kernel that has no other place.
    if ((words.getUint16(0x236, true) & 2) === 0) {
      expect(initrd + facts.initrd.size - 1).toBeLessThanOrEqual(Math.max(words.getUint32(0x22c, true), 0x37ffffff));
    }
  }
  checkE820(plan, page);
}

const TYPES = { ram: 1, reserved: 2, acpi: 3, nvs: 4, unusable: 5, pmem: 7 } as const;

/** The map that the zero page tells, continued in setup_data of type 1. */
export function toldMemoryMap(plan: BootPlan, page: Uint8Array): { address: number; size: number; type: number }[] {
  const words = view(page);
  const entries: { address: number; size: number; type: number }[] = [];
  const read = (data: DataView, at: number): void => {
    entries.push({
      address: n(data.getBigUint64(at, true)),
      size: n(data.getBigUint64(at + 8, true)),
      type: data.getUint32(at + 16, true),
    });
  };
  for (let i = 0; i < need(page[0x1e8]); i++) read(words, 0x2d0 + 20 * i);
  for (let node = n(words.getBigUint64(0x250, true)); node !== 0;) {
    const header = view(readMemory(plan, node, 16));
    expect(header.getUint32(8, true), 'SETUP_E820_EXT').toBe(1);
    const length = header.getUint32(12, true);
    const data = view(readMemory(plan, node + 16, length));
    for (let at = 0; at < length; at += 20) read(data, at);
    node = n(header.getBigUint64(0, true));
  }
  return entries;
}

function checkE820(plan: BootPlan, page: Uint8Array): void {
  const told = toldMemoryMap(plan, page);
  const firmware = plan.regions.filter(({ purpose }) => purpose === 'firmware');
  if (firmware.length === 0) {
    expect(told).toEqual(plan.memory.map((r) => ({ address: n(r.address), size: n(r.size), type: TYPES[r.type] })));
    return;
  }
  for (const region of firmware) {
    const start = n(region.address);
    const entry = told.find(({ address, size }) => address <= start && start < address + size);
    expect(entry?.type, 'firmware memory').toBe(3);
    expect(view(page).getUint32(0x70, true)).toBe(start);
  }
  const total = (type: number): number => told.filter((e) => e.type === type).reduce((sum, e) => sum + e.size, 0);
  const ram = plan.memory.filter((r) => r.type === 'ram' || r.type === 'acpi').reduce((sum, r) => sum + n(r.size), 0);
  expect(total(1) + total(3)).toBe(ram);
}

/** Everything that holds for a plan by itself. */
export function checkInvariants(plan: BootPlan): void {
  checkRegions(plan);
  checkCpu(plan);
  const { cpu, facts } = plan;
  if (plan.stage === 'setup' || plan.stage === 'hook') return;
  if (plan.protocol === 'linux32' || plan.protocol === 'linux64') {
    expect(cpu.registers).toEqual({ rsi: facts.bootParams });
    checkZeroPage(plan);
  }
  if (plan.protocol === 'pvh') expect(cpu.registers).toEqual({ rbx: facts.startInfo });
  const code = readMemory(plan, n(cpu.rip), 1, 0xcc);
  const owner = plan.regions.find((r) => r.address <= cpu.rip && cpu.rip < r.address + BigInt(r.size));
  expect(['kernel', 'stage'], 'entry').toContain(owner?.purpose);
  expect(code).toHaveLength(1);
}
