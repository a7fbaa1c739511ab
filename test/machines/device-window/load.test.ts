/** `bzelf load` as a program. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findProgram } from '../../../src/machines/qemu/find-qemu.js';
import { corpusFile } from '../../kernels/corpus.js';
import { guarded, pattern } from './windows.js';

const program = resolve(import.meta.dirname, '../../../bin/bzelf');
const kernel = corpusFile('k32-gzip.bzImage');
const MEMORY = 64 << 20;

/** A module loader that has no koffi. */
const WITHOUT_KOFFI = `data:text/javascript,${encodeURIComponent(`
  import { register } from 'node:module';
  register('data:text/javascript,' + encodeURIComponent(
    "export const resolve = async (name, context, next) => { if (name === 'koffi') throw new Error('gone'); return next(name, context); }"));
`)}`;

/** What takes the superuser's right to write every file away; null if that cannot be done. */
const setpriv = findProgram('setpriv');
const withoutOverride = setpriv === null ? null : [setpriv, '--inh-caps=-dac_override', '--bounding-set=-dac_override'];
const asUser = process.getuid?.() === 0 ? withoutOverride : [];

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function bzelf(
  args: readonly string[],
  node: readonly string[] = [],
  wrapper: readonly string[] = [],
): Promise<Result> {
  return new Promise((done) => {
    const [command = '', ...words] = [...wrapper, process.execPath, ...node, program, ...args];
    const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    const text = { stdout: '', stderr: '' };
    child.stdout.on('data', (bytes: Buffer) => (text.stdout += bytes.toString()));
    child.stderr.on('data', (bytes: Buffer) => (text.stderr += bytes.toString()));
    child.on('close', (status) => done({ status, ...text }));
  });
}

interface Document {
  readonly regions: readonly { address: string; size: number; bytes: number }[];
  readonly window: { written: number; verified: number; moves: number };
}

describe.runIf(kernel !== null && process.platform === 'linux')('bzelf load', () => {
  const image = kernel ?? '';
  let work = '';
  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'bzelf-load-'));
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));
  const file = (name: string, content: Uint8Array): string => {
    const path = join(work, name);
    writeFileSync(path, content);
    return path;
  };

  const sparse = (name: string): string => {
    const path = file(name, new Uint8Array(0));
    truncateSync(path, MEMORY);
    return path;
  };

  it('leaves in a window what plan --ram leaves in a file, and what was there elsewhere', async () => {
    // Names of PCI devices' files have colons; this one has an "@", too.
    const window = file('0000:03:00.0@2', guarded(0x3000 + MEMORY));
    const ram = join(work, 'ram');
    const options = [image, '--memory', '64M', '--append', 'console=ttyS0', '--json'];
    const planned = await bzelf(['plan', ...options, '--ram', ram]);
    const loaded = await bzelf(['load', ...options, '--window', `${window}@0x3000:64M`, '--width', '8']);
    expect([loaded.status, loaded.stderr]).toEqual([0, '']);
    const { window: report, ...plan } = JSON.parse(loaded.stdout) as Document;
    expect(plan).toEqual(JSON.parse(planned.stdout));
    const total = plan.regions.reduce((sum, { size }) => sum + size, 0);
    expect(report).toEqual({ written: total, verified: total, moves: 2 });

    const wanted = guarded(0x3000 + MEMORY);
    const promised = readFileSync(ram);
    for (const { address, size } of plan.regions) {
      wanted.set(promised.subarray(Number(address), Number(address) + size), 0x3000 + Number(address));
    }
    expect(Buffer.compare(readFileSync(window), wanted)).toBe(0);
  });

  it('says how to start the processor', async () => {
    const window = sparse('empty');
    const { status, stdout } = await bzelf(['load', image, '--memory', '64M', '--window', window]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/ written and .* read back; start the processor with\nmode +protected\nrip +0x1000000\n/);
    expect(stdout).toMatch(/^rsi +0x[0-9a-f]+$/m);
    expect(stdout).toMatch(/^cs +selector 0x10, base 0x0, limit 0xffffffff, access 0x[0-9a-f]+$/m);
  });

  it('finds out when the base register moves nothing, and gives it back its value', async () => {
    const window = file('bar', guarded(0x10000));
    const registers = file('registers', pattern(64));
    const places = ['--window', window, '--base-register', `${registers}@8`];
    const { status, stderr, stdout } = await bzelf(['load', image, '--memory', '64M', ...places]);
    expect(stderr).toMatch(/^bzelf: at 0x[0-9a-f]+ \(.*\) the window reads .* the aperture did not move\n$/);
    expect([status, stdout]).toEqual([3, '']);
    expect(Buffer.compare(readFileSync(registers), pattern(64))).toBe(0);
  });

  it.each([
    [
      'a window that is too small',
      ['--memory', '64M', '--window', 'W@0:4M'],
      1,
      /is not inside the window's 0x0-0x400000.*nothing was written/,
    ],
    [
      'a window elsewhere',
      ['--memory', '64M', '--window', 'W', '--window-address', '0x1000'],
      1,
      /not inside the window's 0x1000-/,
    ],
    [
      'edges that are not to be merged',
      ['--memory', '64M', '--window', 'W', '--edges', 'refuse', '--append', 'abcd'],
      1,
      /inside a word of 4/,
    ],
    ['a hook', ['--memory', '64M', '--window', 'W', '--enter', 'hook'], 1, /nobody would answer the hook/],
    ['a file that is not there', ['--window', 'none'], 3, /none: no such file/],
    ['a window over the end', ['--window', 'W@0:1G'], 1, /ends before 0x40000000/],
    ['an offset that is no number', ['--window', 'W', '--window-address', 'here'], 2, /"here" is no offset/],
    ['a register without a place', ['--window', 'W', '--base-register', 'W'], 2, /FILE@OFFSET/],
    ['a width of 3', ['--window', 'W', '--width', '3'], 2, /1, 2, 4, 8/],
    ['no window', [], 2, /--window/],
  ])('refuses %s', async (_name, args, expected, message) => {
    const window = sparse('window');
    const { status, stdout, stderr } = await bzelf(['load', image, ...args.map((word) => word.replace(/^W/, window))]);
    expect(stderr).toMatch(message);
    expect([status, stdout, stderr.trimEnd().split('\n').length]).toEqual([expected, '', 1]);
    // Neither written nor given blocks.
    expect(statSync(window).blocks).toBe(0);
  });

  it.skipIf(asUser === null)('refuses a file that must not be written', async () => {
    const window = file('read-only', guarded(4096));
    chmodSync(window, 0o400);
    const { status, stderr } = await bzelf(['load', image, '--memory', '64M', '--window', window], [], asUser ?? []);
    expect([status, stderr]).toEqual([3, expect.stringContaining('read-only: permission denied')]);
  });

  it('says what to install when koffi is missing', async () => {
    const { status, stderr } = await bzelf(['load', image, '--window', '/dev/null'], ['--import', WITHOUT_KOFFI]);
    expect(stderr).toMatch(/koffi.* is not installed; npm install koffi/);
    expect(status).toBe(3);
  });
});
