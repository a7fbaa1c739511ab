/** The probe as the instrument for our own plans: every protocol of the kernel stage, in both machines. */
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { artifactBytes, type GuestArtifact } from '../../guest/artifact.js';
import { probe32 } from '../../guest/built/probe32.js';
import { probe64 } from '../../guest/built/probe64.js';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import type { Protocol } from '../../src/boot/plan.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { recoverVmlinux } from '../../src/kernel/recover.js';
import type { Machine } from '../../src/machines/machine.js';
import { createQemuMachine } from '../../src/machines/qemu/qemu-machine.js';
import { createNodeV86Machine } from '../../src/machines/v86/node.js';
import { readProbeReport, type ProbeReport } from './probe-report.js';
import { haveQemu } from './qemu.js';

const LIMIT_MS = 60_000;
const initrd = Uint8Array.from({ length: 5001 }, (_, i) => (i * 7919) >> 4);
const trailer = gzipSync(initrd).subarray(-8);
const initrdCrc = `0x${trailer.readUInt32LE(0).toString(16)}`;

async function start(kernel: GuestArtifact, protocol: Protocol, machine: Machine): Promise<ProbeReport> {
  const image = readBootImage(artifactBytes(kernel));
  const plan = planBoot(image, await recoverVmlinux(image), {
    stage: 'kernel',
    protocol,
    memory: pcMemoryMap(128n << 20n),
    commandLine: 'what the plan says',
    initrd,
  });
  let text = '';
  const { guest } = await machine.start(plan, {
    onConsole: (bytes) => (text += Buffer.from(bytes).toString('latin1')),
  });
  const limit = setTimeout(() => void guest.stop(), LIMIT_MS);
  const exit = await guest.exited;
  clearTimeout(limit);
  await guest.stop();
  expect(exit.end).toBe('powered-off');
  return readProbeReport(text);
}

function expectPromised(report: ProbeReport, protocol: string): void {
  expect(report.get('protocol')).toBe(protocol);
  expect(report.failed).toEqual([]);
  expect(report.get('command_line')).toBe('"what the plan says"');
  expect(report.get('initrd.crc32')).toBe(initrdCrc);
  expect(report.all('memory')).toContain('0x100000 0x7f00000 1');
  expect(Number(report.get('reg.flags')) & 0x200).toBe(0); // interrupts off
}

describe.each([
  { name: 'qemu', machine: createQemuMachine(), here: haveQemu },
  { name: 'v86', machine: createNodeV86Machine(), here: true },
])('32-bit plans in $name', ({ machine, here }) => {
  test.skipIf(!here)('linux32', async () => {
    const report = await start(probe32, 'linux32', machine);
    expectPromised(report, 'linux32');
    expect(report.get('reg.cs')).toBe('0x10');
    expect(report.get('reg.ds')).toBe('0x18');
    expect(report.get('descriptor.cs')).toMatch(/^0xcf9[ab]000000ffff$/);
    for (const register of ['bx', 'bp', 'di']) expect(report.get(`reg.${register}`)).toBe('0x0');
    expect(report.get('boot_params.sentinel')).toBe('0x0');
  });

  test.skipIf(!here)('pvh', async () => {
    const report = await start(probe32, 'pvh', machine);
    expectPromised(report, 'pvh');
    expect(report.get('reg.cr0')).toBe('0x11');
    expect(report.get('start_info.magic')).toBe('0x336ec578');
  });
});

describe.skipIf(!haveQemu)('64-bit plans in QEMU', () => {
  test('linux64', async () => {
    const report = await start(probe64, 'linux64', createQemuMachine());
    expectPromised(report, 'linux64');
    expect(report.get('reg.cs')).toBe('0x10');
    expect(report.get('descriptor.cs')).toMatch(/^0xaf9[ab]000000ffff$/);
    expect(report.get('reg.efer')).toBe('0x500');
    expect(Number(report.get('reg.cr4')) & 0x20).toBe(0x20);
  });

  test('pvh', async () => {
    expectPromised(await start(probe64, 'pvh', createQemuMachine()), 'pvh');
  });
});
