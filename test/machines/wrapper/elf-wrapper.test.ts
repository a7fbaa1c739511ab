/** One file, started by loaders of other projects. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { pcMemoryMap } from '../../../src/boot/memory-map.js';
import type { BootPlan } from '../../../src/boot/plan.js';
import { planBoot } from '../../../src/boot/plan-boot.js';
import type { PlanRequest } from '../../../src/boot/request.js';
import { demoInitramfs } from '../../../src/cpio/initramfs.js';
import { wrapPlan } from '../../../src/machines/wrapper/elf-wrapper.js';
import { loadCorpus } from '../../boot/images.js';
import { haveQemu, runQemu } from '../../guest/qemu.js';
import { corpusFile } from '../../kernels/corpus.js';
import { grubIso } from '../../matrix/media.js';

const MEMORY = 256;
const LINE = 'console=ttyS0 panic=-1 a_word_of_ours';
const haveCorpus = corpusFile('k32-gzip.bzImage') !== null;
const haveGrub =
  spawnSync('grub-mkrescue', ['--version']).status === 0 && spawnSync('xorriso', ['-version']).status === 0;

async function plan(name: string, more: Partial<PlanRequest> & Pick<PlanRequest, 'stage'>): Promise<BootPlan> {
  const { image, vmlinux } = await loadCorpus(`${name}.bzImage`);
  return planBoot(image, vmlinux, {
    memory: pcMemoryMap(BigInt(MEMORY) << 20n),
    commandLine: LINE,
    initrd: demoInitramfs(vmlinux.bits),
    ...more,
  });
}

function expectUserSpace(console: string): void {
  expect(console).toContain('INIT-OK Linux version 6.1');
  expect(console).toContain('INIT-END');
  expect(console).toContain(LINE);
}

const STARTS: readonly (readonly [string, Partial<PlanRequest> & Pick<PlanRequest, 'stage'>])[] = [
  ['k32-gzip', { stage: 'kernel' }],
  ['k32-gzip', { stage: 'kernel', protocol: 'pvh', kaslr: { seed: 'w' } }],
  ['k32-gzip', { stage: 'decompressor' }],
  ['k64-gzip', { stage: 'kernel', kaslr: { seed: 'w' } }],
  ['k64-gzip', { stage: 'decompressor', protocol: 'linux64' }],
];

describe.skipIf(!haveCorpus)('a wrapped plan', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bzelf-wrapper-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.skipIf(!haveQemu).each(STARTS)('of %s (%o), by QEMU’s multiboot loader', async (name, request) => {
    expectUserSpace(await runQemu({ kernel: wrapPlan(await plan(name, request)) }, /INIT-END/));
  });

  it.skipIf(!haveQemu)('by QEMU’s PVH loader', async () => {
    const file = wrapPlan(await plan('k64-gzip', { stage: 'kernel' }));
    // QEMU prefers multiboot: hide it.
    const magic = Buffer.from(file.buffer).indexOf(Buffer.of(0x02, 0xb0, 0xad, 0x1b));
    expect(magic % 4).toBe(0);
    file[magic] = 0;
    expectUserSpace(await runQemu({ kernel: file }, /INIT-END/));
  });

  it.skipIf(!haveQemu || !haveGrub)('by GRUB', async () => {
    const path = join(folder, 'plan.elf');
    writeFileSync(path, wrapPlan(await plan('k32-gzip', { stage: 'kernel' })));
    const iso = grubIso(folder, 'multiboot /plan.elf', { 'plan.elf': { path } });
    expectUserSpace(await runQemu({ cdrom: iso }, /INIT-END/));
  });

  it('by v86’s multiboot loader', async () => {
    const file = wrapPlan(await plan('k32-gzip', { stage: 'kernel' }));
    const { V86 } = await import('v86');
    const wasm = await readFile(createRequire(import.meta.url).resolve('v86/build/v86.wasm'));
    const emulator = new V86({
      wasm_fn: async (imports: WebAssembly.Imports) => (await WebAssembly.instantiate(wasm, imports)).instance.exports,
      memory_size: MEMORY << 20,
      multiboot: { buffer: file.buffer as ArrayBuffer },
      autostart: true,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
    });
    let console = '';
    await new Promise<void>((resolve) => {
      emulator.add_listener('serial0-output-byte', (byte: number) => {
        console += String.fromCharCode(byte);
        if (console.includes('INIT-END')) resolve();
      });
    });
    await emulator.destroy();
    expectUserSpace(console);
  });

  it('is an ELF file for other readers', async () => {
    const path = join(folder, 'read.elf');
    const wrapped = wrapPlan(await plan('k64-gzip', { stage: 'kernel' }));
    writeFileSync(path, wrapped);
    const { stdout, status, stderr } = spawnSync('readelf', ['-hln', path], { encoding: 'utf8' });
    expect(status).toBe(0);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/Class:\s+ELF32/);
    expect(stdout).toMatch(/Xen\s+0x00000004\s+.*0x00000012/);
    expect(stdout).toMatch(/LOAD\s+0x000000 0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ 0x[0-9a-f]+ RWE/);
  });

  it('is refused where it could not start', async () => {
    await expect(plan('k32-gzip', { stage: 'setup' }).then(wrapPlan)).rejects.toMatchObject({ code: 'unsupported' });
    const tight = plan('k32-gzip', {
      stage: 'kernel',
      memory: pcMemoryMap(21n << 20n),
      initrd: new Uint8Array(14 << 20),
    });
    await expect(tight.then(wrapPlan)).rejects.toMatchObject({ code: 'does-not-fit' });
    const high = plan('k64-gzip', {
      stage: 'kernel',
      memory: [
        { address: 0n, size: 0x9fc00n, type: 'ram' },
        { address: 0x100000n, size: 0x400000n, type: 'ram' },
        { address: 1n << 32n, size: 256n << 20n, type: 'ram' },
      ],
    });
    await expect(high.then(wrapPlan)).rejects.toMatchObject({ code: 'unsupported' });
  });
});
