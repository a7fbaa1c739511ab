/** `bzelf plan`: the document, the picture, and the files that carry a plan elsewhere. */
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseMemoryMap } from '../../src/boot/e820.js';
import { parseMemorySize, pcMemoryMap } from '../../src/boot/memory-map.js';
import { planBoot } from '../../src/boot/plan-boot.js';
import type { PlanDocument } from '../../src/boot/plan-json.js';
import { createIo, type CliIo } from '../../src/cli/io.js';
import { type PlanCommandOptions, runPlan } from '../../src/cli/plan.js';
import { loadCorpus } from '../boot/images.js';
import { readMemory } from '../boot/invariants.js';
import { corpusFile } from '../kernels/corpus.js';

const program = resolve(import.meta.dirname, '../../bin/bzelf');
const kernel = corpusFile('k32-gzip.bzImage');

describe.skipIf(kernel === null)('bzelf plan', () => {
  let folder = '';
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'bzelf-plan-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  interface Run {
    readonly status: number;
    readonly text: string;
    readonly document: PlanDocument | undefined;
  }

  async function run(options: Partial<PlanCommandOptions>, file = 'k32-gzip'): Promise<Run> {
    let text = '';
    let document: PlanDocument | undefined;
    const io: CliIo = {
      ...createIo({ ...options, quiet: true, color: false }),
      width: 100,
      out: (part) => void (text += part),
      json: (value) => void (document = value as PlanDocument),
    };
    const status = await runPlan(
      corpusFile(`${file}.bzImage`) ?? '',
      { memory: '64M', limit: 2 ** 30, ...options },
      io,
    );
    return { status, text, document };
  }

  it('--json: sizes as numbers, addresses as hex strings', async () => {
    const initrd = join(folder, 'initrd');
    writeFileSync(initrd, new Uint8Array(5000));
    const { status, document, text } = await run({ json: true, append: 'quiet', initrd, kaslr: 'seed' });
    expect(status).toBe(0);
    expect(text).toBe('');
    expect(document).toMatchObject({
      stage: 'kernel',
      protocol: 'linux32',
      bits: 32,
      firmware: 'none',
      hook: null,
      cpu: { mode: 'protected', registers: { rsi: '0x10000' }, cr0: '0x11', cs: { selector: '0x10' } },
      facts: { kaslr: { seed: 'seed' }, command_line: { text: 'quiet' }, initrd: { address: '0x3ffe000', size: 5000 } },
    });
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
    expect(parseMemoryMap(JSON.stringify(document))).toEqual(pcMemoryMap(parseMemorySize('64M')));
    const regions = document?.regions ?? [];
    expect(regions.map(({ purpose }) => purpose)).toContain('boot-params');
    for (const region of regions) {
      expect(region.address).toMatch(/^0x[0-9a-f]+$/);
      expect(region.bytes).toBeLessThanOrEqual(region.size);
    }
  });

  it('draws every region with its address', async () => {
    const { text, document } = { ...(await run({})), document: (await run({ json: true })).document };
    for (const { address, label } of document?.regions ?? []) {
      const row = `0x${BigInt(address).toString(16).padStart(8, '0')}`;
      const lines = text.split('\n');
      const at = lines.findIndex((line) => line.startsWith(row));
      expect(at, label).toBeGreaterThan(0);
      expect(lines.slice(at, at + 5).join('\n'), row).toContain(label);
    }
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    expect(text).toContain('esi 0x10000');
    expect(text).not.toContain('\u001b');
  });

  it.each(['setup', 'decompressor', 'hook'] as const)('--enter %s', async (enter) => {
    expect((await run({ enter, json: true })).document).toMatchObject({ stage: enter });
  });

  it('--protocol xen-pv shows the arrangement under Xen’s labels', async () => {
    const { text } = await run({ protocol: 'xen-pv', memory: '256M' }, 'k64-gzip');
    for (const label of ['Loaded kernel', 'Phys-Mach map', 'Start info', 'Page tables', 'Boot stack']) {
      expect(text).toContain(label);
    }
  });

  it('--e820 takes the kernel’s own words', async () => {
    const file = join(folder, 'map');
    writeFileSync(
      file,
      '[ 0.0] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n' +
        '[ 0.0] BIOS-e820: [mem 0x0000000000100000-0x0000000003ffffff] usable\n',
    );
    const { document } = await run({ json: true, e820: file });
    expect(document?.memory).toEqual([
      { address: '0x0', size: 0x9fc00, type: 'ram' },
      { address: '0x100000', size: 0x3f00000, type: 'ram' },
    ]);
  });

  it('--ram is the memory itself, sparse, with the state beside it', async () => {
    const ram = join(folder, 'ram');
    await run({ ram, append: 'quiet' });
    const { size, blocks } = statSync(ram);
    expect(size).toBe(64 << 20);
    expect(blocks * 512).toBeLessThan(8 << 20);
    const { image, vmlinux } = await loadCorpus('k32-gzip.bzImage');
    const plan = planBoot(image, vmlinux, { stage: 'kernel', memory: pcMemoryMap(64n << 20n), commandLine: 'quiet' });
    const fd = openSync(ram, 'r');
    const found = new Uint8Array(0x2000000);
    readSync(fd, found, 0, found.length, 0);
    closeSync(fd);
    expect(Buffer.compare(found, readMemory(plan, 0, found.length, 0))).toBe(0);
    expect(JSON.parse(readFileSync(`${ram}.json`, 'utf8'))).toMatchObject({ cpu: { rip: '0x1000000' } });
  });

  it('a refused plan writes nothing', async () => {
    const ram = join(folder, 'ram');
    const elf = join(folder, 'elf');
    await expect(run({ ram, elf, memory: '8M' })).rejects.toMatchObject({ code: 'does-not-fit' });
    await expect(run({ elf, enter: 'setup' })).rejects.toMatchObject({ code: 'unsupported' });
    expect(existsSync(ram) || existsSync(elf)).toBe(false);
  });

  it('--elf - is the ELF file and nothing else', async () => {
    const elf = join(folder, 'elf');
    await run({ elf });
    const { status, stdout } = spawnSync(
      process.execPath,
      [program, 'plan', kernel ?? '', '--memory', '64M', '--elf', '-'],
      {
        maxBuffer: 1 << 30,
      },
    );
    expect(status).toBe(0);
    expect(Buffer.compare(stdout, readFileSync(elf))).toBe(0);
  });

  it('refuses what standard input and output cannot do', async () => {
    const refused = { code: 'bad-argument' };
    await expect(run({ ram: '-' })).rejects.toMatchObject({ ...refused, message: 'a RAM image needs a file name' });
    await expect(run({ elf: '-', json: true })).rejects.toMatchObject(refused);
    await expect(run({ initrd: '-', e820: '-' })).rejects.toMatchObject({ ...refused, field: '--e820' });
    for (const args of [
      ['plan', '--initrd', '-', '-'],
      ['boot', '--initrd', '-', '-'],
      ['pack', '--initrd', '-', '-o', join(folder, 'packed'), '-'],
    ]) {
      const { status, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8', input: 'x' });
      expect(stderr).toMatch(/^bzelf: image and --initrd cannot both come from standard input .*\n$/);
      expect(status).toBe(2);
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  const small = mkdtempSync(join(tmpdir(), 'bzelf-small-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]).status === 0;
  afterAll(() => {
    if (mounted) spawnSync('umount', [small]);
    rmSync(small, { recursive: true, force: true });
  });

  it.runIf(mounted)('names the file that fills a disk, and leaves nothing of it', async () => {
    const ram = join(small, 'ram');
    await expect(run({ ram })).rejects.toMatchObject({
      code: 'file-unwritable',
      message: `${ram}: no space left on the device`,
    });
    expect(readdirSync(small)).toEqual([]);
  });

  it('names no option that it does not have where a file cannot be written', async () => {
    const hint = 'choose another file';
    for (const file of [join(folder, 'none', 'x'), '/dev/full'])
      await expect(run({ elf: file })).rejects.toMatchObject({ code: 'file-unwritable', hint });
    await expect(run({ ram: join(folder, 'none', 'x') })).rejects.toMatchObject({ code: 'file-unwritable', hint });
    await expect(run({ ram: '/dev/null' })).rejects.toMatchObject({ message: '/dev/null: is no regular file', hint });
  });
});
