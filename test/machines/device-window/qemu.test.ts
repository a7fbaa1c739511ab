/** A QEMU guest whose RAM is the window: it stands still until the host has written through a 4 MiB aperture. */
import { describe, expect, it } from 'vitest';
import { pcMemoryMap } from '../../../src/boot/memory-map.js';
import { planBoot } from '../../../src/boot/plan-boot.js';
import { demoInitramfs } from '../../../src/cpio/initramfs.js';
import { MappedFile } from '../../../src/machines/device-window/mapped-file.js';
import type { MemoryWindow } from '../../../src/machines/device-window/memory-window.js';
import { writeWindow } from '../../../src/machines/device-window/write-window.js';
import { setCpuState } from '../../../src/machines/qemu/cpu-state.js';
import { findProgram } from '../../../src/machines/qemu/find-qemu.js';
import { GuestRecord, QemuGuest } from '../../../src/machines/qemu/qemu-guest.js';
import { ramLayout } from '../../../src/machines/qemu/ram-layout.js';
import { QemuSession } from '../../../src/machines/qemu/session.js';
import { loadCorpus } from '../../boot/images.js';
import { corpusFile } from '../../kernels/corpus.js';
import { GUARD } from './windows.js';

const APERTURE = 4 << 20;
const MEMORY = 128n << 20n;
const binary = findProgram('qemu-system-x86_64');

/** The guest's memory, of which the host never sees more than the aperture: a callback maps another part in its place. */
async function apertureOn(fd: number, size: number): Promise<MemoryWindow & { close(): void }> {
  const file = await MappedFile.open(`/proc/self/fd/${String(fd)}`);
  return {
    address: 0n,
    size,
    aperture: APERTURE,
    expose: (offset) => file.map(offset, Math.min(APERTURE, size - offset)),
    close: () => file.close(),
  };
}

describe.runIf(process.platform === 'linux' && binary !== null)('a guest behind a 4 MiB aperture', () => {
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
    const layout = ramLayout(plan, 'q35');
    if (layout === null) throw new Error('no q35 for this plan');
    let console = '';
    let told: () => void = () => undefined;
    const done = new Promise<void>((resolve) => (told = resolve));
    const record = new GuestRecord((bytes) => {
      console += Buffer.from(bytes).toString('latin1');
      if (console.includes('INIT-END')) told();
    });
    const session = await QemuSession.start({
      ...{ binary: binary ?? '', type: 'q35', accel: 'tcg', smp: 1, bios: false, extraArgs: [], layout, needed: 0 },
      onConsole: (bytes) => record.console(bytes),
      onEvent: (event) => record.event(event),
    });
    try {
      // What lies around the regions shows whether more than the plan was written.
      const size = Number(layout.low);
      for (const { address, size: length } of plan.regions) {
        const start = Math.max(0, Number(address) - 64);
        session.ram.write(BigInt(start), new Uint8Array(length + 128).fill(GUARD));
      }
      const before = session.ram.read(0n, size);
      const window = await apertureOn(session.ram.fd, size);
      const report = await writeWindow(plan.regions, window, { width });
      window.close();
      expect(report.moves).toBeGreaterThan(4);

      const after = session.ram.read(0n, size);
      for (const { address, size: length, bytes } of plan.regions) {
        before.fill(0, Number(address), Number(address) + length);
        if (bytes !== undefined) before.set(bytes, Number(address));
      }
      expect(Buffer.compare(after, before)).toBe(0);

      await setCpuState(session.gdb, session.ram, plan.cpu, true);
      const guest = new QemuGuest(session, record);
      await Promise.race([done, guest.exited]);
      expect(console).toContain('INIT-OK Linux version');
    } finally {
      await session.stop();
    }
  });
});
