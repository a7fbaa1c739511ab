/** The CPU states of the entry points that the boot protocols define. Interrupts are off in each (rflags holds the fixed bit 1 only). */
import { FLAT_CODE_32, FLAT_CODE_64, FLAT_DATA, realModeSegment } from './gdt.js';
import type { CpuState, DescriptorTable, GeneralRegisters } from './plan.js';

const RFLAGS_FIXED = 0x2n;
const CR0_PE = 0x1n;
const CR0_ET = 0x10n;
const CR0_PG = 0x8000_0000n;
const CR4_PAE = 0x20n;
const EFER_LME = 0x100n;
const EFER_LMA = 0x400n;

/** boot.rst, "Running the Kernel": cs:ip = segment + 0x20 : 0, all data segments = segment. */
export function realModeState(segment: number, sp: number): CpuState {
  return {
    mode: 'real',
    registers: { rsp: BigInt(sp) },
    rip: 0n,
    rflags: RFLAGS_FIXED,
    cs: realModeSegment(segment + 0x20, 'code'),
    data: realModeSegment(segment, 'data'),
    cr0: CR0_ET,
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
    gdt: null,
  };
}

/** boot.rst, "32-bit Boot Protocol", and the PVH entry: flat segments, paging off. */
export function protectedModeState(entry: bigint, gdt: DescriptorTable, registers: GeneralRegisters): CpuState {
  return {
    mode: 'protected',
    registers,
    rip: entry,
    rflags: RFLAGS_FIXED,
    cs: FLAT_CODE_32,
    data: FLAT_DATA,
    cr0: CR0_PE | CR0_ET,
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
    gdt,
  };
}

/** boot.rst, "64-bit Boot Protocol": long mode, identity-mapped by the tables at `cr3`. */
export function longModeState(entry: bigint, gdt: DescriptorTable, cr3: bigint, registers: GeneralRegisters): CpuState {
  return {
    mode: 'long',
    registers,
    rip: entry,
    rflags: RFLAGS_FIXED,
    cs: FLAT_CODE_64,
    data: FLAT_DATA,
    cr0: CR0_PE | CR0_ET | CR0_PG,
    cr3,
    cr4: CR4_PAE,
    efer: EFER_LME | EFER_LMA,
    gdt,
  };
}
