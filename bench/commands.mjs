// Whole commands against what they are measured by: the start of Node, extraction, the native compressors.
//
//   node bench/commands.mjs [--runs N]
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureSetup } from '../scripts/setup.mjs';
import { bzelf, cloudKernel, corpusImage, cost, interleaved, row, withScratch } from './measure.mjs';

const { values } = parseArgs({ options: { runs: { type: 'string', default: '7' } } });
const runs = Number(values.runs);
ensureSetup();
const run = (...args) => cost(process.execPath, [bzelf, ...args]);

await withScratch(async (directory) => {
  const out = join(directory, 'out');
  row('', 'ours', 'theirs', 'ratio');
  const image = corpusImage('k64-gzip');
  if (image !== null) {
    const start = interleaved(
      {
        ours: () => run('inspect', '--json', '--no-payload', image),
        theirs: () => cost(process.execPath, ['-e', '0']),
      },
      runs,
    );
    row(
      'inspect / node -e 0, wall s',
      start.ours.wall,
      start.theirs.wall,
      (start.ours.wall / start.theirs.wall).toFixed(2),
    );
    const judge = interleaved(
      { ours: () => run('verify', '--json', image), theirs: () => run('extract', image, '--what', 'raw', '-o', out) },
      runs,
    );
    row(
      'verify / extract raw, CPU s',
      judge.ours.cpu,
      judge.theirs.cpu,
      (judge.ours.cpu / judge.theirs.cpu).toFixed(2),
    );
  }
  if (cloudKernel !== null) {
    const raw = join(directory, 'raw');
    execFileSync(process.execPath, [bzelf, 'extract', cloudKernel, '--what', 'raw', '-o', raw]);
    writeFileSync(out, '');
    const native = {
      gzip: ['gzip', ['-n', '-9', '-c', raw]],
      lz4: ['lz4', ['-l', '-9', '-c', raw]],
      xz: ['xz', ['--check=crc32', '--x86', '--lzma2=,dict=32MiB', '-c', raw]],
      zstd: ['zstd', ['-22', '--ultra', '-q', '-c', raw]],
    };
    for (const [format, [program, args]] of Object.entries(native)) {
      // One run of the slow ones tells enough: they take a minute.
      const pair = interleaved(
        {
          ours: () => run('pack', cloudKernel, '--compress', format, '-o', out),
          theirs: () => cost(program, args),
        },
        format === 'xz' || format === 'zstd' ? 1 : 3,
      );
      row(
        `pack ${format} / ${program}, CPU s`,
        pair.ours.cpu,
        pair.theirs.cpu,
        (pair.ours.cpu / pair.theirs.cpu).toFixed(2),
      );
    }
  }
});
