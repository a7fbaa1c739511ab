/** Small guest programs, assembled by hand, and plans that start them: what a machine does is then seen exactly. */
import { latin1Bytes } from '../../../src/bytes/byte-view.js';
import type { BootPlan, CpuState, Region } from '../../../src/boot/plan.js';
import { pcMemoryMap } from '../../../src/boot/memory-map.js';

export const CODE = 0x10000;
const HLT_FOREVER = [0xfa, 0xf4, 0xeb, 0xfd]; // cli; 1: hlt; jmp 1b

export const le32 = (value: number): number[] => [
  value & 0xff,
  (value >>> 8) & 0xff,
  (value >>> 16) & 0xff,
  value >>> 24,
];

/** Prints text on serial port 0, in 32-bit code (in 16-bit code with `real`), then halts for good. */
export function printAndHalt(text: string, real = false): Uint8Array {
  const port = [...(real ? [] : [0x66]), 0xba, 0xf8, 0x03]; // mov $0x3f8, %dx
  const letters = Array.from(latin1Bytes(text)).flatMap((letter) => [0xb0, letter, 0xee]); // mov $letter, %al; out %al, %dx
  return Uint8Array.of(...port, ...letters, ...HLT_FOREVER);
}

/** 32-bit code that sends `length` bytes of memory at `address` through serial port 0, then halts for good. */
export function sendMemory(address: number, length: number): Uint8Array {
  return Uint8Array.of(
    ...[0x66, 0xba, 0xf8, 0x03, 0xfc], // mov $0x3f8, %dx; cld
    ...[0xbe, ...le32(address), 0xb9, ...le32(length)], // mov $address, %esi; mov $length, %ecx
    ...[0xf3, 0x6e], // rep outsb
    ...HLT_FOREVER,
  );
}

/** 32-bit code that sends the state it was entered with: GDTR (8), CR0, GS, FS, SS, ES, DS, CS, EFLAGS, EDI..EAX (4 each). */
export const SEND_STATE = Uint8Array.of(
  ...[0x60, 0x9c], // pusha; pushf
  ...[0x0e, 0x1e, 0x06, 0x16, 0x0f, 0xa0, 0x0f, 0xa8], // push %cs, %ds, %es, %ss, %fs, %gs
  ...[0x0f, 0x20, 0xc0, 0x50], // mov %cr0, %eax; push %eax
  ...[0x83, 0xec, 0x08, 0x0f, 0x01, 0x04, 0x24], // sub $8, %esp; sgdt (%esp)
  ...[0x89, 0xe6, 0x66, 0xba, 0xf8, 0x03, 0xfc], // mov %esp, %esi; mov $0x3f8, %dx; cld
  ...[0xb9, ...le32(76), 0xf3, 0x6e], // mov $76, %ecx; rep outsb
  ...HLT_FOREVER,
);

/** 32-bit code that echoes four bytes from serial port 0, then halts for good. */
export const ECHO_FOUR = Uint8Array.of(
  ...[0xb9, ...le32(4)], // mov $4, %ecx
  ...[0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7], // 1: mov $0x3fd, %dx; in %dx, %al; test $1, %al; jz 1b
  ...[0x66, 0xba, 0xf8, 0x03, 0xec, 0xee], // mov $0x3f8, %dx; in %dx, %al; out %al, %dx
  ...[0xe2, 0xef], // loop 1b
  ...HLT_FOREVER,
);

/** 32-bit code: reset by the keyboard controller. */
export const RESET = Uint8Array.of(0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe);
/** 32-bit code: an exception that has no handler. */
export const TRIPLE_FAULT = Uint8Array.of(0x0f, 0x0b);
export const LOOP_FOREVER = Uint8Array.of(0xeb, 0xfe);

const FLAT = { base: 0n, limit: 0xffffffff };
export const PROTECTED: CpuState = {
  mode: 'protected',
  registers: {},
  rip: BigInt(CODE),
  rflags: 2n,
  cs: { ...FLAT, selector: 0x10, access: 0xc09b },
  data: { ...FLAT, selector: 0x18, access: 0xc093 },
  cr0: 0x11n,
  cr3: 0n,
  cr4: 0n,
  efer: 0n,
  gdt: null,
};

export const REAL: CpuState = {
  ...PROTECTED,
  mode: 'real',
  rip: 0x10n,
  cs: { selector: 0x0fff, base: 0xfff0n, limit: 0xffff, access: 0x9b },
  data: { selector: 0x1000, base: 0x10000n, limit: 0xffff, access: 0x93 },
  registers: { rsp: 0xfff0n },
  cr0: 0x10n,
};

export function region(address: number, bytes: Uint8Array, size = bytes.length): Region {
  return { address: BigInt(address), size, bytes, purpose: 'kernel', label: 'program' };
}

export function planFor(code: Uint8Array, changes: Partial<BootPlan> = {}): BootPlan {
  return {
    stage: 'kernel',
    protocol: 'linux32',
    bits: 32,
    memory: pcMemoryMap(16n << 20n),
    regions: [region(CODE, code)],
    cpu: PROTECTED,
    firmware: 'none',
    hook: null,
    facts: { remarks: [] },
    ...changes,
  };
}
