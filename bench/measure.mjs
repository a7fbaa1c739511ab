// What the benchmarks share: CPU time of whole processes, interleaved runs, medians, the kernels to measure with.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cachedKernel } from '../scripts/debian-kernel.mjs';
import { root } from '../scripts/setup.mjs';

export const corpus = process.env.BZELF_KERNELS ?? join(root, '../shared/kernels');
export const bzelf = join(root, 'bin/bzelf');

/** Debian's 6.1 cloud kernel: BZELF_CLOUD, or the cache that `npm run kernels` fills; null if there is none. */
export const cloudKernel = process.env.BZELF_CLOUD ?? cachedKernel('cloud-amd64');

export const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Runs a program; CPU (user and system) and wall seconds of it and its children. */
export function cost(command, args) {
  const shell = 'TIMEFORMAT="%U %S %R"; exec 3>&2; time "$@" >/dev/null 2>&3';
  const { status, stderr } = spawnSync('bash', ['-c', shell, 'bash', command, ...args], { encoding: 'utf8' });
  const [user, system, wall] = stderr.trim().split('\n').at(-1).split(' ').map(Number);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: status ${status}: ${stderr}`);
  return { cpu: user + system, wall };
}

/** Runs every way `runs` times, in turn; the median of each measure by way. */
export function interleaved(ways, runs) {
  const samples = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (let i = 0; i <= runs; i++) {
    for (const [name, way] of Object.entries(ways)) {
      const sample = way();
      // The first round warms the page cache.
      if (i > 0) samples[name].push(sample);
    }
  }
  return Object.fromEntries(
    Object.entries(samples).map(([name, list]) => [
      name,
      Object.fromEntries(
        Object.keys(list[0]).map((measure) => [measure, median(list.map((sample) => sample[measure]))]),
      ),
    ]),
  );
}

export async function withScratch(work) {
  const directory = mkdtempSync(join(tmpdir(), 'bzelf-bench-'));
  try {
    return await work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export const corpusImage = (name) => {
  const path = join(corpus, `${name}.bzImage`);
  return existsSync(path) ? path : null;
};

export function row(...cells) {
  console.log(cells.map((cell, i) => (i === 0 ? String(cell).padEnd(34) : String(cell).padStart(14))).join(''));
}
