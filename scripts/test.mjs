// `npm test`: set-up, then the tests; says what was skipped and why, and ends with one line of counts.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { ensureSetup, root } from './setup.mjs';

ensureSetup();
const work = mkdtempSync(join(tmpdir(), 'bzelf-test-'));
const report = join(work, 'report.json');
const { status } = spawnSync(
  process.execPath,
  [
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  { cwd: root, stdio: 'inherit' },
);

let counts = null;
try {
  const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
  const tests = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map((test) => ({ ...test, file: relative(root, name) })),
  );
  const count = (...states) => tests.filter((test) => states.includes(test.status)).length;
  // A file that fails before its first test counts as one failure.
  const broken = testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'),
  );
  const skipped = tests.filter((test) => ['skipped', 'pending', 'todo'].includes(test.status));
  if (skipped.length > 0) {
    process.stdout.write('\nSkipped:\n');
    for (const test of skipped) process.stdout.write(`  ${test.file}: ${test.fullName}\n`);
  }
  counts = { passed: count('passed'), failed: count('failed') + broken.length, skipped: skipped.length };
} catch (error) {
  process.stderr.write(`bzelf: no test report: ${error.message}\n`);
}
rmSync(work, { recursive: true, force: true });
if (counts !== null)
  process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
process.exit(counts === null ? 1 : (status ?? 1));
