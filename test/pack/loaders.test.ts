/**
 * Packed images as others see them: `prove` holds what their stages do against what their headers promise, and boot
 * loaders that we did not write start the packed probe, which tells what it was handed.
 */
import { gzipSync } from 'node:zlib';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { proveImage } from '../../src/machines/prove/prove-image.js';
import { pack } from '../../src/pack/pack.js';
import type { Layout } from '../../src/pack/stage.js';
import { probeImage } from '../../src/probe/image.js';
import { isProved } from '../../src/verify/prove.js';
import { readProbeReport, type ProbeReport } from '../guest/probe-report.js';
import { haveQemu } from '../guest/qemu.js';
import { corpusFile, readCorpus } from '../kernels/corpus.js';
import { bootAndWatch, type Command } from '../matrix/boot.js';
import { ROWS, Skipped, type Row } from '../matrix/rows.js';
import { readSubject } from '../matrix/subject.js';
import { missingPackages } from '../matrix/tools.js';

const MEMORY = pcMemoryMap(512n << 20n);
const LIMIT_SECONDS = 60;

/** Every codec and every layout; the payload of an image with that codec is taken over. */
const PROVED = [
  { codec: 'none', from: 'gzip', layout: 'both' },
  { codec: 'gzip', from: 'gzip', layout: 'payload' },
  { codec: 'lz4', from: 'lz4', layout: 'stage' },
  { codec: 'zstd', from: 'zstd', layout: 'both' },
  { codec: 'xz', from: 'xz', layout: 'stage' },
] as const;

describe.skipIf(!haveQemu)('a packed kernel does what its headers promise', () => {
  const prove = async (file: string, request: Parameters<typeof pack>[1], kaslr: boolean) => {
    const { bytes } = await pack(readBootImage(readCorpus(file)), request);
    return proveImage(readBootImage(bytes), { memory: MEMORY, kaslr, timeout: LIMIT_SECONDS * 1000 });
  };

  describe.each(['k64', 'k32'])('%s', (kernel) => {
    for (const { codec, from, layout } of PROVED) {
      const file = `${kernel}-${from}.bzImage`;
      test.skipIf(corpusFile(file) === null)(`${codec} in layout ${layout}`, async () => {
        const proof = await prove(file, { compression: codec, layout }, false);
        expect(proof.failure).toBeNull();
        expect(proof.kernel?.memory.differences).toEqual([]);
        expect(proof.kernel?.memory.bytesCompared).toBeGreaterThan(3 << 20);
        expect(proof.stage?.memory.differences).toEqual(layout === 'payload' ? undefined : []);
        expect(isProved(proof)).toBe(true);
      });
    }
  });

  test.skipIf(corpusFile('k64-gzip.bzImage') === null)('wherever its decompressor moves it', async () => {
    const proof = await prove('k64-gzip.bzImage', { layout: 'stage' }, true);
    expect(proof.kernel?.move.virtualDelta).not.toBe(0n);
    expect(isProved(proof)).toBe(true);
  });
});

const initrd = Uint8Array.from({ length: 50_001 }, (_, i) => (i * 7919) >> 4);
/** From gzip's trailer: not from the code under test. */
const initrdCrc = `0x${gzipSync(initrd)
  .readUInt32LE(gzipSync(initrd).length - 8)
  .toString(16)}`;

/** Runs a row of the harness with the packed probe; null if something that it needs is not here. */
async function bootProbe(row: Row, bits: 32 | 64, layout: Layout): Promise<ProbeReport | null> {
  const work = mkdtempSync(join(tmpdir(), 'bzelf-loaders-'));
  try {
    const path = join(work, 'kernel');
    writeFileSync(path, (await probeImage(bits, { layout })).file.bytes);
    const bench = { subject: await readSubject(path), initrd: join(work, 'initrd'), work, install: false };
    writeFileSync(bench.initrd, initrd);
    let command: Command;
    try {
      command = row.prepare(bench);
    } catch (error) {
      if (error instanceof Skipped) return null;
      throw error;
    }
    const { console } = await bootAndWatch(command, LIMIT_SECONDS, /PROBE-END: .*\r?\n/);
    return readProbeReport(console);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** What each row's loader calls itself: the upper half of type_of_loader (boot.rst). */
const LOADER_TYPES: Readonly<Record<string, number>> = {
  'qemu-kernel': 0xb,
  'grub-linux': 7,
  'grub-linux16': 7,
  isolinux: 3,
  'kexec-file': 0xd,
};

describe.skipIf(!haveQemu)('a packed probe, started by other people’s loaders', () => {
  const cases = ROWS.filter(({ name }) => name in LOADER_TYPES).flatMap((row) =>
    (row.protocol === '64-bit' ? ([64] as const) : ([64, 32] as const)).flatMap((bits) =>
      (['payload', 'stage'] as const).map((layout) => ({ row, bits, layout })),
    ),
  );
  for (const { row, bits, layout } of cases) {
    const title = `${row.name}, ${bits} bit, layout ${layout}`;
    test.skipIf(missingPackages(row.tools).length > 0)(title, async ({ skip }) => {
      const report = await bootProbe(row, bits, layout);
      if (report === null) return skip(`no ${row.name} here`);
      expect(report.failed).toEqual([]);
      expect(report.get('protocol')).toBe(`linux${bits}`);
      expect(Number(report.get('hdr.type_of_loader')) >> 4).toBe(LOADER_TYPES[row.name]);
      expect(report.get('command_line')).toContain('console=ttyS0,115200');
      expect(report.get('initrd.crc32')).toBe(initrdCrc);
    });
  }

  for (const { name, found } of [
    { name: 'xen-pv-dom0', found: 'xen-pv' },
    { name: 'pvh-extracted', found: 'pvh' },
  ]) {
    const row = ROWS.find((candidate) => candidate.name === name);
    test.skipIf(row === undefined || missingPackages(row.tools).length > 0)(`${name}, 64 bit`, async ({ skip }) => {
      const report = row === undefined ? null : await bootProbe(row, 64, 'payload');
      if (report === null) return skip(`no ${name} here`);
      expect(report.failed).toEqual([]);
      expect(report.get('protocol')).toBe(found);
      expect(report.get('initrd.crc32')).toBe(initrdCrc);
    });
  }
});
