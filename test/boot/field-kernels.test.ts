/** Linux 2.4.24 has no serial console: what it does is read from its log in guest memory. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { demoInitramfs } from '../../src/cpio/initramfs.js';
import { placeRegions, setCpuState } from '../../src/machines/v86/cpu-state.js';
import { createEmulator } from '../../src/machines/v86/emulator.js';
import type { V86Constructor } from '../../src/machines/v86/internals.js';
import { corpusFile, readCorpus } from '../kernels/corpus.js';

const KERNEL = 'field/bzImage-2.4.24';
/** Where a 2.4 kernel has its data, the log among them. */
const KERNEL_DATA = [0x100000, 0x400000] as const;
const LIMIT_MS = 90_000;

describe.skipIf(corpusFile(KERNEL) === null)('Linux 2.4.24', () => {
  it('boots by its 32-bit entry with a zero page of ours, up to its missing root', async () => {
    const memory = pcMemoryMap(64n << 20n);
    const plan = planBoot(readBootImage(readCorpus(KERNEL)), null, {
      stage: 'decompressor',
      memory,
      commandLine: 'console=tty0 quite_a_word',
      initrd: demoInitramfs(32),
    });
    const { V86 } = (await import('v86')) as unknown as { V86: V86Constructor };
    const wasm = await readFile(createRequire(import.meta.url).resolve('v86/build/v86.wasm'));
    const emulator = await createEmulator(
      { V86, wasm: await WebAssembly.compile(wasm) },
      64n << 20n,
      null,
      () => undefined,
    );
    const { cpu } = emulator.v86;
    placeRegions(cpu, plan.regions);
    setCpuState(cpu, plan.cpu);
    try {
      const says = (text: string): boolean =>
        Buffer.from(cpu.mem8.buffer, cpu.mem8.byteOffset, cpu.mem8.byteLength)
          .subarray(...KERNEL_DATA)
          .includes(text, 0, 'latin1');
      const end = Date.now() + LIMIT_MS;
      while (Date.now() < end && !says('Kernel panic: VFS')) {
        await setImmediate();
        for (let i = 0; i < 100; i++) cpu.main_loop();
      }
      expect(says('Kernel panic: VFS: Unable to mount root fs')).toBe(true);
      expect(says('Kernel command line: console=tty0 quite_a_word\n')).toBe(true);
      expect(says('BIOS-e820: 0000000000100000 - 0000000004000000 (usable)')).toBe(true);
      expect(says('RAMDISK: ')).toBe(true);
    } finally {
      await emulator.destroy();
    }
  });
});
