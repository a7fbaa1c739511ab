import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { corpusDirectory } from '../kernels/corpus.js';
import { main } from './main.js';
import { missingPackages, TOOLS } from './tools.js';

const runnable = corpusDirectory !== null && missingPackages([TOOLS.qemu, TOOLS.seabios]).length === 0;

async function run(...args: string[]): Promise<{ status: number; output: string }> {
  let output = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => (output += String(text)) !== '');
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => (output += String(text)) !== '');
  const status = await main(args);
  return { status, output };
}

afterEach(() => void vi.restoreAllMocks());

test('a wrong command line is told from a failed row', async () => {
  expect((await run()).status).toBe(2);
  expect((await run('--only', 'lilo', 'IMAGE')).output).toContain('there is no row lilo');
});

describe.skipIf(!runnable)('one image under QEMU', () => {
  const image = join(corpusDirectory ?? '', 'k32-gzip.bzImage');

  test('a good image passes, and rows that say nothing about it are not run', async () => {
    const { status, output } = await run('--only', 'qemu-kernel,kexec-file', image);
    expect(output).toMatch(/qemu-kernel +16-bit +PASS/);
    expect(output).toMatch(/kexec-file +64-bit +N-A/);
    expect(status).toBe(0);
  });

  test('an image whose setup code halts fails', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-matrix-test-'));
    try {
      const damaged = join(folder, 'image');
      const bytes = readFileSync(image);
      bytes.set([0xeb, 0xfe], 0x200); // jump to itself
      writeFileSync(damaged, bytes);
      const { status, output } = await run('--only', 'qemu-kernel', '--timeout', '4', damaged);
      expect(output).toMatch(/qemu-kernel +16-bit +FAIL.*timed out/);
      expect(status).toBe(1);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
