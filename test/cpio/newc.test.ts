import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { demoInitramfs } from '../../src/cpio/initramfs.js';
import { writeCpio } from '../../src/cpio/newc.js';

const haveCpio = spawnSync('cpio', ['--version']).status === 0;

function list(archive: Uint8Array): string[] {
  const text = execFileSync('cpio', ['-tv', '--quiet'], { input: archive, encoding: 'utf8', env: { TZ: 'UTC' } });
  return text
    .trim()
    .split('\n')
    .map((line) => line.replace(/\s+/g, ' '));
}

describe.skipIf(!haveCpio)('archives, read back by GNU cpio', () => {
  test('types, modes, device numbers and names of every residue mod 4', () => {
    const archive = writeCpio([
      { name: 'd', type: 'directory' },
      { name: 'd/console', type: 'character', mode: 0o600, device: [5, 1] },
      { name: 'd/disk', type: 'block', mode: 0o660, device: [254, 3] },
      { name: 'link', type: 'symlink', mode: 0o777, data: new TextEncoder().encode('d/disk') },
      { name: 'names', type: 'file', data: Uint8Array.of(1) },
    ]);
    expect(list(archive)).toEqual([
      'drwxr-xr-x 2 root root 0 Jan 1 1970 d',
      'crw------- 1 root root 5, 1 Jan 1 1970 d/console',
      'brw-rw---- 1 root root 254, 3 Jan 1 1970 d/disk',
      'lrwxrwxrwx 1 root root 6 Jan 1 1970 link -> d/disk',
      '-rw-r--r-- 1 root root 1 Jan 1 1970 names',
    ]);
  });

  test('contents of every residue mod 4 come back', () => {
    const files = [0, 1, 2, 3, 4, 1021].map((size) => ({
      name: `f${size}`,
      data: Uint8Array.from({ length: size }, (_, i) => (i * 37) & 0xff),
    }));
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-cpio-'));
    try {
      const input = writeCpio(files.map(({ name, data }) => ({ name, type: 'file', data })));
      execFileSync('cpio', ['-i', '--quiet'], { input, cwd: folder });
      for (const { name, data } of files) expect(new Uint8Array(readFileSync(join(folder, name)))).toEqual(data);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('the demonstration initramfs', () => {
  test.each([32, 64] as const)('%i bit: an ELF init of the right class, small', (bits) => {
    const archive = demoInitramfs(bits);
    expect(archive.length).toBeLessThan(2560);
    const elf = Buffer.from(archive).indexOf('\x7fELF', 0, 'latin1');
    expect(archive[elf + 4]).toBe(bits / 32);
  });

  test.skipIf(!haveCpio)('holds what the kernel needs to open the console and run /init', () => {
    expect(list(demoInitramfs(32)).map((line) => line.replace(/ root root.* 1970/, ''))).toEqual([
      'drwxr-xr-x 2 dev',
      'crw------- 1 dev/console',
      'drwxr-xr-x 2 proc',
      '-rwxr-xr-x 1 init',
    ]);
  });
});
