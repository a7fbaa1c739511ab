/** Brings QEMU's first CPU into a plan's state while it stands still. */
import type { CpuState, GeneralRegisters } from '../../boot/plan.js';
import type { GdbStub } from './gdb-stub.js';
import type { GuestRam } from './guest-ram.js';

const GENERAL = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'] as const satisfies (keyof GeneralRegisters)[];
const DATA_SEGMENTS = ['ds', 'es', 'ss', 'fs', 'gs'] as const;

const CR0_ET = 0x10n;
const CR0_PG = 0x8000_0000n;
const RFLAGS_FIXED = 0x2n;

/** Behind the BIOS data area: RAM on every machine; what is there comes back afterwards. */
const SCRATCH = 0x500n;
/** Offset of lgdt's operand in the scratch code. */
const GDT_POINTER = 0x30;
/**
 * What the gdb stub cannot set is set by the CPU itself, an instruction at a time, in a 16-bit code segment: first
 * GDTR, then, once its data segments are flat, the local APIC's "virtual wire mode" (Intel MultiProcessor
 * Specification 1.4, 3.6.2.2), without which a kernel that uses no APIC never sees the timer's interrupt.
 */
const LOAD_GDTR = [0x66, 0x0f, 0x01, 0x16, GDT_POINTER, 0x00]; // lgdtl GDT_POINTER
const WIRE_APIC = [
  [0x67, 0x66, 0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00], // movl $0x1ff, 0xfee000f0: enabled
  [0x67, 0x66, 0xc7, 0x05, 0x50, 0x03, 0xe0, 0xfe, 0x00, 0x07, 0x00, 0x00], // movl $0x700, 0xfee00350: LINT0 is ExtINT
  [0x67, 0x66, 0xc7, 0x05, 0x60, 0x03, 0xe0, 0xfe, 0x00, 0x04, 0x00, 0x00], // movl $0x400, 0xfee00360: LINT1 is NMI
];
const SCRATCH_SIZE = 0x40;

/** Loads a selector; the stub does so only when it differs from the present one. */
async function loadSegment(gdb: GdbStub, name: string, selector: number): Promise<void> {
  if ((await gdb.readRegister(name)) === BigInt(selector)) await gdb.writeRegister(name, BigInt(selector ^ 8));
  await gdb.writeRegister(name, BigInt(selector));
}

function scratchCode(base: bigint, limit: number): Uint8Array {
  const code = new Uint8Array(SCRATCH_SIZE);
  code.set([...LOAD_GDTR, ...WIRE_APIC.flat()]);
  const view = new DataView(code.buffer);
  view.setUint16(GDT_POINTER, limit, true);
  view.setUint32(GDT_POINTER + 2, Number(base), true);
  return code;
}

/**
 * Sets everything that the plan names. The CPU must be stopped, with paging off, and the plan's regions in place:
 * the CPU reads its descriptor table from there.
 * @param wireApic set up the local APIC as firmware leaves it, where no firmware has run.
 */
export async function setCpuState(gdb: GdbStub, ram: GuestRam, state: CpuState, wireApic: boolean): Promise<void> {
  await gdb.writeRegister('eflags', RFLAGS_FIXED);
  await gdb.writeRegister('cr0', CR0_ET);
  const saved = ram.read(SCRATCH, SCRATCH_SIZE);
  if (state.gdt !== null) {
    await gdb.writeMemory(SCRATCH, scratchCode(state.gdt.base, state.gdt.limit));
    await loadSegment(gdb, 'cs', Number(SCRATCH >> 4n));
    await loadSegment(gdb, 'ds', Number(SCRATCH >> 4n));
    await gdb.writeRegister('rip', 0n);
    await gdb.step();
  }
  await gdb.writeRegister('cr0', state.cr0 & ~CR0_PG);
  for (const name of DATA_SEGMENTS) await loadSegment(gdb, name, state.data.selector);
  if (state.gdt !== null) {
    if (wireApic) await gdb.step(WIRE_APIC.length);
    await gdb.writeMemory(SCRATCH, saved);
  }
  await gdb.writeRegister('cr4', state.cr4);
  await gdb.writeRegister('cr3', state.cr3);
  if (gdb.hasRegister('efer')) await gdb.writeRegister('efer', state.efer);
  if ((state.cr0 & CR0_PG) !== 0n) await gdb.writeRegister('cr0', state.cr0);
  await loadSegment(gdb, 'cs', state.cs.selector);
  for (const name of GENERAL) await gdb.writeRegister(name, state.registers[name] ?? 0n);
  await gdb.writeRegister('rip', state.rip);
  await gdb.writeRegister('eflags', state.rflags);
}
