/** What every plan has to satisfy, whoever built it. */
import { BootImageError } from '../bytes/error.js';
import { hex } from '../bytes/numbers.js';
import { type AddressRange, rangeContains, rangesOverlap } from '../bytes/ranges.js';
import { ADAPTER_HOLE, FOUR_GIB, usableRam } from './placement.js';
import type { BootPlan, CpuState, Region } from './plan.js';

const CR0_PE = 1n;
const CR0_PG = 1n << 31n;
const REAL_MODE_LIMIT = 0x110000n;

/** The memory that a region occupies. */
export function regionRange(region: Region): AddressRange {
  return { start: region.address, end: region.address + BigInt(region.size) };
}

function describe(region: Region): string {
  const { start, end } = regionRange(region);
  return `${region.label} (${hex(start)}-${hex(end)})`;
}

function refuse(code: 'does-not-fit' | 'overlap' | 'bad-field', message: string, field: string): never {
  throw new BootImageError(code, message, { field });
}

function checkRegions(plan: BootPlan): void {
  // A Xen PV domain numbers its own frames; the adapters of a PC are not among them.
  const holes = plan.protocol === 'xen-pv' ? [] : [ADAPTER_HOLE];
  const ram = usableRam(plan.memory, holes);
  let previous: Region | undefined;
  for (const region of plan.regions) {
    const range = regionRange(region);
    if (!Number.isSafeInteger(region.size) || region.size <= 0) {
      refuse('bad-field', `${region.label} has no size`, 'regions');
    }
    if ((region.bytes?.length ?? 0) > region.size) {
      refuse('bad-field', `${describe(region)} holds more bytes than it is long`, 'regions');
    }
    if (previous !== undefined && range.start < previous.address) {
      refuse('bad-field', `${describe(region)} is listed behind ${describe(previous)}`, 'regions');
    }
    if (previous !== undefined && range.start < regionRange(previous).end) {
      refuse('overlap', `${describe(region)} and ${describe(previous)} claim the same memory`, 'regions');
    }
    if (holes.some((hole) => rangesOverlap(range, hole))) {
      refuse('does-not-fit', `${describe(region)} touches 0xa0000-0x100000, which belongs to the adapters`, 'regions');
    }
    if (!ram.some((part) => rangeContains(part, range))) {
      refuse('does-not-fit', `${describe(region)} is not wholly in RAM`, 'regions');
    }
    if (plan.bits === 32 && range.end > FOUR_GIB) {
      refuse('does-not-fit', `${describe(region)} lies above 4 GiB, where a 32-bit kernel does not look`, 'regions');
    }
    previous = region;
  }
}

/** The region that holds all of [address, address + size), or undefined. */
function regionAt(plan: BootPlan, address: bigint, size: bigint): Region | undefined {
  return plan.regions.find((region) => rangeContains(regionRange(region), { start: address, end: address + size }));
}

function checkMode(cpu: CpuState): void {
  const protectedOn = (cpu.cr0 & CR0_PE) !== 0n;
  const paging = (cpu.cr0 & CR0_PG) !== 0n;
  const consistent = {
    real: !protectedOn && !paging && cpu.efer === 0n,
    protected: protectedOn && cpu.efer === 0n,
    long: protectedOn && paging && (cpu.efer & 0x100n) !== 0n && (cpu.cr4 & 0x20n) !== 0n,
  }[cpu.mode];
  if (!consistent) refuse('bad-field', `cr0, cr4 and efer do not put the CPU into ${cpu.mode} mode`, 'cpu');
  const width = { real: 16n, protected: 32n, long: 64n }[cpu.mode];
  for (const [name, value] of Object.entries({ ...cpu.registers, rip: cpu.rip })) {
    if (value < 0n || value >= 1n << width) refuse('bad-field', `${hex(value)} does not fit the register`, name);
  }
}

function checkCpu(plan: BootPlan): void {
  const { cpu } = plan;
  checkMode(cpu);
  // With paging, the entry and the GDT are linear addresses that only the plan's own tables translate.
  const identity = cpu.cr3 === 0n || cpu.cs.base === 0n;
  const virtual = plan.protocol === 'xen-pv';
  const entry = cpu.cs.base + cpu.rip;
  if (identity && !virtual && regionAt(plan, entry, 1n)?.bytes === undefined) {
    refuse('does-not-fit', `the entry point ${hex(entry)} lies in no region that holds code`, 'rip');
  }
  if (cpu.mode === 'real' && entry >= REAL_MODE_LIMIT) {
    refuse('does-not-fit', `real mode does not reach the entry point ${hex(entry)}`, 'rip');
  }
  if (cpu.gdt !== null && !virtual && regionAt(plan, cpu.gdt.base, BigInt(cpu.gdt.limit) + 1n) === undefined) {
    refuse('does-not-fit', `the GDT at ${hex(cpu.gdt.base)} lies in no region`, 'gdt');
  }
  if (cpu.cr3 !== 0n && regionAt(plan, cpu.cr3, 0x1000n) === undefined) {
    refuse('does-not-fit', `the top page table at ${hex(cpu.cr3)} lies in no region`, 'cr3');
  }
}

/**
 * Regions ascend, are disjoint, lie in RAM, and keep off 0xA0000-0xFFFFF (and, for a 32-bit kernel, off everything
 * above 4 GiB); the CPU's mode is consistent with its control registers; entry point, GDT and top page table lie in
 * regions.
 * @returns the plan itself.
 * @throws BootImageError `does-not-fit`, `overlap`, `bad-field`; `bad-argument` for a malformed memory map.
 */
export function checkPlan(plan: BootPlan): BootPlan {
  checkRegions(plan);
  checkCpu(plan);
  return plan;
}

/** Regions in address order: planners list them as they make them. */
export function inAddressOrder(regions: readonly Region[]): Region[] {
  return [...regions].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
}
