/** What becomes of results and remarks that cannot be written. */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
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
