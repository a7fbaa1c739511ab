import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BootImageError } from '../../src/bytes/error.js';
import { readImage, writeFileAtomically } from '../../src/node/files.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'bzelf-files-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function codeOf(action: () => void): string {
  try {
    action();
  } catch (error) {
    if (error instanceof BootImageError) return error.code;
    throw error;
  }
  return 'no error';
}

describe('readImage', () => {
  it('reads a regular file whole', () => {
    const bytes = Uint8Array.from({ length: 3_000_000 }, (_, i) => i * 7);
    writeFileSync(join(directory, 'a'), bytes);
    expect(Buffer.compare(readImage(join(directory, 'a')), bytes)).toBe(0);
  });

  it('reads a pipe of unknown length', () => {
    const fifo = join(directory, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const size = 2_500_000;
    execFileSync('sh', ['-c', `head -c ${size} /dev/zero > "$0" &`, fifo], { stdio: 'ignore' });
    expect(readImage(fifo)).toHaveLength(size);
  });

  it('tells missing from unreadable', () => {
    expect(codeOf(() => readImage(join(directory, 'none')))).toBe('file-not-found');
    expect(codeOf(() => readImage(directory))).toBe('file-unreadable');
    symlinkSync(join(directory, 'loop'), join(directory, 'loop'));
    expect(codeOf(() => readImage(join(directory, 'loop')))).toBe('file-unreadable');
  });

  it.skipIf(process.getuid?.() === 0)('reports a file without read permission', () => {
    writeFileSync(join(directory, 'secret'), 'x');
    chmodSync(join(directory, 'secret'), 0);
    expect(codeOf(() => readImage(join(directory, 'secret')))).toBe('file-unreadable');
  });
});

describe('writeFileAtomically', () => {
  it('replaces a symbolic link instead of following it', () => {
    const victim = join(directory, 'victim');
    const link = join(directory, 'link');
    writeFileSync(victim, 'old');
    symlinkSync(victim, link);
    writeFileAtomically(link, Buffer.from('new'));
    expect(readFileSync(victim, 'utf8')).toBe('old');
    expect(lstatSync(link).isSymbolicLink()).toBe(false);
    expect(readFileSync(link, 'utf8')).toBe('new');
  });

  it('leaves the old file and nothing else when filling fails', () => {
    const target = join(directory, 'target');
    writeFileSync(target, 'old');
    expect(
      codeOf(() =>
        writeFileAtomically(target, () => {
          throw Object.assign(new Error('full'), { code: 'ENOSPC' });
        }),
      ),
    ).toBe('file-unwritable');
    expect(readFileSync(target, 'utf8')).toBe('old');
    expect(readdirSync(directory)).toEqual(['target']);
  });

  it('refuses directories, missing directories and full devices', () => {
    mkdirSync(join(directory, 'd'));
    expect(codeOf(() => writeFileAtomically(join(directory, 'd'), new Uint8Array(1)))).toBe('file-unwritable');
    expect(codeOf(() => writeFileAtomically(join(directory, 'x', 'y'), new Uint8Array(1)))).toBe('file-unwritable');
    expect(existsSync(join(directory, 'x'))).toBe(false);
    expect(codeOf(() => writeFileAtomically('/dev/full', new Uint8Array(4096)))).toBe('file-unwritable');
  });

  it('writes into what is no regular file', () => {
    expect(() => writeFileAtomically('/dev/null', new Uint8Array(10))).not.toThrow();
    expect(lstatSync('/dev/null').isFile()).toBe(false);
  });
});
