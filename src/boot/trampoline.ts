/**
 * A piece of code that brings a CPU from any 32-bit flat protected mode (paging off) into a planned state: for
 * machines that can place memory and an instruction pointer, but not descriptor tables or control registers.
 *
 * Written by hand because it is 12 instructions whose operands are the plan's own numbers.
 */
import { BootImageError } from '../bytes/error.js';
import { FLAT_CODE_32, FLAT_DATA, buildGdt } from './gdt.js';
import type { CpuState, GeneralRegisters } from './plan.js';

/** Order of the 32-bit `mov reg, imm32` opcodes 0xb8+n and their 64-bit forms with REX.W. */
const REGISTER_ORDER = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
] as const satisfies (keyof GeneralRegisters)[];

const MSR_EFER = 0xc0000080;
const EFER_LMA = 0x400n;
/** ljmp ptr16:32 is 7 bytes. */
const FAR_JUMP_LENGTH = 7;

function le32(value: number | bigint): number[] {
  const word = Number(BigInt.asUintN(32, BigInt(value)));
  return [word & 0xff, (word >>> 8) & 0xff, (word >>> 16) & 0xff, word >>> 24];
}

function le64(value: bigint): number[] {
  return [...le32(value), ...le32(value >> 32n)];
}

/** mov reg, imm for every general register; 64-bit immediates in long mode. */
function loadRegisters(registers: GeneralRegisters, long: boolean): number[] {
  return REGISTER_ORDER.flatMap((name, number) => {
    const value = registers[name] ?? 0n;
    return long ? [0x48, 0xb8 + number, ...le64(value)] : [0xb8 + number, ...le32(value)];
  });
}

/** mov crN, eax with the value in eax. */
function loadControl(number: number, value: bigint): number[] {
  return [0xb8, ...le32(value), 0x0f, 0x22, 0xc0 | (number << 3)];
}

/**
 * The trampoline's bytes, to be placed at `address` and entered at its first byte with interrupts off. It brings its
 * own GDT with the state's segments, so `cpu.gdt` need not exist.
 * @param address guest physical, 8-byte aligned, below 4 GiB.
 * @throws BootImageError `unsupported` for a real-mode state or one whose segments are not those of boot.rst.
 */
export function buildTrampoline(address: bigint, cpu: CpuState): Uint8Array {
  if (cpu.mode === 'real' || cpu.cs.selector !== FLAT_CODE_32.selector || cpu.data.selector !== FLAT_DATA.selector) {
    throw new BootImageError('unsupported', `a trampoline does not lead to ${cpu.mode} mode with these segments`);
  }
  const long = cpu.mode === 'long';
  const gdt = buildGdt(cpu.cs, cpu.data);
  // GDT first, then its pseudo-descriptor; the code jumps over both.
  const gdtOffset = 8;
  const pointerOffset = gdtOffset + gdt.length;
  const codeOffset = pointerOffset + 8;
  const base = Number(address);
  const data = cpu.data.selector;
  const before = [
    0xfa, // cli
    0xfc, // cld
    0x0f, 0x01, 0x15, ...le32(base + pointerOffset), // lgdt [pointer]
    ...loadControl(4, cpu.cr4),
    ...loadControl(3, cpu.cr3),
    ...(long
      ? [0xb9, ...le32(MSR_EFER), 0xb8, ...le32(cpu.efer & ~EFER_LMA), 0x31, 0xd2, 0x0f, 0x30] // wrmsr, edx = 0
      : []),
    ...loadControl(0, cpu.cr0),
  ]; // prettier-ignore
  const landing = base + codeOffset + before.length + FAR_JUMP_LENGTH;
  const after = [
    0xb8,
    ...le32(data), // mov eax, selector
    0x8e,
    0xd8, // mov ds, eax
    0x8e,
    0xc0, // mov es, eax
    0x8e,
    0xd0, // mov ss, eax
    0x8e,
    0xe0, // mov fs, eax
    0x8e,
    0xe8, // mov gs, eax
  ];
  const jump = landing + after.length;
  const registers = loadRegisters(cpu.registers, long);
  // The jump goes through memory: every register already holds what the state asks for.
  const target = jump + registers.length + 6;
  const leave = long
    ? [0xff, 0x25, 0, 0, 0, 0, ...le64(cpu.rip)] // jmp [rip + 0]
    : [0xff, 0x25, ...le32(target), ...le32(cpu.rip)]; // jmp [target]
  const code = [
    ...before,
    0xea,
    ...le32(landing),
    cpu.cs.selector & 0xff,
    cpu.cs.selector >>> 8,
    ...after,
    ...registers,
    ...leave,
  ];
  const bytes = new Uint8Array(codeOffset + code.length);
  bytes.set([0xeb, codeOffset - 2]); // jmp code
  bytes.set(gdt, gdtOffset);
  bytes.set([(gdt.length - 1) & 0xff, (gdt.length - 1) >>> 8, ...le32(base + gdtOffset)], pointerOffset);
  bytes.set(code, codeOffset);
  return bytes;
}
