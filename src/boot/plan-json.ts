/** A plan as a JSON document: addresses and 64-bit values as lower-case hex strings, sizes and counts as numbers. */
import { hex } from '../bytes/numbers.js';
import type { BootPlan, CpuState, PlanFacts, SegmentState } from './plan.js';

const optionalHex = (value: bigint | undefined): string | null => (value === undefined ? null : hex(value));

function segmentToJson({ selector, base, limit, access }: SegmentState) {
  return { selector: hex(selector), base: hex(base), limit: hex(limit), access: hex(access) };
}

/** The CPU state with registers under the names that the mode gives them. */
function cpuToJson(cpu: CpuState) {
  const registers = Object.entries(cpu.registers) as [string, bigint][];
  return {
    mode: cpu.mode,
    registers: Object.fromEntries(registers.map(([name, value]) => [name, hex(value)])),
    rip: hex(cpu.rip),
    rflags: hex(cpu.rflags),
    cs: segmentToJson(cpu.cs),
    data: segmentToJson(cpu.data),
    cr0: hex(cpu.cr0),
    cr3: hex(cpu.cr3),
    cr4: hex(cpu.cr4),
    efer: hex(cpu.efer),
    gdt: cpu.gdt === null ? null : { base: hex(cpu.gdt.base), limit: cpu.gdt.limit },
  };
}

function factsToJson(facts: PlanFacts) {
  return {
    kernel_base: optionalHex(facts.kernelBase),
    physical_delta: optionalHex(facts.physicalDelta),
    virtual_delta: optionalHex(facts.virtualDelta),
    kaslr: facts.kaslr === undefined ? null : { seed: facts.kaslr.seed },
    boot_params: optionalHex(facts.bootParams),
    command_line:
      facts.commandLine === undefined
        ? null
        : { address: hex(facts.commandLine.address), text: facts.commandLine.text },
    initrd: facts.initrd === undefined ? null : { address: hex(facts.initrd.address), size: facts.initrd.size },
    start_info: optionalHex(facts.startInfo),
    arrangement:
      facts.arrangement?.map(({ label, start, end }) => ({ label, start: hex(start), end: hex(end) })) ?? null,
    remarks: [...facts.remarks],
  };
}

/**
 * The document that `bzelf plan --json` prints. `regions[].bytes` counts the bytes that the plan brings; up to `size`
 * the rest is zero. Its `memory` can be read again by `parseMemoryMap`.
 */
export function planToJson(plan: BootPlan) {
  return {
    stage: plan.stage,
    protocol: plan.protocol,
    bits: plan.bits,
    firmware: plan.firmware,
    memory: plan.memory.map(({ address, size, type }) => ({ address: hex(address), size: Number(size), type })),
    regions: plan.regions.map(({ address, size, bytes, purpose, label }) => ({
      address: hex(address),
      size,
      bytes: bytes?.length ?? 0,
      purpose,
      label,
    })),
    cpu: cpuToJson(plan.cpu),
    hook: plan.hook === null ? null : { address: hex(plan.hook.address), port: hex(plan.hook.port) },
    facts: factsToJson(plan.facts),
  };
}

export type PlanDocument = ReturnType<typeof planToJson>;
