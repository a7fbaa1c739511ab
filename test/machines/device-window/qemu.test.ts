/** A QEMU guest whose RAM is the window: it stands still until the host has written through a 4 MiB aperture. */
import { describe, expect, it } from 'vitest';
import { pcMemoryMap } from '../../../src/boot/memory-map.js';
import { planBoot } from '../../../src/boot/plan-boot.js';
import { demoInitramfs } from '../../../src/cpio/initramfs.js';
import { MappedFile } from '../../../src/machines/device-window/mapped-file.js';
import type { MemoryWindow } from '../../../src/machines/device-window/memory-window.js';
import { writeWindow } from '../../../src/machines/device-window/write-window.js';
import { loadCorpus } from '../../boot/images.js';
import { corpusFile } from '../../kernels/corpus.js';
import { haveQemu } from '../guests.js';
import { Card } from './card.js';
import { expected, GUARD } from './windows.js';

const APERTURE = 4 << 20;
const MEMORY = 128n << 20n;

/** The guest's memory, of which the host never sees more than the aperture: a callback maps another part in its place. */
async function apertureOn(path: string, size: number): Promise<MemoryWindow & { close(): void }> {
  const file = await MappedFile.open(path);
  return {
    address: 0n,
    size,
    aperture: APERTURE,
    expose: (offset) => file.map(offset, Math.min(APERTURE, size - offset)),
    close: () => file.close(),
  };
}

describe.runIf(haveQemu)('a guest behind a 4 MiB aperture', () => {
  it.each([
    ['k32-gzip.bzImage', 32, 4],
    ['k64-gzip.bzImage', 64, 8],
  ] as const)('%s boots to user space', async (name, bits, width) => {
    if (corpusFile(name) === null) return;
    const { image, vmlinux } = await loadCorpus(name);
    const plan = planBoot(image, vmlinux, {
      stage: 'kernel',
      memory: pcMemoryMap(MEMORY),
      commandLine: 'console=ttyS0 tsc=reliable mitigations=off panic=-1',
      initrd: demoInitramfs(bits),
    });
    const card = await Card.start(plan);
    try {
      card.fill(GUARD);
      const wanted = expected(card.memory(), plan.regions);
      const window = await apertureOn(card.path, wanted.length);
      const report = await writeWindow(plan.regions, window, { width });
      window.close();
      expect(report.moves).toBeGreaterThan(4);
      expect(Buffer.compare(card.memory(), wanted)).toBe(0);
      expect(await card.run(plan.cpu)).toContain('INIT-OK Linux version');
    } finally {
      await card.stop();
    }
  });
});
