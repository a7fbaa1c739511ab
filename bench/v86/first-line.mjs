// From start to "Linux version" in v86: direct injection (`--enter kernel`) against the conventional way (`--enter
// setup`: SeaBIOS, the image's own setup, its own decompressor). Interleaved, medians. The console is on the serial
// port from the first line on in both (earlyprintk); CPU time is that of the whole process, Node's start included.
//
//   node bench/v86/first-line.mjs [--runs N] [--json] [KERNEL...]
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { cachedKernel } from '../../scripts/debian-kernel.mjs';
import { ensureSetup, root } from '../../scripts/setup.mjs';

const WAYS = { direct: 'kernel', conventional: 'setup' };
const MEASURES = { instructions: 'guest instructions', cpu_ms: 'CPU time, ms', total_ms: 'time, ms' };

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Debian's own 32-bit kernel and the corpus, as far as they are here. */
function defaultKernels() {
  const corpus = process.env.BZELF_KERNELS ?? join(root, '../shared/kernels');
  return [cachedKernel('686'), ...['k32-gzip', 'k32-xz'].map((name) => join(corpus, `${name}.bzImage`))].filter(
    (path) => path !== null && existsSync(path),
  );
}

function runOnce(kernel, stage) {
  const args = ['boot', kernel, '--machine', 'v86', '--enter', stage, '--memory', '256M'];
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(root, 'bin/bzelf'), ...args, '--until', 'Linux version', '--timing', '--timeout', '300'],
    { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] },
  );
  if (status !== 0) throw new Error(`${basename(kernel)} by ${stage}: ${stderr.trim()}`);
  return JSON.parse(stderr.trim().split('\n').at(-1));
}

/** Medians for one kernel, and how many times less the direct way takes. */
function measure(kernel, runs, note = () => {}) {
  const samples = { direct: [], conventional: [] };
  for (let run = 0; run < runs; run++) {
    for (const [way, stage] of Object.entries(WAYS)) {
      samples[way].push(runOnce(kernel, stage));
      note(`${basename(kernel)} ${way} ${run + 1}/${runs}`);
    }
  }
  const rows = Object.keys(MEASURES).map((key) => {
    const [direct, conventional] = ['direct', 'conventional'].map((way) => median(samples[way].map((s) => s[key])));
    return [key, { direct, conventional, ratio: conventional / direct }];
  });
  return { kernel: basename(kernel), runs, ...Object.fromEntries(rows) };
}

function print(result) {
  console.log(`${result.kernel}: from start to "Linux version" in v86, medians of ${result.runs}`);
  for (const [key, title] of Object.entries(MEASURES)) {
    const { direct, conventional, ratio } = result[key];
    const cells = [direct, conventional].map((value) => Math.round(value).toLocaleString('en').padStart(15));
    console.log(`  ${title.padEnd(20)}${cells.join('')}${ratio.toFixed(1).padStart(10)} x`);
  }
}

ensureSetup();
const { values, positionals } = parseArgs({
  options: { runs: { type: 'string', default: '5' }, json: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const kernels = positionals.length > 0 ? positionals : defaultKernels();
if (kernels.length === 0) console.error('bench: no 32-bit kernel here: npm run kernels, or name one');
const results = kernels.map((kernel) =>
  measure(kernel, Number(values.runs), (line) => console.error(`bench: ${line}`)),
);
if (values.json) console.log(JSON.stringify(results, null, 2));
else results.forEach(print);
process.exitCode = kernels.length > 0 ? 0 : 3;
