/** `bzelf boot probe` as a program, and what it makes of a report that is not good. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ProbeListener, probeJson, probeName } from '../../src/cli/probe.js';
import { readProbeReport } from '../../src/probe/report.js';
import { haveQemu } from '../guest/qemu.js';

const program = resolve(import.meta.dirname, '../../bin/bzelf');
const bios = existsSync('/usr/share/seabios/bios.bin');

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function bzelf(args: readonly string[], cwd?: string): Promise<Result> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'], cwd });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (bytes: Buffer) => (stdout += bytes.toString('latin1')));
    child.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
    child.on('close', (status) => done({ status, stdout, stderr }));
  });
}

const STARTS = ['setup', 'decompressor', 'hook', 'kernel'].map((enter) => ({ enter }));

describe('bzelf boot probe', () => {
  it
    .skipIf(!haveQemu || !bios)
    .each([
      ...STARTS.map((start) => ({ ...start, protocol: undefined, bits: 64, found: 'linux64' })),
      { enter: 'decompressor', protocol: 'linux32', bits: 64, found: 'linux64' },
      { enter: 'kernel', protocol: 'pvh', bits: 64, found: 'pvh' },
    ])('in QEMU at the $enter, protocol $protocol', async ({ enter, protocol, bits, found }) => {
    const args = ['boot', 'probe', '--enter', enter, ...(protocol === undefined ? [] : ['--protocol', protocol])];
    const { status, stdout } = await bzelf([...args, '--append', 'hello "probe"', '--json']);
    expect(status).toBe(0);
    expect((JSON.parse(stdout) as { report: unknown }).report).toMatchObject({
      ok: true,
      failed: [],
      bits,
      protocol: found,
      command_line: 'hello "probe"',
    });
  });

  it
    .skipIf(!bios)
    .each([
      ...STARTS.map((start) => ({ ...start, protocol: undefined, found: 'linux32' })),
      { enter: 'kernel', protocol: 'pvh', found: 'pvh' },
    ])('in v86 at the $enter, protocol $protocol', async ({ enter, protocol, found }) => {
    const args = ['--machine', 'v86', '--enter', enter, ...(protocol === undefined ? [] : ['--protocol', protocol])];
    const { status, stdout } = await bzelf(['boot', 'probe', '--memory', '128M', ...args]);
    expect(stdout).toMatch(/bits: 32\r?\n/);
    expect(stdout).toContain(`protocol: ${found}`);
    expect(stdout).toContain('PROBE-END: ok');
    expect(status).toBe(0);
  });

  it('exits 1 when the probe says nothing', async () => {
    const { status, stderr } = await bzelf(['boot', 'probe', '--machine', 'v86', '--timeout', '0.1']);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^bzelf: the guest made no end within 0\.1 s/);
  });

  it('leaves a file of that name its meaning', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-probe-'));
    try {
      writeFileSync(join(folder, 'probe'), 'no kernel');
      const { status, stdout } = await bzelf(['boot', 'probe'], folder);
      expect([status, stdout]).toEqual([1, '']);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('is packed, too', () => {
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-probe-'));
    try {
      const image = join(folder, 'image');
      const args = ['pack', 'probe32', '-o', image, '--compress', 'none', '--layout', 'both'];
      expect(spawnSync(process.execPath, [program, ...args], { stdio: 'ignore' }).status).toBe(0);
      const { stdout } = spawnSync(process.execPath, [program, 'inspect', image, '--json'], { encoding: 'utf8' });
      expect(JSON.parse(stdout)).toMatchObject({
        kind: 'bzImage',
        stage_elf: {},
        vmlinux: { class: 32 },
        problems: [],
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('the report', () => {
  const REPORT =
    'SeaBIOS\r\nPROBE-BEGIN\r\nbits: 64\r\nmemory: 0x0 0x9fc00 1\r\nmemory: 0x100000 0x1ff00000 1\r\n' +
    'command_line: "a \\x22b\\x22"\r\ninitrd: none\r\ncheck.text: ok\r\ncheck.data: FAILED at offset 0x5\r\n' +
    'check.bss: FAILED\r\nPROBE-END: 2 FAILED\r\n';

  it('with a fault is a complaint, and complete only with its last line’s end', () => {
    const listener = new ProbeListener();
    const bytes = Buffer.from(REPORT, 'latin1');
    for (const byte of bytes.subarray(0, -1)) expect(listener.add(Uint8Array.of(byte))).toBe(false);
    expect(listener.complaint).toBe('the probe made no report');
    expect(listener.add(bytes.subarray(-1))).toBe(true);
    expect(listener.complaint).toBe('the probe found wrong: data, bss');
    expect(listener.report?.ok).toBe(false);
  });

  it('is JSON with texts as they were and one entry for each memory range', () => {
    const report = readProbeReport(REPORT);
    expect(report === null ? null : probeJson(report)).toEqual({
      ok: false,
      failed: ['data', 'bss'],
      bits: 64,
      command_line: 'a "b"',
      initrd: null,
      memory: [
        { address: '0x0', size: '0x9fc00', type: 1 },
        { address: '0x100000', size: '0x1ff00000', type: 1 },
      ],
      setup_data: [],
    });
  });

  it('belongs to three names and no others', () => {
    expect(['probe', 'probe32', 'probe64', './probe', 'probe16'].map(probeName)).toEqual([
      'probe',
      'probe32',
      'probe64',
      null,
      null,
    ]);
  });
});
