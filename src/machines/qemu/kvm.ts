/** Whether KVM really executes code: the device may exist, open, and yet never get a guest anywhere. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { longModeState } from '../../boot/cpu.js';
import { buildGdt, FLAT_CODE_64, FLAT_DATA } from '../../boot/gdt.js';
import { buildIdentityMap } from '../../boot/page-tables.js';
import type { Region } from '../../boot/plan.js';
import { setCpuState } from './cpu-state.js';
import { QemuSession } from './session.js';

const DEVICE = '/dev/kvm';
const MIB = 1n << 20n;
/** A working KVM needs about a tenth of this, QEMU's start included. */
const PATIENCE_MS = 1500;

const GDT = 0x1000n;
const TABLES = 0x2000n;
const CODE = 0x10000n;
/** mov $0x1000, %ecx; loop: in $0x80, %al; dec %ecx; jnz loop; hlt: memory, ports and time, in long mode. */
const PROGRAM = Uint8Array.of(0xb9, 0x00, 0x10, 0x00, 0x00, 0xe4, 0x80, 0xff, 0xc9, 0x75, 0xfa, 0xf4);
const LAST_INSTRUCTION = CODE + BigInt(PROGRAM.length - 1);

function region(address: bigint, bytes: Uint8Array): Region {
  return { address, size: bytes.length, bytes, purpose: 'trampoline', label: 'probe' };
}

/** Runs the program; resolves when the guest has come to its end. */
async function probe(session: QemuSession): Promise<void> {
  const gdt = buildGdt(FLAT_CODE_64, FLAT_DATA);
  session.ram.place([region(GDT, gdt), region(TABLES, buildIdentityMap(TABLES, [])), region(CODE, PROGRAM)], true);
  const state = longModeState(CODE, { base: GDT, limit: gdt.length - 1 }, TABLES, {});
  await setCpuState(session.gdb, session.ram, state, true);
  await session.gdb.setBreakpoint(LAST_INSTRUCTION);
  await session.gdb.resume();
  if ((await session.gdb.readRegister('rip')) !== LAST_INSTRUCTION) throw new Error('it stopped elsewhere');
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
    const session = await QemuSession.start({
      ...{
        binary,
        type: 'q35',
        accel: 'kvm',
        smp: 1,
        bios: false,
        extraArgs: [],
        needed: 0,
        onConsole: () => undefined,
      },
      layout: { low: 64n * MIB, high: 0n, spare: { address: 0n, size: 0n } },
    });
    try {
      await session.guarded(() => probe(session), PATIENCE_MS);
    } finally {
      await session.stop();
    }
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
