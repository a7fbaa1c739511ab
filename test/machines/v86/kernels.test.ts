/** Real kernels in v86, by every stage that a 32-bit CPU has. */
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { resumeAtKernel } from '../../../src/boot/hook.js';
import { pcMemoryMap } from '../../../src/boot/memory-map.js';
import type { BootPlan } from '../../../src/boot/plan.js';
import { planBoot } from '../../../src/boot/plan-boot.js';
import type { PlanRequest } from '../../../src/boot/request.js';
import { BOOT_PARAMS } from '../../../src/boot/zero-page.js';
import { readBootImage } from '../../../src/bzimage/read-boot-image.js';
import { demoInitramfs } from '../../../src/cpio/initramfs.js';
import { recoverVmlinux } from '../../../src/kernel/recover.js';
import { createNodeV86Machine } from '../../../src/machines/v86/node.js';
import { corpus, corpusFile, readCorpus } from '../../kernels/corpus.js';
import { debianKernel } from '../../kernels/debian.js';
import { boot as bootOn, type Outcome, type Watch } from '../guests.js';

const machine = createNodeV86Machine();
const hasBios = existsSync('/usr/share/seabios/bios.bin');
const QUIET = 'console=ttyS0 panic=-1';
const EARLY = `earlyprintk=serial,ttyS0 ${QUIET}`;

const request = (changes: Partial<PlanRequest> = {}): PlanRequest => ({
  stage: 'kernel',
  memory: pcMemoryMap(64n << 20n),
  commandLine: QUIET,
  initrd: demoInitramfs(32),
  ...changes,
});

const boot = (plan: BootPlan, watch: Watch = {}): Promise<Outcome> => bootOn(plan, machine, watch);

async function open(bytes: Uint8Array) {
  const image = readBootImage(bytes);
  return { image, vmlinux: await recoverVmlinux(image) };
}

const banner = (file: string): string => corpus.find((entry) => entry.file === file)?.linux_banner ?? 'no banner';

describe.runIf(corpusFile('k32-gzip.bzImage') !== null)('the corpus in v86', () => {
  it.each(['k32-gzip', 'k32-noreloc'])('boots %s from the kernel stage to user space and off', async (name) => {
    const { image, vmlinux } = await open(readCorpus(`${name}.bzImage`));
    const { text, exit } = await boot(planBoot(image, vmlinux, request()));
    expect(text).toContain(banner(`${name}.bzImage`));
    expect(text).toContain(`INIT-OK ${banner(`${name}.bzImage`)}`);
    expect(text).toContain(`cmdline ${QUIET}`);
    expect(text).toContain('INIT-END');
    expect(exit).toEqual({ end: 'powered-off', reason: '' });
  });

  it('executes no decompressor: the banner comes within a million instructions', async () => {
    const { image, vmlinux } = await open(readCorpus('k32-xz.bzImage'));
    const { instructions, text } = await boot(planBoot(image, vmlinux, request({ commandLine: EARLY })), {
      enough: /Linux version/,
    });
    expect(text).toContain('Linux version');
    expect(instructions).toBeGreaterThan(10_000);
    expect(instructions).toBeLessThan(1_000_000);
  });

  it('runs the kernel where host KASLR put it', async () => {
    const { image, vmlinux } = await open(readCorpus('k32-gzip.bzImage'));
    const commandLine = `${QUIET} bzelf.shell`;
    const plan = planBoot(image, vmlinux, request({ kaslr: { seed: 'a' }, commandLine }));
    const offset = plan.facts.virtualDelta ?? 0n;
    expect(offset).toBeGreaterThan(0n);
    const { text } = await boot(plan, { command: 'cat /proc/kallsyms', enough: / T (startup_32|_text)/ });
    expect(text).toContain(`${(0xc1000000n + offset).toString(16)} T `);
  });

  it('enters by PVH', async () => {
    const { image, vmlinux } = await open(readCorpus('k32-gzip.bzImage'));
    const plan = planBoot(image, vmlinux, request({ protocol: 'pvh', commandLine: EARLY }));
    const { text } = await boot(plan, { enough: /Command line: .*\n/i });
    expect(text).toContain(banner('k32-gzip.bzImage'));
    expect(text).toContain(EARLY);
  });

  it('lets the guest decompress', async () => {
    const image = readBootImage(readCorpus('k32-lz4.bzImage'));
    const plan = planBoot(image, null, request({ stage: 'decompressor', commandLine: EARLY }));
    const { text, instructions } = await boot(plan, { enough: /Linux version.*\n/ });
    expect(text).toContain(banner('k32-lz4.bzImage'));
    expect(instructions).toBeGreaterThan(1_000_000);
  });

  describe.runIf(hasBios)('with SeaBIOS', () => {
    it('lets the guest do everything from its setup on', async () => {
      const image = readBootImage(readCorpus('k32-lz4.bzImage'));
      const { text } = await boot(planBoot(image, null, request({ stage: 'setup', commandLine: EARLY })), {
        enough: /BIOS-e820.*\n/,
      });
      expect(text).toContain(banner('k32-lz4.bzImage'));
      expect(text).toContain('BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable');
    });

    it('takes over at the hook', async () => {
      const { image, vmlinux } = await open(readCorpus('k32-gzip.bzImage'));
      const plan = planBoot(image, null, request({ stage: 'hook', commandLine: EARLY }));
      const { text, exit } = await boot(plan, {
        onHook: async (bootParams, read) =>
          resumeAtKernel(image, vmlinux, plan, { bootParams, page: await read(bootParams, BOOT_PARAMS.size) }),
      });
      expect(text).toContain('BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable');
      expect(text).toContain(`INIT-OK ${banner('k32-gzip.bzImage')}`);
      expect(exit.end).toBe('powered-off');
    });

    it('boots 2.6.24.3 by its setup, decompressor and kernel to user space', async () => {
      const image = readBootImage(readCorpus('field/vmlinuz-2.6.24.3'));
      const { text, exit } = await boot(planBoot(image, null, request({ stage: 'setup' })));
      expect(text).toContain('Linux version 2.6.24.3');
      expect(text).toContain('INIT-OK Linux version 2.6.24.3');
      expect(exit).toEqual({ end: 'powered-off', reason: '' });
    });

    it('boots 2.4.24 by its setup until the kernel looks for its root', async () => {
      const image = readBootImage(readCorpus('field/bzImage-2.4.24'));
      const commandLine = 'console=tty0 panic=1';
      const { initrd: _, ...without } = request({ stage: 'setup', commandLine });
      // This kernel has no serial console: its panic stands on the screen.
      const { exit, text } = await boot(planBoot(image, null, without));
      expect(exit.end).toBe('halted');
      expect(exit.reason).toMatch(/Kernel panic: VFS: Unable to mount root fs/);
      expect(text).toBe('');
    });
  });

  it('boots 2.6.24.3 from its 32-bit entry', async () => {
    const image = readBootImage(readCorpus('field/vmlinuz-2.6.24.3'));
    const plan = planBoot(image, null, request({ stage: 'decompressor' }));
    const { text } = await boot(plan, { enough: /Linux version.*\n/ });
    expect(text).toContain('Linux version 2.6.24.3');
  });
});

const debian = debianKernel('686');
describe.runIf(debian !== null)("Debian's 686 kernel in v86", () => {
  it('starts from the kernel stage', async () => {
    const { image, vmlinux } = await open(readFileSync(debian ?? ''));
    const plan = planBoot(image, vmlinux, request({ memory: pcMemoryMap(256n << 20n), commandLine: EARLY }));
    const { text, instructions } = await boot(plan, { enough: /LOWMEM available/ });
    expect(text).toContain(vmlinux.banner ?? 'no banner');
    expect(text).toContain('256MB LOWMEM available');
    expect(instructions).toBeGreaterThan(10_000);
  });
});
