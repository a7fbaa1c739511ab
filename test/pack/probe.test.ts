/**
 * Packed images of the probe kernel, which checks in the guest whether every byte of its segments, gaps and bss is as
 * its program headers promise, and tells what it was handed.
 */
import { gzipSync } from 'node:zlib';
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import type { Protocol, Stage } from '../../src/boot/plan.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import { resumeAtKernel } from '../../src/boot/hook.js';
import type { PlanRequest } from '../../src/boot/request.js';
import { BOOT_PARAMS } from '../../src/boot/zero-page.js';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { recoverVmlinux } from '../../src/kernel/recover.js';
import type { Machine } from '../../src/machines/machine.js';
import { createQemuMachine } from '../../src/machines/qemu/qemu-machine.js';
import { createNodeV86Machine } from '../../src/machines/v86/node.js';
import { OWN_COMPRESSIONS } from '../../src/pack/decompressors.js';
import type { PackRequest } from '../../src/pack/pack.js';
import type { Layout } from '../../src/pack/stage.js';
import { probeImage } from '../../src/probe/image.js';
import { readProbeReport, type ProbeReport } from '../guest/probe-report.js';
import { haveQemu, runQemu } from '../guest/qemu.js';

const END = /PROBE-END: .*\r?\n/;
const LIMIT_MS = 60_000;
const LAYOUTS: readonly Layout[] = ['payload', 'stage', 'both'];
const BITS = [64, 32] as const;
const LINKED = 0x1000000;
const haveBios = existsSync('/usr/share/seabios/bios.bin');

const initrd = Uint8Array.from({ length: 20_001 }, (_, i) => (i * 7919) >> 4);
/** From gzip's trailer: not from the code under test. */
const initrdCrc = `0x${gzipSync(initrd)
  .readUInt32LE(gzipSync(initrd).length - 8)
  .toString(16)}`;

async function bootByQemu(bits: 32 | 64, request: PackRequest, append: string): Promise<ProbeReport> {
  const { file } = await probeImage(bits, request);
  return readProbeReport(await runQemu({ kernel: file.bytes, initrd, append }, END));
}

async function bootByPlan(
  image: BootImage,
  machine: Machine,
  request: { readonly stage: Stage; readonly protocol?: Protocol } & Partial<PlanRequest>,
): Promise<ProbeReport> {
  const whole = { memory: pcMemoryMap(128n << 20n), commandLine: 'nokaslr by plan', initrd, ...request };
  const kernel = await recoverVmlinux(image);
  const plan = planBoot(image, kernel, whole);
  let text = '';
  const { guest } = await machine.start(plan, {
    onConsole: (bytes) => (text += Buffer.from(bytes).toString('latin1')),
    onHook: async (bootParams, read) =>
      resumeAtKernel(image, kernel, plan, { bootParams, page: await read(bootParams, BOOT_PARAMS.size) }, whole),
  });
  const limit = setTimeout(() => void guest.stop(), LIMIT_MS);
  await guest.exited;
  clearTimeout(limit);
  await guest.stop();
  return readProbeReport(text);
}

function expectGood(report: ProbeReport, bits: 32 | 64, commandLine: string): void {
  expect(report.failed).toEqual([]);
  expect(report.ok).toBe(true);
  expect(report.get('protocol')).toBe(`linux${bits}`);
  expect(report.get('command_line')).toBe(`"${commandLine}"`);
  expect(report.get('initrd.crc32')).toBe(initrdCrc);
  expect(report.get('boot_params.sentinel')).toBe('0x0');
}

/** Where it runs, and that all its relocated words say the same: the probe itself compares them with one another. */
function placeOf(report: ProbeReport, bits: 32 | 64): number {
  const loaded = Number(report.get('moved.load_address'));
  // 64-bit kernels move their virtual addresses by a distance of its own.
  if (bits === 32) expect(Number(report.get('moved.abs32')) >>> 0).toBe((loaded - LINKED) >>> 0);
  else expect(report.get('moved.abs32')).toBe(report.get('moved.abs64'));
  return loaded;
}

const cases = BITS.flatMap((bits) =>
  LAYOUTS.flatMap((layout) => OWN_COMPRESSIONS.map((compression) => ({ bits, layout, compression }))),
);

describe.skipIf(!haveQemu)('a packed probe, started by QEMU through our setup and decompressor', () => {
  test.each(cases)('$bits bit, layout $layout, $compression', async ({ bits, layout, compression }) => {
    const report = await bootByQemu(bits, { layout, compression }, 'nokaslr');
    expectGood(report, bits, 'nokaslr');
    expect(placeOf(report, bits)).toBe(LINKED);
    expect(report.get('hdr.version')).toBe('0x20f');
    expect(report.get('hdr.code32_start')).toBe(layout === 'payload' ? '0x100000' : '0x100100');
    expect(report.get('hdr.payload_offset') === '0x0').toBe(layout === 'stage');
  });

  test.each(BITS)('%i bit: the decompressor moves it, each time elsewhere', async (bits) => {
    const places = new Set<number>();
    for (const layout of [...LAYOUTS, 'payload'] as const) {
      const report = await bootByQemu(bits, { layout }, 'x');
      expectGood(report, bits, 'x');
      const place = placeOf(report, bits);
      expect(place % 0x200000).toBe(0);
      expect(place).toBeLessThan(256 << 20);
      places.add(place);
    }
    expect(places.size).toBeGreaterThan(1);
  });

  test('a default command line is what it gets without one', async () => {
    const { file } = await probeImage(64, { commandLine: 'nokaslr built in' });
    const report = readProbeReport(await runQemu({ kernel: file.bytes }, END));
    expect(report.get('command_line')).toBe('"nokaslr built in"');
    expect(report.failed).toEqual([]);
  });
});

describe('a packed probe in our own machines', () => {
  describe.each([
    { name: 'qemu', machine: createQemuMachine(), here: haveQemu, widths: BITS },
    { name: 'v86', machine: createNodeV86Machine(), here: true, widths: [32] as const },
  ])('$name', ({ machine, here, widths }) => {
    const starts = widths.flatMap((bits) => [
      ...(['decompressor', 'kernel'] as const).map((stage) => ({ bits, stage, layout: 'payload' as const })),
      ...(['setup', 'decompressor'] as const).map((stage) => ({ bits, stage, layout: 'stage' as const })),
      ...(['hook', 'decompressor'] as const).map((stage) => ({ bits, stage, layout: 'both' as const })),
    ]);
    for (const { bits, stage, layout } of starts) {
      const runs = here && (haveBios || (stage !== 'setup' && stage !== 'hook'));
      test.skipIf(!runs)(`${bits} bit, layout ${layout}, at the ${stage}`, async () => {
        const report = await bootByPlan(await probeImage(bits, { layout }), machine, { stage });
        expectGood(report, bits, 'nokaslr by plan');
        expect(placeOf(report, bits)).toBe(LINKED);
      });
    }

    for (const bits of widths) {
      test.skipIf(!here)(`${bits} bit, relocated by the host`, async () => {
        const physicalDelta = 0x2400000n;
        const virtualDelta = bits === 32 ? physicalDelta : 0x6200000n;
        const image = await probeImage(bits, { layout: 'both' });
        const report = await bootByPlan(image, machine, { stage: 'kernel', at: { physicalDelta, virtualDelta } });
        expectGood(report, bits, 'nokaslr by plan');
        expect(placeOf(report, bits)).toBe(LINKED + Number(physicalDelta));
        expect(Number(report.get('moved.abs32'))).toBe(Number(virtualDelta));
      });
    }
  });

  test.skipIf(!haveQemu).each(LAYOUTS)('a 64-bit one by the 32-bit entry, layout %s', async (layout) => {
    const request = { stage: 'decompressor', protocol: 'linux32' } as const;
    const report = await bootByPlan(await probeImage(64, { layout }), createQemuMachine(), request);
    expectGood(report, 64, 'nokaslr by plan');
  });
});
