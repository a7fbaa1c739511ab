/**
 * Kernels before boot protocol 2.02, and zImages: a hand-made image whose setup code reports, from real mode in a
 * guest, what it finds where boot.rst says it has to be.
 */
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import type { PlanRequest } from '../../src/boot/request.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { createNodeV86Machine } from '../../src/machines/v86/node.js';
import { need, view } from './invariants.js';

const hasBios = existsSync('/usr/share/seabios/bios.bin');
const memory = pcMemoryMap(32n << 20n);

/** Sends ds, the words at 0x20 and 0x22, the text that 0x22 points at, and the first byte at `segment`:0. */
function reporter(segment: number): number[] {
  const code: number[] = [];
  const calls: number[] = [];
  const send16 = (): void => {
    code.push(0xe8, 0, 0); // call out16
    calls.push(code.length);
  };
  code.push(0x8c, 0xd8); // mov ax, ds
  send16();
  code.push(0xa1, 0x20, 0x00); // mov ax, [0x20]
  send16();
  code.push(0xa1, 0x22, 0x00, 0x89, 0xc6); // mov ax, [0x22]; mov si, ax
  send16();
  code.push(0xba, 0xf8, 0x03); // mov dx, 0x3f8
  code.push(0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8); // next: lodsb; test al, al; jz +3; out dx, al; jmp next
  code.push(0xb8, segment & 0xff, segment >> 8, 0x8e, 0xd8, 0xa0, 0, 0, 0xee); // mov ds, segment; mov al, [0]; out dx, al
  code.push(0xfa, 0xf4); // cli; hlt
  const out16 = code.length;
  code.push(0xba, 0xf8, 0x03, 0xee, 0x88, 0xe0, 0xee, 0xc3); // mov dx, 0x3f8; out dx, al; mov al, ah; out dx, al; ret
  for (const at of calls) code[at - 2] = out16 - at;
  return code;
}

interface Made {
  /** 0: no HdrS. */
  readonly version: number;
  readonly high: boolean;
  readonly stageLength?: number;
}

function make({ version, high, stageLength = 0x3000 }: Made): Uint8Array {
  const file = new Uint8Array(5 * 512 + stageLength);
  const words = view(file);
  file[0x1f1] = 4;
  words.setUint16(0x1f4, Math.ceil(stageLength / 16), true);
  words.setUint16(0x1fe, 0xaa55, true);
  const code = reporter(high ? 0xffff : 0x1000);
  if (version === 0) {
    file.set(code, 0x200);
  } else {
    file.set([0xeb, 0x7e], 0x200);
    file.set(Buffer.from('HdrS'), 0x202);
    words.setUint16(0x206, version, true);
    file[0x211] = high ? 1 : 0;
    words.setUint32(0x214, high ? 0x100000 : 0x1000, true);
    file.set(code, 0x280);
  }
  // 0xffff:0 lies 16 bytes below 1 MiB, where every BIOS jumps: not the stage, but the same on every machine.
  file[5 * 512] = 0x5a;
  return file;
}

const request = (more: Partial<PlanRequest> = {}): PlanRequest => ({
  stage: 'setup',
  memory,
  commandLine: 'root=/dev/fd0 1',
  ...more,
});

const KINDS: readonly (readonly [string, Made])[] = [
  ['old, without HdrS', { version: 0, high: false }],
  ['2.00 zImage', { version: 0x200, high: false }],
  ['2.01 bzImage', { version: 0x201, high: true }],
];

describe.each(KINDS)('%s', (_name, made) => {
  const image = readBootImage(make(made));

  it('has its parts where boot.rst says', () => {
    const plan = planBoot(image, null, request());
    const setup = need(plan.regions.find(({ purpose }) => purpose === 'setup'));
    expect(setup.address).toBe(0x90000n);
    const words = view(need(setup.bytes));
    expect(words.getUint16(0x20, true)).toBe(0xa33f);
    expect(words.getUint16(0x22, true)).toBe(0x9800);
    expect(plan.facts.commandLine?.address).toBe(0x99800n);
    const stage = need(plan.regions.find(({ purpose }) => purpose === 'stage'));
    expect(stage.address).toBe(made.high ? 0x100000n : 0x10000n);
    if (made.version === 0) {
      const untouched = make(made).subarray(0x24, 5 * 512);
      expect(Buffer.compare(need(setup.bytes).subarray(0x24), untouched)).toBe(0);
      return;
    }
    expect(words.getUint8(0x210)).toBe(0xff);
    expect(words.getUint16(0x212, true), 'setup_move_size').toBe(0x9800 + 'root=/dev/fd0 1'.length + 1);
    expect(words.getUint8(0x211) & 0x80, 'CAN_USE_HEAP').toBe(made.version >= 0x201 ? 0x80 : 0);
    expect(words.getUint16(0x224, true), 'heap_end_ptr').toBe(made.version >= 0x201 ? 0x9600 : 0);
    expect(words.getUint32(0x228, true), 'cmd_line_ptr is not theirs').toBe(view(make(made)).getUint32(0x228, true));
  });

  it.skipIf(!hasBios)('finds them when it runs', async () => {
    const output: number[] = [];
    const { guest } = await createNodeV86Machine().start(planBoot(image, null, request()), {
      onConsole: (bytes) => output.push(...bytes),
    });
    expect((await guest.exited).end).toBe('halted');
    const report = Buffer.from(output);
    expect(report.readUInt16LE(0)).toBe(0x9000);
    expect(report.readUInt16LE(2)).toBe(0xa33f);
    expect(report.toString('latin1', 6, report.length - 1)).toBe('root=/dev/fd0 1');
    if (!made.high) expect(report.at(-1)).toBe(0x5a);
  });
});

describe('limits of the old protocols', () => {
  it('a command line has 255 characters', () => {
    const image = readBootImage(make({ version: 0x201, high: true }));
    expect(() => planBoot(image, null, request({ commandLine: 'x'.repeat(255) }))).not.toThrow();
    expect(() => planBoot(image, null, request({ commandLine: 'x'.repeat(256) }))).toThrow(
      expect.objectContaining({ code: 'does-not-fit', message: expect.stringContaining('255') as string }),
    );
  });

  it('no initrd before 2.00', () => {
    const initrd = new Uint8Array(4096);
    expect(() => planBoot(readBootImage(make({ version: 0, high: false })), null, request({ initrd }))).toThrow(
      expect.objectContaining({ code: 'protocol-unavailable' }),
    );
    const plan = planBoot(readBootImage(make({ version: 0x200, high: false })), null, request({ initrd }));
    expect(plan.facts.initrd?.size).toBe(4096);
  });

  it('a zImage has 512 KiB', () => {
    const image = readBootImage(make({ version: 0x200, high: false, stageLength: 0x80010 }));
    expect(() => planBoot(image, null, request())).toThrow(expect.objectContaining({ code: 'does-not-fit' }));
  });

  it('a zImage has no hook', () => {
    const image = readBootImage(make({ version: 0x200, high: false }));
    expect(() => planBoot(image, null, request({ stage: 'hook' }))).toThrow(
      expect.objectContaining({ code: 'unsupported' }),
    );
  });

  it('no start from the zero page before 2.02', () => {
    const image = readBootImage(make({ version: 0x201, high: true }));
    expect(() => planBoot(image, null, request({ stage: 'decompressor' }))).toThrow(
      expect.objectContaining({ code: 'protocol-unavailable', message: expect.stringContaining('2.02') as string }),
    );
  });
});
