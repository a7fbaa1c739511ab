import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { BootPlan } from '../../../src/boot/plan.js';
import { pcMemoryMap } from '../../../src/boot/memory-map.js';
import { latin1 } from '../../../src/bytes/byte-view.js';
import type { StartOptions } from '../../../src/machines/machine.js';
import { createNodeV86Machine } from '../../../src/machines/v86/node.js';
import {
  CODE,
  ECHO_FOUR,
  le32,
  LOOP_FOREVER,
  planFor,
  printAndHalt,
  PROTECTED,
  REAL,
  region,
  RESET,
  SEND_STATE,
  sendMemory,
  TRIPLE_FAULT,
} from './programs.js';

const machine = createNodeV86Machine();
const hasBios = existsSync('/usr/share/seabios/bios.bin');

async function start(plan: BootPlan, options: Partial<StartOptions> = {}) {
  const output: number[] = [];
  const started = await machine.start(plan, { ...options, onConsole: (bytes) => output.push(...bytes) });
  return { ...started, output };
}

async function run(plan: BootPlan, options: Partial<StartOptions> = {}) {
  const { guest, output, timing } = await start(plan, options);
  return {
    exit: await guest.exited,
    bytes: Uint8Array.from(output),
    text: latin1(Uint8Array.from(output)),
    guest,
    timing,
  };
}

describe('a plan in v86', () => {
  it('enters the CPU in the planned state', async () => {
    const gdt = { base: 0x2000n, limit: 0x1f };
    const descriptors = [0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300].flatMap(le32);
    const plan = planFor(SEND_STATE, {
      regions: [region(0x2008, Uint8Array.from(descriptors)), region(CODE, SEND_STATE)],
      cpu: {
        ...PROTECTED,
        gdt,
        registers: {
          rax: 0xa1n,
          rbx: 0xffffffffn,
          rcx: 0x80000000n,
          rdx: 0xd4n,
          rsp: 0x8000n,
          rbp: 0xb6n,
          rsi: 0x90000n,
          rdi: 0xd8n,
        },
      },
    });
    const { bytes, exit } = await run(plan);
    const view = new DataView(bytes.buffer);
    const words = Array.from({ length: 17 }, (_, index) => view.getUint32(8 + 4 * index, true));
    expect([view.getUint16(0, true), view.getUint32(2, true)]).toEqual([0x1f, 0x2000]);
    expect(words.slice(0, 7).map((word) => word & 0xffff)).toEqual([0x11, 0x18, 0x18, 0x18, 0x18, 0x18, 0x10]);
    expect(words[7]).toBe(2);
    // pusha: EDI, ESI, EBP, ESP, EBX, EDX, ECX, EAX
    expect(words.slice(8, 16)).toEqual([0xd8, 0x90000, 0xb6, 0x8000, 0xffffffff, 0xd4, 0x80000000, 0xa1]);
    expect(exit).toEqual({ end: 'halted', reason: 'the guest halted its CPU with interrupts off' });
  });

  it('takes the segment bases from the plan, not from memory', async () => {
    const code = printAndHalt('based');
    const cs = { ...PROTECTED.cs, base: 0x8000n };
    const { text } = await run(planFor(code, { cpu: { ...PROTECTED, cs, rip: BigInt(CODE - 0x8000) } }));
    expect(text).toBe('based');
  });

  it('has as much memory as the plan says, and clears what a region does not fill', async () => {
    const last = (16 << 20) - 8;
    const plan = planFor(sendMemory(last, 8));
    const { bytes, timing, guest } = await run({
      ...plan,
      regions: [...plan.regions, region(last, Uint8Array.of(1, 2, 3), 8)],
    });
    expect([...bytes]).toEqual([1, 2, 3, 0, 0, 0, 0, 0]);
    expect(timing.place).toBeGreaterThan(0);
    expect(guest.instructions?.()).toBeGreaterThan(4);
    await expect(start(planFor(LOOP_FOREVER, { regions: [region(last, new Uint8Array(9))] }))).rejects.toMatchObject({
      code: 'does-not-fit',
    });
  });

  it('passes bytes to the guest', async () => {
    const { guest, output } = await start(planFor(ECHO_FOUR));
    guest.write(Uint8Array.of(0, 0x7f));
    guest.write(Uint8Array.of(0x80, 0xff));
    await guest.exited;
    expect(output).toEqual([0, 0x7f, 0x80, 0xff]);
  });

  it.each([
    ['a halted CPU', printAndHalt('x'), 'halted', 'the guest halted its CPU with interrupts off'],
    ['a reset', RESET, 'powered-off', 'the guest reset the machine'],
    ['a triple fault', TRIPLE_FAULT, 'halted', 'triple fault'],
    [
      'a kernel without a power switch',
      printAndHalt('\r\n[    1.795489] reboot: System halted\r\n'),
      'powered-off',
      '',
    ],
    ['an old kernel', printAndHalt('\nPower down.\n'), 'powered-off', ''],
    ['a kernel behind a prompt', printAndHalt('# [ 4.9] reboot: System halted\n'), 'powered-off', ''],
    [
      'a kernel that mentions it only',
      printAndHalt('echo "System halted"\n'),
      'halted',
      'the guest halted its CPU with interrupts off',
    ],
    [
      'a panic',
      printAndHalt('[ 0.1] Kernel panic - not syncing: No init\n'),
      'halted',
      'Kernel panic - not syncing: No init',
    ],
    [
      'a kernel that panics after halting',
      Uint8Array.of(
        ...printAndHalt('System halted.\nKernel panic - not syncing: Attempted to kill init!\n').subarray(0, -4),
        ...LOOP_FOREVER,
      ),
      'powered-off',
      '',
    ],
  ])('tells how the guest ended: %s', async (_name, code, end, reason) => {
    expect((await run(planFor(code), { onNote: () => undefined })).exit).toEqual({ end, reason });
  });

  it('stops a guest that never ends, once and for all', async () => {
    const abort = new AbortController();
    const { guest } = await start(planFor(LOOP_FOREVER), { signal: abort.signal });
    abort.abort();
    expect(await guest.exited).toEqual({ end: 'stopped', reason: '' });
    await guest.stop();
    guest.write(Uint8Array.of(1));
    const counted = guest.instructions?.();
    expect(guest.instructions?.()).toBe(counted);
    await expect(start(planFor(LOOP_FOREVER), { signal: abort.signal })).rejects.toMatchObject({ code: 'aborted' });
  });

  it('runs several guests at a time', async () => {
    const texts = await Promise.all(
      ['one', 'two', 'three'].map(async (text) => (await run(planFor(printAndHalt(text)))).text),
    );
    expect(texts).toEqual(['one', 'two', 'three']);
  });

  it('refuses what a 32-bit CPU cannot do, with the way out', async () => {
    await expect(start(planFor(LOOP_FOREVER, { bits: 64 }))).rejects.toMatchObject({
      code: 'unsupported',
      hint: 'use --machine qemu',
    });
    await expect(start(planFor(LOOP_FOREVER, { cpu: { ...PROTECTED, mode: 'long' } }))).rejects.toMatchObject({
      code: 'unsupported',
    });
    await expect(start(planFor(LOOP_FOREVER, { cpu: { ...PROTECTED, cr0: 0x80000011n } }))).rejects.toMatchObject({
      code: 'unsupported',
    });
    await expect(start(planFor(LOOP_FOREVER, { memory: pcMemoryMap(3n << 30n) }))).rejects.toMatchObject({
      code: 'does-not-fit',
      field: 'memory',
    });
  });
});

describe('a plan with firmware', () => {
  it('says what to install where there is no BIOS', async () => {
    const missing = createNodeV86Machine({ bios: '/nonexistent/bios.bin' });
    await expect(
      missing.start(planFor(LOOP_FOREVER, { firmware: 'bios', cpu: REAL }), { onConsole: () => undefined }),
    ).rejects.toMatchObject({ code: 'tool-missing', hint: expect.stringContaining('seabios') as string });
  });

  describe.runIf(hasBios)('with SeaBIOS', () => {
    const bios = (code: Uint8Array, changes: Partial<BootPlan> = {}): BootPlan =>
      planFor(code, { firmware: 'bios', protocol: 'linux16', stage: 'setup', cpu: REAL, ...changes });

    it('starts in real mode with the interrupt services at hand', async () => {
      // int $0x12 (conventional memory in KiB), sent low byte first; then "!" by int $0x10 on the screen
      const code = Uint8Array.of(
        ...[0xcd, 0x12, 0xba, 0xf8, 0x03, 0xee, 0x88, 0xe0, 0xee],
        ...[0xb8, 0x21, 0x0e, 0x31, 0xdb, 0xcd, 0x10, 0xfa, 0xf4],
      );
      const { bytes, guest } = await run(bios(code));
      expect(new DataView(bytes.buffer).getUint16(0, true)).toBe(639);
      expect(guest.screen?.().join('\n')).toContain('SeaBIOS');
      expect(guest.screen?.().some((line) => line.startsWith('!') || line.endsWith('!'))).toBe(true);
    });

    it('hands over at the hook and resumes with the new plan', async () => {
      const port = 0x5b30;
      const zeroed = 0x30000;
      const code = Uint8Array.of(
        ...[0xb8, zeroed >> 4, zeroed >> 12, 0x8e, 0xc0, 0x26, 0xc6, 0x06, 0, 0, 0x77], // movb $0x77, 0x3000:0
        ...[0x66, 0xb8, ...le32(0x87654320), 0xba, port & 0xff, port >> 8, 0x66, 0xef], // outl %eax, %dx
        ...printAndHalt('not reached', true),
      );
      const seen: string[] = [];
      const { text, exit } = await run(bios(code, { stage: 'hook', hook: { address: BigInt(CODE), port } }), {
        onHook: async (bootParams, read) => {
          seen.push(bootParams.toString(16), (await read(BigInt(zeroed), 2)).join());
          await expect(read(16n << 20n, 1)).rejects.toMatchObject({ code: 'out-of-bounds' });
          await new Promise((resolve) => setTimeout(resolve, 150));
          const plan = planFor(sendMemory(zeroed, 2));
          return { ...plan, regions: [...plan.regions, region(zeroed, new Uint8Array(0), 16)] };
        },
      });
      expect(seen).toEqual(['87654320', '119,0']);
      expect(exit).toMatchObject({ end: 'halted', reason: expect.stringContaining('halted its CPU') as string });
      expect(text).toBe('\0\0');
    });

    it('ends a guest whose hook cannot be answered', async () => {
      const code = Uint8Array.of(0xba, 0x30, 0x5b, 0x66, 0xef, 0xf4);
      const plan = bios(code, { stage: 'hook', hook: { address: BigInt(CODE), port: 0x5b30 } });
      const { exit } = await run(plan, { onHook: () => Promise.reject(new Error('no kernel')) });
      expect(exit).toEqual({ end: 'failed', reason: 'Error: no kernel' });
      await expect(start(plan)).rejects.toMatchObject({ code: 'bad-argument' });
    });

    it('can be stopped while the BIOS runs', async () => {
      const abort = new AbortController();
      setTimeout(() => abort.abort(), 30);
      await expect(start(bios(LOOP_FOREVER), { signal: abort.signal })).rejects.toMatchObject({ code: 'aborted' });
    });
  });
});
