// Starts in QEMU (TCG, q35, ACPI in both): injected at the kernel (`bzelf boot`) against conventional (QEMU's own
// -kernel: SeaBIOS, the image's setup, its decompressor). Wall time from the start of the program, host work included;
// CPU time of the QEMU process alone, and of everything. Interleaved, medians, ratios.
//
//   node bench/qemu/starts.mjs [--runs N] [--json] [KERNEL...]
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { cachedKernel } from '../../scripts/debian-kernel.mjs';
import { ensureSetup, root } from '../../scripts/setup.mjs';
import { bzelf, corpusImage, median, withScratch } from '../measure.mjs';

const MEMORY = '512M';
const APPEND = 'console=ttyS0 earlyprintk=serial,ttyS0 panic=-1';
/** What is waited for, on the console. */
const MILESTONES = { 'Linux version': 'Linux version ', 'user space': 'INIT-OK' };
const MEASURES = { wall_ms: 'wall time', qemu_ms: 'QEMU’s CPU time', cpu_ms: 'all CPU time' };

/** CPU milliseconds of all threads of a process so far. */
function cpuOf(pid) {
  const times = readdirSync(`/proc/${pid}/task`).map((task) => {
    try {
      return Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]);
    } catch {
      return 0;
    }
  });
  return times.reduce((sum, time) => sum + time, 0) / 1e6;
}

/** The QEMU that `pid` is, or has started. */
function qemuOf(pid) {
  const comm = readFileSync(`/proc/${pid}/comm`, 'latin1');
  if (comm.startsWith('qemu')) return pid;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean);
  return children.map(qemuOf).find((found) => found !== null) ?? null;
}

/** Runs a program until its console has passed all milestones; what it had cost at each. */
function run(command, args) {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const seen = {};
    let text = '';
    let errors = '';
    child.stderr.on('data', (bytes) => (errors += bytes));
    child.stdout.on('data', (bytes) => {
      text += bytes.toString('latin1');
      for (const [name, words] of Object.entries(MILESTONES)) {
        if (seen[name] !== undefined || !text.includes(words)) continue;
        const qemu = qemuOf(child.pid);
        const qemu_ms = cpuOf(qemu);
        const cpu_ms = qemu === child.pid ? qemu_ms : qemu_ms + cpuOf(child.pid);
        seen[name] = { wall_ms: performance.now() - started, qemu_ms, cpu_ms };
      }
      if (Object.keys(seen).length === Object.keys(MILESTONES).length) child.kill('SIGTERM');
    });
    child.on('close', () => {
      if (Object.keys(seen).length === Object.keys(MILESTONES).length) resolve(seen);
      else reject(new Error(`${command} came to no end: ${errors.trim()} ${text.slice(-400)}`));
    });
  });
}

function waysFor(kernel, initrd) {
  const machine = ['-accel', 'tcg', '-machine', 'q35', '-m', MEMORY, '-nodefaults', '-no-user-config', '-no-reboot'];
  const console = ['-display', 'none', '-vga', 'none', '-serial', 'stdio'];
  const guest = ['-kernel', kernel, '-initrd', initrd, '-append', APPEND];
  const options = ['--machine', 'qemu', '--memory', MEMORY, '--initrd', initrd, '--append', APPEND];
  return {
    conventional: () => run('qemu-system-x86_64', [...machine, ...console, ...guest]),
    injected: () => run(process.execPath, [bzelf, 'boot', kernel, ...options]),
  };
}

async function measure(kernel, bits, runs, note) {
  return withScratch(async (scratch) => {
    const initrd = join(scratch, 'initramfs');
    const { demoInitramfs } = await import('../../dist/index.js');
    writeFileSync(initrd, demoInitramfs(bits));
    const samples = { conventional: [], injected: [] };
    for (let i = 0; i < runs; i++) {
      for (const [way, start] of Object.entries(waysFor(kernel, initrd))) {
        samples[way].push(await start());
        note(`${basename(kernel)} ${way} ${i + 1}/${runs}`);
      }
    }
    const rows = Object.keys(MILESTONES).flatMap((milestone) =>
      Object.keys(MEASURES).map((key) => {
        const [conventional, injected] = ['conventional', 'injected'].map((way) =>
          median(samples[way].map((sample) => sample[milestone][key])),
        );
        return { milestone, measure: key, conventional, injected, ratio: injected / conventional };
      }),
    );
    return { kernel: basename(kernel), runs, rows, kaslr: kaslrCost(kernel, initrd, runs) };
  });
}

/** What host KASLR adds to the host's own work: reading, decompressing, relocating, placing; and to all its CPU time. */
function kaslrCost(kernel, initrd, runs) {
  const load = (more) => {
    const options = ['--machine', 'qemu', '--initrd', initrd, '--until', 'Linux version', '--timing', ...more];
    const { stderr } = spawnSync(process.execPath, [bzelf, 'boot', kernel, '--append', APPEND, ...options], {
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const { host_ms, cpu_ms } = JSON.parse(stderr.trim().split('\n').at(-1));
    return { host_ms: Object.values(host_ms).reduce((sum, time) => sum + time, 0), host_cpu_ms: cpu_ms };
  };
  const samples = { fixed: [], random: [] };
  for (let i = 0; i < runs; i++) {
    samples.fixed.push(load([]));
    samples.random.push(load(['--kaslr']));
  }
  return Object.keys(samples.fixed[0]).map((key) => {
    const [fixed, random] = ['fixed', 'random'].map((way) => median(samples[way].map((sample) => sample[key])));
    return { measure: key, fixed, random, ratio: random / fixed };
  });
}

function print({ kernel, runs, rows, kaslr }) {
  console.log(`${kernel} in QEMU, injected against conventional, medians of ${runs}`);
  for (const { milestone, measure: key, conventional, injected, ratio } of rows) {
    const cells = [conventional, injected].map((value) => `${Math.round(value)} ms`.padStart(12));
    console.log(`  ${`to ${milestone}, ${MEASURES[key]}`.padEnd(38)}${cells.join('')}${ratio.toFixed(2).padStart(8)}`);
  }
  for (const { measure: key, fixed, random, ratio } of kaslr) {
    const cells = [fixed, random].map((value) => `${Math.round(value)} ms`.padStart(12));
    const what = `the host's ${key === 'host_ms' ? 'load' : 'CPU time'}, KASLR off and on`;
    console.log(`  ${what.padEnd(38)}${cells.join('')}${ratio.toFixed(3).padStart(8)}`);
  }
}

ensureSetup();
const { values, positionals } = parseArgs({
  options: { runs: { type: 'string', default: '5' }, json: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const known = [
  [process.env.BZELF_CLOUD ?? cachedKernel('cloud-amd64') ?? corpusImage('k64-lz4'), 64],
  [cachedKernel('686') ?? corpusImage('k32-xz'), 32],
].filter(([path]) => path !== null);
const { readBootImage } = await import(join(root, 'dist/index.js'));
const bitsOf = (path) => {
  const { setup } = readBootImage(new Uint8Array(readFileSync(path)));
  return ((setup?.values.xloadflags ?? 0) & 1) === 0 ? 32 : 64;
};
const kernels = positionals.length > 0 ? positionals.map((path) => [path, bitsOf(path)]) : known;
if (spawnSync('qemu-system-x86_64', ['--version']).status !== 0 || kernels.length === 0) {
  console.error('bench: this needs qemu-system-x86_64 and a kernel (npm run kernels)');
  process.exitCode = 3;
} else {
  const results = [];
  for (const [kernel, bits] of kernels) {
    results.push(await measure(kernel, bits, Number(values.runs), (line) => console.error(`bench: ${line}`)));
  }
  if (values.json) console.log(JSON.stringify(results, null, 2));
  else results.forEach(print);
}
