import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const TOOLCHAIN_MISSING = 3;

test('the committed guest code is what its sources build', ({ skip }) => {
  const root = join(import.meta.dirname, '../..');
  const { status, stderr } = spawnSync(process.execPath, ['scripts/guest.mjs', '--check'], {
    cwd: root,
    encoding: 'utf8',
  });
  skip(status === TOOLCHAIN_MISSING, stderr);
  expect(stderr).toBe('');
  expect(status).toBe(0);
});
