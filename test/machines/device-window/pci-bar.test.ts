/**
 * `bzelf load` where it is meant to run: on a host that sees a card's memory through a PCI BAR. The host is a QEMU
 * guest with Debian's kernel, the BAR that of an ivshmem device, and the memory behind it that of a second QEMU, the
 * card, which stands still until its memory has been written.
 */
import { closeSync, readFileSync, readSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pcMemoryMap } from '../../../src/boot/memory-map.js';
import type { BootPlan, CpuState, SegmentState } from '../../../src/boot/plan.js';
import { planBoot } from '../../../src/boot/plan-boot.js';
import { planToJson, type PlanDocument } from '../../../src/boot/plan-json.js';
import { readBootImage } from '../../../src/bzimage/read-boot-image.js';
import { demoInitramfs } from '../../../src/cpio/initramfs.js';
import { recoverVmlinux } from '../../../src/kernel/recover.js';
import { createAnonymousFile } from '../../../src/machines/qemu/anonymous-file.js';
import { corpusFile } from '../../kernels/corpus.js';
import { debianKernel } from '../../kernels/debian.js';
import { haveQemu } from '../guests.js';
import { Card } from './card.js';
import { HostGuest, type Ran } from './host-guest.js';
import { haveHostPrograms } from './host-initramfs.js';
import { expected, GUARD, guarded } from './windows.js';

const hostKernel = debianKernel('cloud-amd64');
const cardKernel = corpusFile('k64-gzip.bzImage') ?? hostKernel;
const possible = haveQemu && haveHostPrograms && hostKernel !== null;

/** The card's memory as the BAR shows it. */
const SIZE = 128;
const COMMAND_LINE = 'console=ttyS0 tsc=reliable mitigations=off panic=-1';
const KERNEL = '/kernel';
const INITRAMFS = '/initramfs';

/** Memory of a second device, beyond what the kernel takes for the largest file under /sys. */
const LARGE_SIZE = 2 ** 32;
const FAR = 2 ** 31;

/** Places on the host's bus, and what is there: two windows and a device with a small register file. */
const CARD = '10';
const LARGE = '11';
const REGISTERS = '12';
const device = (slot: string): string => `/sys/bus/pci/devices/0000:00:${slot}.0`;

/** Options for a device whose BAR 2 is the beginning of a file. */
function windowOn(path: string, size: string, slot: string): string[] {
  return [
    ...['-object', `memory-backend-file,id=file${slot},size=${size},mem-path=${path},share=on`],
    ...['-device', `ivshmem-plain,memdev=file${slot},addr=0x${slot}`],
  ];
}

async function planFor(path: string): Promise<BootPlan> {
  const image = readBootImage(readFileSync(path));
  return planBoot(image, await recoverVmlinux(image), {
    stage: 'kernel',
    memory: pcMemoryMap(BigInt(SIZE) << 20n),
    commandLine: COMMAND_LINE,
    initrd: demoInitramfs(64),
  });
}

function readSegment({ selector, base, limit, access }: PlanDocument['cpu']['cs']): SegmentState {
  return { selector: Number(selector), base: BigInt(base), limit: Number(limit), access: Number(access) };
}

/** The processor's state from what `load --json` prints. */
function readCpu({ mode, registers, cs, data, gdt, ...rest }: PlanDocument['cpu']): CpuState {
  return {
    mode,
    registers: Object.fromEntries(Object.entries(registers).map(([name, value]) => [name, BigInt(value)])),
    ...{ rip: BigInt(rest.rip), rflags: BigInt(rest.rflags), efer: BigInt(rest.efer) },
    ...{ cr0: BigInt(rest.cr0), cr3: BigInt(rest.cr3), cr4: BigInt(rest.cr4) },
    ...{ cs: readSegment(cs), data: readSegment(data) },
    gdt: gdt === null ? null : { base: BigInt(gdt.base), limit: gdt.limit },
  };
}

describe.runIf(possible)('bzelf load on the PCI BAR of a running host', { timeout: 200_000 }, () => {
  let plan: BootPlan;
  let card: Card;
  let host: HostGuest;
  let large: number;
  let printed: PlanDocument | null = null;
  const releases: (() => Promise<void> | void)[] = [];

  beforeAll(async () => {
    plan = await planFor(cardKernel ?? '');
    card = await Card.start(plan);
    releases.push(() => card.stop());
    card.fill(GUARD);
    large = createAnonymousFile(LARGE_SIZE, SIZE << 20);
    releases.push(() => closeSync(large));
    host = await HostGuest.start(
      hostKernel ?? '',
      [
        ...windowOn(card.path, `${String(SIZE)}M`, CARD),
        ...windowOn(`/proc/${String(process.pid)}/fd/${String(large)}`, String(LARGE_SIZE), LARGE),
        ...['-device', `sdhci-pci,addr=0x${REGISTERS}`],
      ],
      { [KERNEL]: readFileSync(cardKernel ?? ''), [INITRAMFS]: demoInitramfs(64) },
    );
    releases.push(() => host.stop());
  }, 200_000);

  afterAll(async () => {
    for (const release of releases.reverse()) await release();
  });

  const load = (window: string, ...more: readonly string[]): Promise<Ran> => {
    const options = ['--initrd', INITRAMFS, '--append', COMMAND_LINE, '--memory', `${String(SIZE)}M`, '--json'];
    return host.bzelf('load', KERNEL, ...options, '--window', window, ...more);
  };

  it('says how to switch on a device that does not answer yet', async () => {
    const window = `${device(CARD)}/resource2`;
    expect(await load(window)).toEqual({
      status: 3,
      stdout: '',
      stderr: `bzelf: ${window}: the device's memory is switched off; echo 1 > ${device(CARD)}/enable\n`,
    });
    for (const slot of [CARD, LARGE, REGISTERS]) await host.write(`${device(slot)}/enable`, '1');
  });

  it('refuses a plan that the BAR does not reach before anything is written', async () => {
    const { status, stdout, stderr } = await load(`${device(CARD)}/resource2`, '--memory', `${String(2 * SIZE)}M`);
    expect(stderr).toMatch(/ is not inside the window's 0x0-0x8000000 .*nothing was written\n$/);
    expect([status, stdout]).toEqual([1, '']);
    const memory = card.memory();
    expect(Buffer.compare(memory, guarded(memory.length))).toBe(0);
  });

  it.each([
    ['resource2', '4'],
    ['resource2_wc', '8'],
  ])('writes the plan and nothing else through %s, %s bytes at a time', async (file, width) => {
    card.fill(GUARD);
    const { status, stdout, stderr } = await load(`${device(CARD)}/${file}`, '--width', width);
    expect([status, stderr]).toEqual([0, '']);
    const { window, ...document } = JSON.parse(stdout) as PlanDocument & { readonly window: unknown };
    expect(document).toEqual(planToJson(plan));
    const total = plan.regions.reduce((sum, { size }) => sum + size, 0);
    expect(window).toEqual({ written: total, verified: total, moves: 2 });
    const memory = card.memory();
    expect(Buffer.compare(memory, expected(guarded(memory.length), plan.regions))).toBe(0);
    printed = document;
  });

  it('writes memory beyond 2 GiB', async () => {
    const { status, stderr } = await load(`${device(LARGE)}/resource2@${String(FAR)}:${String(SIZE)}M`);
    expect([status, stderr]).toEqual([0, '']);
    for (const { address, size, bytes } of plan.regions) {
      const found = new Uint8Array(bytes?.length ?? size);
      readSync(large, found, 0, found.length, FAR + Number(address));
      expect(Buffer.compare(found, bytes ?? new Uint8Array(size))).toBe(0);
    }
  });

  it('finds a base register whose BAR begins inside a page', async () => {
    const [bar = ''] = (await host.read(`${device(REGISTERS)}/resource`)).split('\n');
    expect(Number(bar.split(' ')[0]) % 4096).not.toBe(0);
    // The argument of an SD command keeps what is written, unlike what lies there in its neighbours; it moves nothing.
    const register = ['--base-register', `${device(REGISTERS)}/resource0@8`];
    const { status, stderr } = await load(`${device(LARGE)}/resource2@0:1M`, ...register);
    expect(stderr).toMatch(/ the window reads .* the aperture did not move\n$/);
    expect(status).toBe(3);
  });

  it('leaves a card that boots to user space from what was printed', async () => {
    if (printed === null) throw new Error('nothing was loaded');
    const text = await card.run(readCpu(printed.cpu));
    expect(text).toContain('INIT-OK Linux version');
    expect(text).toContain(`cmdline ${COMMAND_LINE}`);
    expect(text).toContain('INIT-END');
  });
});
