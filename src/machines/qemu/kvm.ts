/** Whether KVM really executes code: the device may exist, open, and yet never get a guest anywhere. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { PROGRAM, withProgram } from './bare-program.js';
import type { QemuSession } from './session.js';

const DEVICE = '/dev/kvm';
/** A working KVM needs about a tenth of this. */
const PATIENCE_MS = 1500;

/** mov $0x1000, %ecx; loop: in $0x80, %al; dec %ecx; jnz loop; hlt: memory, ports and time, in long mode. */
const CODE = Uint8Array.of(0xb9, 0x00, 0x10, 0x00, 0x00, 0xe4, 0x80, 0xff, 0xc9, 0x75, 0xfa, 0xf4);
const LAST_INSTRUCTION = PROGRAM + BigInt(CODE.length - 1);

/** Runs the program; resolves when the guest has come to its end. */
async function runThrough({ gdb }: QemuSession): Promise<void> {
  await gdb.setBreakpoint(LAST_INSTRUCTION);
  await gdb.resume();
  if ((await gdb.readRegister('rip')) !== LAST_INSTRUCTION) throw new Error('it stopped elsewhere');
}

async function measure(binary: string): Promise<string | null> {
  if (!existsSync(DEVICE)) return '';
  try {
    accessSync(DEVICE, constants.R_OK | constants.W_OK);
  } catch {
    return 'this user may not use it';
  }
  if (!/^flags\s*:.*\b(?:vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'))) {
    return 'this processor has no virtualization extensions';
  }
  try {
    await withProgram(binary, 'kvm', CODE, PATIENCE_MS, runThrough);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const verdicts = new Map<string, Promise<string | null>>();

/** Why KVM is no use, as the end of a sentence; empty if there is no KVM at all; null if it works. Measured once. */
export function kvmTrouble(binary: string): Promise<string | null> {
  const known = verdicts.get(binary) ?? measure(binary);
  verdicts.set(binary, known);
  return known;
}
