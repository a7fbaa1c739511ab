/** Puts a plan into an emulated PC: guest memory and the CPU's state. */
import { BootImageError } from '../../bytes/error.js';
import { hex } from '../../bytes/numbers.js';
import type { BootPlan, CpuState, GeneralRegisters, Region } from '../../boot/plan.js';
import type { V86Cpu } from './internals.js';

/** The order of v86's general registers, which is that of the instruction encoding. */
const REGISTERS = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
] as const satisfies (keyof GeneralRegisters)[];
const CS = 1;
const SEGMENTS = 6;
const CR0_PG = 0x8000_0000n;
/** The D/B bit in `SegmentState.access`. */
const SEGMENT_32 = 0x4000;
const DPL_SHIFT = 5;

/** @throws BootImageError `unsupported` for what a 32-bit CPU without paging at its entry cannot be told. */
export function requireSupported(plan: BootPlan): void {
  if (plan.bits === 64 || plan.cpu.mode === 'long') {
    throw new BootImageError('unsupported', 'v86 emulates a 32-bit CPU and this start needs a 64-bit one', {
      hint: 'use --machine qemu',
    });
  }
  if (plan.protocol === 'xen-pv' || (plan.cpu.cr0 & CR0_PG) !== 0n) {
    throw new BootImageError('unsupported', `v86 cannot start a kernel by ${plan.protocol} with paging on`, {
      hint: 'use another --protocol',
    });
  }
}

function placeRegion(cpu: V86Cpu, region: Region): void {
  const start = region.address;
  const end = start + BigInt(region.size);
  if (end > BigInt(cpu.mem8.length)) {
    throw new BootImageError('does-not-fit', `${region.label} at ${hex(start)} ends beyond the guest's memory`, {
      hint: 'give the guest more --memory',
    });
  }
  const address = Number(start);
  const bytes = region.bytes ?? new Uint8Array(0);
  cpu.write_blob(bytes, address);
  if (region.size > bytes.length) {
    cpu.jit_dirty_cache(address + bytes.length, address + region.size);
    cpu.mem8.fill(0, address + bytes.length, address + region.size);
  }
}

/** @throws BootImageError `does-not-fit` */
export function placeRegions(cpu: V86Cpu, regions: readonly Region[]): void {
  for (const region of regions) placeRegion(cpu, region);
}

/** Sets what the plan names; everything else stays as it is (as after reset, or as the BIOS left it). */
export function setCpuState(cpu: V86Cpu, state: CpuState): void {
  if (state.gdt !== null) {
    cpu.gdtr_offset[0] = Number(state.gdt.base);
    cpu.gdtr_size[0] = state.gdt.limit;
  }
  cpu.cr[0] = Number(BigInt.asIntN(32, state.cr0));
  cpu.cr[3] = Number(BigInt.asIntN(32, state.cr3));
  cpu.cr[4] = Number(BigInt.asIntN(32, state.cr4));
  cpu.protected_mode[0] = state.mode === 'real' ? 0 : 1;
  for (let index = 0; index < SEGMENTS; index++) {
    const segment = index === CS ? state.cs : state.data;
    cpu.sreg[index] = segment.selector;
    cpu.segment_is_null[index] = 0;
    cpu.segment_offsets[index] = Number(BigInt.asIntN(32, segment.base));
    cpu.segment_limits[index] = segment.limit;
    cpu.segment_access_bytes[index] = segment.access & 0xff;
  }
  cpu.is_32[0] = (state.cs.access & SEGMENT_32) === 0 ? 0 : 1;
  cpu.stack_size_32[0] = (state.data.access & SEGMENT_32) === 0 ? 0 : 1;
  cpu.cpl[0] = state.mode === 'real' ? 0 : (state.cs.access >> DPL_SHIFT) & 3;
  REGISTERS.forEach((name, index) => {
    cpu.reg32[index] = Number(BigInt.asIntN(32, state.registers[name] ?? 0n));
  });
  cpu.flags[0] = Number(BigInt.asIntN(32, state.rflags));
  cpu.flags_changed[0] = 0;
  cpu.instruction_pointer[0] = Number(BigInt.asIntN(32, state.cs.base + state.rip));
  cpu.in_hlt[0] = 0;
  cpu.full_clear_tlb();
  cpu.update_state_flags();
}
