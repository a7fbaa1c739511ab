import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { corpusFile } from '../kernels/corpus.js';

const bzelf = resolve(import.meta.dirname, '../../bin/bzelf');
const scan = (...args: string[]) => spawnSync(process.execPath, [bzelf, 'scan', ...args], { encoding: 'utf8' });
const kernel = corpusFile('k32-xz.bzImage');

describe.skipIf(kernel === null)('scan', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'bzelf-scan-'));
    mkdirSync(join(directory, 'deep/er'), { recursive: true });
    copyFileSync(kernel ?? '', join(directory, 'deep/er/vmlinuz'));
    copyFileSync(process.execPath, join(directory, 'deep/program'));
    writeFileSync(join(directory, 'text'), 'hello');
    writeFileSync(join(directory, 'empty'), '');
    symlinkSync(directory, join(directory, 'deep/loop'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('finds kernels among other files, one document a line, without following links in circles', () => {
    const { stdout, status } = scan(directory, '--json');
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(status).toBe(0);
    expect(rows).toHaveLength(1);
    expect(rows[0]).toMatchObject({ kind: 'bzImage', protocol: '2.15', compression: 'xz', member: null, problems: 0 });
  });

  it.skipIf(spawnSync('dpkg-deb', ['--version']).status !== 0)('looks into packages', () => {
    const root = join(directory, 'package');
    mkdirSync(join(root, 'DEBIAN'), { recursive: true });
    mkdirSync(join(root, 'boot'));
    copyFileSync(kernel ?? '', join(root, 'boot/vmlinuz-1'));
    writeFileSync(
      join(root, 'DEBIAN/control'),
      'Package: k\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: k\n',
    );
    for (const format of ['xz', 'gzip', 'none']) {
      const deb = join(directory, `k-${format}.deb`);
      execFileSync('dpkg-deb', [`-Z${format}`, '--build', root, deb], { stdio: 'ignore' });
      const { stdout } = scan(deb, '--json');
      expect(JSON.parse(stdout)).toMatchObject({ path: deb, member: 'boot/vmlinuz-1', kind: 'bzImage' });
      rmSync(deb);
    }
    rmSync(root, { recursive: true });
  });

  it('says what is missing and what is damaged', () => {
    expect(scan(join(directory, 'none'))).toMatchObject({ status: 3 });
    writeFileSync(join(directory, 'bad.deb'), '!<arch>\ndebian-binary   ');
    const { status, stderr } = scan(join(directory, 'bad.deb'));
    expect(status).toBe(0);
    expect(stderr).toContain('bad.deb');
  });
});
