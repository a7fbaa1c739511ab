// CPU time of `bzelf extract --what raw` as a whole process against the kernel tree's scripts/extract-vmlinux, for every
// compression: on the corpus kernels and on Debian's cloud kernel, recompressed with the native tools.
//
//   node bench/extract.mjs --script EXTRACT-VMLINUX [--runs N]
//
// The script is in Debian's package linux-source-6.1.
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureSetup, root } from '../scripts/setup.mjs';
import { bzelf, cloudKernel, corpusImage, cost, interleaved, row, withScratch } from './measure.mjs';

// The kernel's own flags (scripts/Makefile.lib).
const NATIVE = {
  gzip: ['gzip', '-n', '-9', '-c'],
  bzip2: ['bzip2', '-9', '-c'],
  lzma: ['xz', '--format=lzma', '-9', '-c'],
  xz: ['xz', '--check=crc32', '--x86', '--lzma2=,dict=32MiB', '-c'],
  lzo: ['lzop', '-9', '-c'],
  lz4: ['lz4', '-l', '-9', '-c', '-'],
  zstd: ['zstd', '-22', '--ultra', '-c', '-q'],
};

const { values } = parseArgs({ options: { script: { type: 'string' }, runs: { type: 'string', default: '5' } } });
ensureSetup();
const { decompressPayload, readBootImage, writeSetupField } = await import(join(root, 'dist/index.js'));
const script = values.script ?? process.env.BZELF_EXTRACT_VMLINUX;
if (script === undefined) {
  console.error('extract: give the script with --script (scripts/extract-vmlinux of a kernel tree)');
  process.exit(3);
}

/** The image with its kernel compressed by the native tool. */
async function recompressed(path, format, target) {
  const image = readBootImage(readFileSync(path));
  const { bytes } = await decompressPayload(image);
  const [program, ...args] = NATIVE[format];
  const { stdout, status } = spawnSync(program, args, { input: bytes, maxBuffer: 2 ** 31 - 1 });
  if (status !== 0) throw new Error(`${program} failed`);
  const word = Buffer.alloc(format === 'gzip' ? 0 : 4);
  if (word.length > 0) word.writeUInt32LE(bytes.length);
  const payload = Buffer.concat([stdout, word]);
  const { offset, length } = image.payload;
  const file = Buffer.concat([
    image.file.bytes.subarray(0, offset),
    payload,
    image.file.bytes.subarray(offset + length),
  ]);
  writeSetupField(file, 'payload_length', payload.length);
  writeFileSync(target, file);
}

await withScratch(async (directory) => {
  const runs = Number(values.runs);
  row('extract --what raw, CPU', 'bzelf, s', 'script, s', 'ratio');
  for (const format of Object.keys(NATIVE)) {
    const images = [corpusImage(`k64-${format}`)];
    if (cloudKernel !== null) {
      images.push(join(directory, `cloud-${format}`));
      await recompressed(cloudKernel, format, images.at(-1));
    }
    for (const image of images.filter((path) => path !== null)) {
      const { ours, theirs } = interleaved(
        {
          ours: () => cost(process.execPath, [bzelf, 'extract', image, '--what', 'raw', '-o', join(directory, 'out')]),
          theirs: () => cost('sh', [script, image]),
        },
        runs,
      );
      const what = `${format}, ${(statSync(image).size / 1e6).toFixed(1)} MB`;
      row(what, ours.cpu.toFixed(3), theirs.cpu.toFixed(3), (ours.cpu / theirs.cpu).toFixed(2));
    }
  }
});
