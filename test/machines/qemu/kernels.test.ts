/** Real kernels in QEMU, by every stage and protocol. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { artifactBytes } from '../../../guest/artifact.js';
import { init64 } from '../../../guest/built/init64.js';
import { pcMemoryMap } from '../../../src/boot/memory-map.js';
import type { Stage } from '../../../src/boot/plan.js';
import type { PlanRequest } from '../../../src/boot/request.js';
import { latin1 } from '../../../src/bytes/byte-view.js';
import { demoInitramfs } from '../../../src/cpio/initramfs.js';
import { writeCpio } from '../../../src/cpio/newc.js';
import { setCpuState } from '../../../src/machines/qemu/cpu-state.js';
import { findQemu } from '../../../src/machines/qemu/find-qemu.js';
import { ramLayout } from '../../../src/machines/qemu/ram-layout.js';
import { QemuSession } from '../../../src/machines/qemu/session.js';
import { corpus, corpusFile, readCorpus } from '../../kernels/corpus.js';
import { debianKernel } from '../../kernels/debian.js';
import {
  boot,
  haveQemu,
  hookOf,
  openKernel,
  openKernelFile,
  planFor,
  QUIET,
  type Kernel,
  type Outcome,
} from '../guests.js';

async function bootStage(kernel: Kernel, changes: Partial<PlanRequest>, smp = 1): Promise<Outcome> {
  const plan = planFor(kernel, changes);
  return boot(plan, { smp }, plan.hook === null ? {} : { onHook: hookOf(kernel, plan) });
}

function expectUserSpace({ text, exit }: Outcome, banner: string | null): void {
  expect(text).toContain(`INIT-OK ${banner ?? 'a banner'}`);
  expect(text).toContain('INIT-END');
  expect(exit).toEqual({ end: 'powered-off', reason: '' });
}

const EDGES = ['k64-gzip', 'k64-nokaslr', 'k64-noreloc', 'k64-noxen', 'k32-xz', 'k32-noreloc'] as const;

describe.runIf(haveQemu && corpus.length > 0)('the corpus in QEMU', () => {
  it.each(corpus)('boots $file from the kernel stage to user space and off', async ({ file, linux_banner }) => {
    const outcome = await bootStage(await openKernel(readCorpus(file)), {});
    expect(outcome.text).toContain(`cmdline ${QUIET}`);
    expectUserSpace(outcome, linux_banner);
  });

  describe.each(EDGES)('%s', (name) => {
    const long = name.startsWith('k64');
    const starts: readonly Partial<PlanRequest>[] = [
      ...(['setup', 'decompressor', 'hook'] as const satisfies readonly Stage[]).map((stage) => ({ stage })),
      ...(long ? [{ stage: 'decompressor', protocol: 'linux32' } as const] : []),
      ...(name === 'k64-noxen' ? [] : [{ stage: 'kernel', protocol: 'pvh' } as const]),
    ];
    it.each(starts)('boots by %o', async (changes) => {
      const kernel = await openKernel(readCorpus(`${name}.bzImage`));
      expectUserSpace(await bootStage(kernel, changes), kernel.vmlinux?.banner ?? null);
    });
  });

  it('runs a 64-bit kernel where host KASLR put it, physically and virtually', async () => {
    const kernel = await openKernel(readCorpus('k64-gzip.bzImage'));
    const plan = planFor(kernel, { kaslr: { seed: 'qemu' }, commandLine: `${QUIET} bzelf.shell` });
    const { physicalDelta = 0n, virtualDelta = 0n, kernelBase = 0n } = plan.facts;
    expect([physicalDelta, virtualDelta, physicalDelta - virtualDelta].every((delta) => delta !== 0n)).toBe(true);
    const address = (0xffffffff81000000n + virtualDelta).toString(16);
    const symbols = await boot(plan, {}, { command: 'cat /proc/kallsyms', enough: / T startup_64\r?\n/ });
    expect(symbols.text).toContain(`${address} T startup_64`);
    const place = kernelBase.toString(16).padStart(8, '0');
    const ram = await boot(plan, {}, { command: 'cat /proc/iomem', enough: /Kernel code/ });
    expect(ram.text).toMatch(new RegExp(`${place}-[0-9a-f]+ : Kernel code`));
  });

  it('has RAM above 4 GiB, and ACPI all the same', async () => {
    const kernel = await openKernel(readCorpus('k64-gzip.bzImage'));
    const outcome = await bootStage(kernel, { memory: pcMemoryMap(4n << 30n) }, 2);
    expect(outcome.text).toMatch(/BIOS-e820: \[mem 0x0000000100000000-0x00000001[0-9a-f]{8}\] usable/);
    expect(outcome.text).toContain('smp: Brought up 1 node, 2 CPUs');
    expectUserSpace(outcome, kernel.vmlinux?.banner ?? null);
  });
});

const cloud = debianKernel('cloud-amd64');
describe.runIf(haveQemu && cloud !== null)('Debian’s cloud kernel in QEMU', () => {
  const starts: readonly Partial<PlanRequest>[] = [
    { stage: 'kernel', kaslr: { seed: null } },
    { stage: 'kernel', protocol: 'pvh' },
    { stage: 'decompressor', protocol: 'linux64' },
    { stage: 'hook' },
  ];
  it.each(starts)('boots by %o on two processors', async (changes) => {
    const kernel = await openKernelFile(cloud ?? '');
    const outcome = await bootStage(kernel, changes, 2);
    expect(outcome.text).toContain('smp: Brought up 1 node, 2 CPUs');
    expectUserSpace(outcome, kernel.vmlinux?.banner ?? null);
  });

  it('gets the interrupts of PCI devices', async () => {
    const initrd = writeCpio([
      { name: 'dev', type: 'directory' },
      { name: 'dev/console', type: 'character', mode: 0o600, device: [5, 1] },
      { name: 'dev/ttyS1', type: 'character', mode: 0o600, device: [4, 65] },
      { name: 'proc', type: 'directory' },
      { name: 'init', type: 'file', mode: 0o755, data: artifactBytes(init64) },
    ]);
    const plan = planFor(await openKernelFile(cloud ?? ''), { initrd, commandLine: `${QUIET} bzelf.shell` });
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-card-'));
    try {
      // A serial port on the PCI bus, on whose other side sits this test: what comes in is told by interrupt.
      const path = join(folder, 'card');
      const extraArgs = [
        '-chardev',
        `socket,id=card,path=${path},server=on,wait=off`,
        '-device',
        'pci-serial,chardev=card',
      ];
      const onStart = (): void => {
        const line = createConnection(path);
        const timer = setInterval(() => line.write('a line through the card\n'), 500);
        line.on('error', () => undefined);
        line.on('close', () => clearInterval(timer));
      };
      const watch = { command: 'cat /dev/ttyS1', enough: /\na line through the card/, onStart };
      const { text } = await boot(plan, { extraArgs }, watch);
      expect(text).toMatch(/ttyS1 at I\/O 0x[0-9a-f]+ \(irq = (1[6-9]|2[0-3]), /);
      expect(text).toMatch(/\na line through the card/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

const i686 = debianKernel('686');
describe.runIf(haveQemu && i686 !== null)('Debian’s 686 kernel in QEMU', () => {
  it.each(['kernel', 'hook'] as const)('boots from the %s stage', async (stage) => {
    const kernel = await openKernelFile(i686 ?? '');
    expectUserSpace(await bootStage(kernel, { stage }), kernel.vmlinux?.banner ?? null);
  });
});

describe.runIf(haveQemu)('kernels from the field in QEMU', () => {
  const open = (name: string): Promise<Kernel> => openKernel(readCorpus(`field/${name}`));
  const EARLY = `earlyprintk=serial,ttyS0 ${QUIET}`;

  it.runIf(corpusFile('field/vmlinuz-2.6.24.3') !== null).each(['setup', 'decompressor'] as const)(
    '2.6.24.3 starts from the %s stage',
    async (stage) => {
      // On a busy host its test of the timer fails by chance.
      const plan = planFor(await open('vmlinuz-2.6.24.3'), { stage, commandLine: `noapic ${EARLY}` });
      // No newline follows it.
      const { text } = await boot(plan, {}, { enough: /Kernel panic - not syncing: VFS: .* root fs/ });
      expect(text).toContain('Linux version 2.6.24.3 (root@mythbuntu)');
      expect(text).toContain(`Kernel command line: noapic ${EARLY}`);
      expect(text).toMatch(/Kernel panic - not syncing: VFS: Unable to mount root fs/);
    },
  );

  it.runIf(corpusFile('field/vmlinuz-2.6.24.3') !== null)('2.6.24.3 is done when its init has ended', async () => {
    const kernel = await open('vmlinuz-2.6.24.3');
    const commandLine = `noapic ${EARLY}`;
    const { text, exit } = await boot(
      planFor(kernel, { stage: 'decompressor', commandLine, initrd: demoInitramfs(32) }),
    );
    expect(text).toContain('INIT-END');
    expect(exit).toEqual({ end: 'powered-off', reason: 'the guest halted' });
  });

  it.runIf(corpusFile('field/bzImage-2.4.24') !== null)('2.4.24 runs, on the screen', async () => {
    const commandLine = 'ide0=noprobe ide1=noprobe root=/dev/none';
    const plan = planFor(await open('bzImage-2.4.24'), { stage: 'setup', commandLine });
    const { text, screen } = await boot(plan, {}, { milliseconds: 8000 });
    expect(text).toBe('');
    expect(screen.join('\n')).toContain('Linux NET4.0 for Linux 2.4');
  });

  it.runIf(corpusFile('field/bzImage-2.4.24') !== null)('2.4.24 starts from the decompressor stage', async () => {
    const commandLine = 'ide0=noprobe ide1=noprobe root=/dev/none';
    const plan = planFor(await open('bzImage-2.4.24'), { stage: 'decompressor', commandLine });
    const layout = ramLayout(plan, 'pc');
    if (layout === null) throw new Error('no PC for this plan');
    const session = await QemuSession.start({
      ...{ binary: findQemu(), type: 'pc', accel: 'tcg', smp: 1, bios: false, extraArgs: [], layout, needed: 0 },
      onConsole: () => undefined,
    });
    try {
      session.ram.place(plan.regions, true);
      await setCpuState(session.gdb, session.ram, plan.cpu, true);
      await session.gdb.detach();
      // It has neither a serial console nor, without a BIOS, a screen: what it says is in its ring buffer.
      const said = (): string => latin1(session.ram.read(0x100000n, 4 << 20));
      const panic = /<0>Kernel panic: VFS: Unable to mount root fs on [0-9a-f:]+\n/;
      for (const end = Date.now() + 60_000; Date.now() < end && !panic.test(said());) await delay(250);
      expect(said()).toMatch(panic);
      expect(said()).toContain(`<4>Kernel command line: ${commandLine}\n`);
    } finally {
      await session.stop();
    }
  });

  it.runIf(corpusFile('field/bzImage-4.12.7-efi-relocs') !== null).each(['kernel', 'hook'] as const)(
    '4.12.7 starts from the %s stage, relocated',
    async (stage) => {
      const kernel = await open('bzImage-4.12.7-efi-relocs');
      const kaslr = stage === 'kernel' ? { kaslr: { seed: '4.12' } } : {};
      const plan = planFor(kernel, { stage, commandLine: EARLY, ...kaslr });
      const watch = plan.hook === null ? {} : { onHook: hookOf(kernel, plan) };
      const { text } = await boot(plan, {}, { ...watch, enough: /Memory: .*\n/ });
      expect(text).toContain('Linux version 4.12.7+');
      expect(text).toContain(`Command line: ${EARLY}`);
    },
  );
});
