/** `bzelf boot` as a program: what it prints, how it ends, and that it does end. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { demoInitramfs } from '../../src/cpio/initramfs.js';
import { corpusFile } from '../kernels/corpus.js';

const program = resolve(import.meta.dirname, '../../bin/bzelf');
const kernel = corpusFile('k32-gzip.bzImage');
const kernel64 = corpusFile('k64-gzip.bzImage');
const old = corpusFile('field/vmlinuz-2.6.24.3');
const haveBios = existsSync('/usr/share/seabios/bios.bin');

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `bzelf boot`; `onOutput` sees everything printed so far and may type or send signals. */
function boot(
  args: readonly string[],
  onOutput: (text: string, child: ReturnType<typeof spawn>) => void = () => undefined,
): Promise<Result> {
  return new Promise((resolveResult) => {
    const child = spawn(process.execPath, [program, 'boot', ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (bytes: Buffer) => {
      stdout += bytes.toString('latin1');
      onOutput(stdout, child);
    });
    child.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
    child.on('close', (status) => resolveResult({ status, stdout, stderr }));
  });
}

const lastLine = (text: string): string => text.trimEnd().split('\n').at(-1) ?? '';

describe.runIf(kernel !== null)('bzelf boot', () => {
  const image = kernel ?? '';
  let work = '';
  let initrd = '';
  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'bzelf-boot-'));
    initrd = join(work, 'initramfs.cpio');
    writeFileSync(initrd, demoInitramfs(32));
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  it('boots to user space, exits 0 when the guest is done, and tells the times last', async () => {
    const { status, stdout, stderr } = await boot([image, '--initrd', initrd, '--timing']);
    expect(stdout).toContain('INIT-OK Linux version');
    expect(stdout).toContain('cmdline console=ttyS0 earlyprintk=serial,ttyS0 panic=-1');
    expect(status).toBe(0);
    const times = JSON.parse(lastLine(stderr)) as Record<string, unknown>;
    expect(Object.keys(times['host_ms'] as object)).toEqual(['read', 'decompress', 'relocate', 'place']);
    for (const name of ['first_output_ms', 'total_ms', 'cpu_ms', 'instructions'])
      expect(times[name]).toBeGreaterThan(0);
    expect(times['total_ms']).toBeGreaterThan(times['first_output_ms'] as number);
  });

  it('passes on what is typed', async () => {
    const append = 'console=ttyS0 panic=-1 bzelf.shell';
    let asked = false;
    const { status, stdout } = await boot([image, '--initrd', initrd, '--append', append], (text, child) => {
      if (asked || !text.endsWith('# ')) return;
      asked = true;
      child.stdin?.write('cat /proc/cmdline\npoweroff\n');
    });
    expect(stdout.split(append).length).toBeGreaterThan(2);
    expect(status).toBe(0);
  });

  it('exits 1 with the last lines when the kernel panics', async () => {
    const { status, stderr } = await boot([image]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^bzelf: the guest stopped: Kernel panic - not syncing: .*init/);
    expect(stderr).toContain('Run /sbin/init as init process');
  });

  it('exits 1 with the last lines when the time is over', async () => {
    const { status, stderr } = await boot([image, '--timeout', '0.5', '--append', 'panic=0', '--timing']);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^bzelf: the guest made no end within 0\.5 s.*--timeout/);
    expect(JSON.parse(lastLine(stderr))).toMatchObject({ first_output_ms: null });
  });

  it('ends successfully at the text that --until waits for; --json is one document on stdout', async () => {
    const { status, stdout, stderr } = await boot([image, '--until', 'Linux version', '--json']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ end: 'text' });
    expect(stderr).toContain('Linux version');
  });

  it('ends on a signal, and says so by its status', async () => {
    let told = false;
    const { status } = await boot(
      [image, '--append', 'console=ttyS0 earlyprintk=serial,ttyS0 panic=0'],
      (_text, child) => {
        if (!told) told = child.kill('SIGTERM');
      },
    );
    expect(status).toBe(128 + 15);
  });

  it.each([
    [
      'a BIOS that is not there',
      [image, '--enter', 'setup', '--bios', '/nonexistent/bios.bin'],
      3,
      /no \/nonexistent\/bios\.bin.*--bios/,
    ],
    ['an image that is not there', ['/nonexistent/image'], 3, /no such file/],
    ['more processors than v86 has', [image, '--machine', 'v86', '--smp', '2'], 2, /--machine qemu/],
    ['a QEMU machine for v86', [image, '--machine', 'v86', '--qemu-machine', 'pc'], 2, /--machine qemu/],
    ['more memory than v86 has', [image, '--machine', 'v86', '--memory', '3G'], 1, /3072 MiB.*--memory 2047M/],
    ['a BIOS for QEMU', [image, '--machine', 'qemu', '--bios', '/nonexistent/bios.bin'], 2, /--bios.*v86/],
  ])('refuses %s', async (_name, args, expected, message) => {
    const { status, stderr, stdout } = await boot(args);
    expect(stderr).toMatch(message);
    expect([status, stdout]).toEqual([expected, '']);
  });

  it.runIf(kernel64 !== null)('sends 64-bit kernels to QEMU', async () => {
    const { status, stderr } = await boot([kernel64 ?? '', '--machine', 'v86']);
    expect([status, stderr]).toEqual([1, expect.stringContaining('use --machine qemu')]);
  });

  it.runIf(kernel64 !== null)('refuses a BIOS for the QEMU that a 64-bit kernel needs', async () => {
    const { status, stderr } = await boot([kernel64 ?? '', '--bios', '/nonexistent/bios.bin']);
    expect([status, stderr]).toEqual([2, expect.stringMatching(/--bios.*v86/)]);
  });

  it.runIf(haveBios && old !== null)('says at the hook where a kernel without an ELF file can be entered', async () => {
    const { status, stderr } = await boot([old ?? '', '--enter', 'hook']);
    expect([status, lastLine(stderr)]).toEqual([
      1,
      expect.stringMatching(/not an ELF file.*; enter it at the setup or/),
    ]);
    expect(stderr).not.toContain('--what');
  });

  it.runIf(haveBios)('answers the hook', async () => {
    const { status, stderr } = await boot([
      image,
      '--enter',
      'hook',
      '--kaslr',
      'seed',
      '--until',
      'Linux version',
      '--timing',
    ]);
    expect(status).toBe(0);
    const times = JSON.parse(lastLine(stderr)) as { host_ms: { decompress: number } };
    expect(times.host_ms.decompress).toBeGreaterThan(0);
  });
});
