/** What becomes of results and remarks that cannot be written, and of files when a signal ends the program. */
import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { corpusFile } from '../kernels/corpus.js';

const program = resolve(import.meta.dirname, '../../bin/bzelf');
const kernel = corpusFile('k32-gzip.bzImage');

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the program with standard output (1) or standard error (2) on a device that is full. */
function runFull(full: 1 | 2, args: readonly string[]): Result {
  const fd = openSync('/dev/full', 'w');
  try {
    return spawnSync(process.execPath, [program, ...args], {
      stdio: ['ignore', full === 1 ? fd : 'pipe', full === 2 ? fd : 'pipe'],
      encoding: 'utf8',
    });
  } finally {
    closeSync(fd);
  }
}

describe.skipIf(kernel === null || !existsSync('/dev/full'))('a full device', () => {
  const image = kernel ?? '';

  it.each([
    ['plan', image],
    ['plan', '--json', image],
    ['inspect', '--no-payload', image],
    ['inspect', '--no-payload', '--json', image],
    ['verify', image],
    ['verify', '--list'],
    ['scan', image],
    ['extract', image],
    ['pack', image, '-o', '-'],
    ['boot', image, '--until', 'Linux version'],
    ['--help'],
    ['--version'],
  ])('as standard output is one line and status 3: %s %s', (...args) => {
    const { status, stderr } = runFull(1, args);
    expect(stderr.split('\n').filter((line) => line.startsWith('bzelf: '))).toEqual([
      'bzelf: standard output: no space left on the device; send it elsewhere',
    ]);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(status).toBe(3);
  });

  it('as standard error changes nothing', () => {
    expect(runFull(2, ['boot', '/nonexistent/image']).status).toBe(3);
    expect(runFull(2, ['plan', '--nonsense']).status).toBe(2);
    const booted = runFull(2, ['boot', image, '--until', 'Linux version', '--timing']);
    expect(booted.stdout).toContain('Linux version');
    expect(booted.status).toBe(0);
  });

  it('has nothing to say where the reader of a pipe has gone', () => {
    const { stderr, status } = spawnSync(
      'sh',
      ['-c', '"$0" "$1" inspect "$2" | true', process.execPath, program, image],
      {
        encoding: 'utf8',
      },
    );
    expect([status, stderr]).toEqual([0, '']);
  });
});

describe.skipIf(kernel === null)('a signal', () => {
  const image = kernel ?? '';
  let inputs = '';
  let folder = '';
  let initrd = '';
  beforeAll(() => {
    inputs = mkdtempSync(join(tmpdir(), 'bzelf-inputs-'));
    initrd = join(inputs, 'initrd');
    writeFileSync(initrd, new Uint8Array(384 << 20).fill(1));
  });
  afterAll(() => rmSync(inputs, { recursive: true, force: true }));
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'bzelf-signal-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Sends the signal as soon as a file appears beside the target. */
  async function interrupt(name: NodeJS.Signals, args: readonly string[]): Promise<NodeJS.Signals | null> {
    const before = readdirSync(folder).length;
    const child = spawn(process.execPath, [program, ...args], { stdio: 'ignore' });
    const ended = new Promise<NodeJS.Signals | null>((done) => child.on('exit', (_status, signal) => done(signal)));
    while (child.exitCode === null && readdirSync(folder).length === before) await sleep(1);
    child.kill(name);
    return ended;
  }

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const)(
    '(%s) while a RAM image is written leaves the old one and nothing else',
    async (name) => {
      const ram = join(folder, 'ram');
      writeFileSync(ram, 'old');
      expect(await interrupt(name, ['plan', '--memory', '1G', '--initrd', initrd, '--ram', ram, image])).toBe(name);
      expect(readdirSync(folder)).toEqual(['ram']);
      expect(readFileSync(ram, 'utf8')).toBe('old');
    },
  );

  it('while an image is packed leaves no temporary file', async () => {
    const packed = join(folder, 'packed');
    const args = ['pack', '--compress', 'none', '--initrd', initrd, '-o', packed, image];
    expect(await interrupt('SIGTERM', args)).toBe('SIGTERM');
    expect(readdirSync(folder).filter((name) => name !== 'packed')).toEqual([]);
  });

  it('of the limit on file sizes is an error like others', () => {
    const command = 'ulimit -f 1000; exec "$0" "$1" plan --ram "$2" "$3"';
    const ram = join(folder, 'ram');
    const { status, stderr } = spawnSync('sh', ['-c', command, process.execPath, program, ram, image], {
      encoding: 'utf8',
    });
    expect(stderr).toBe(`bzelf: ${ram}: larger than a file may be; choose another file\n`);
    expect(status).toBe(3);
    expect(readdirSync(folder)).toEqual([]);
  });
});
