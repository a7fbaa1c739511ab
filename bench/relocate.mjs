// Relocating a kernel on the host: every word that its table names, in the buffer that the decompressor left. CPU time of
// the first time in a process, compilation included, and once warm; beside it what copying the segments costs, and the
// plain way, one 64-bit integer (BigInt) a word. Interleaved processes, medians.
//
//   node bench/relocate.mjs [--runs N] [--json] [KERNEL...]
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cachedKernel } from '../scripts/debian-kernel.mjs';
import { ensureSetup, root } from '../scripts/setup.mjs';
import { cloudKernel, corpusImage, median, row } from './measure.mjs';

const MOVE = 0x2000000n;
const WARM = 20;

const { values, positionals } = parseArgs({
  options: {
    runs: { type: 'string', default: '11' },
    json: { type: 'boolean', default: false },
    sample: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

/** Milliseconds of CPU. */
function cpu(work) {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** As one would write it first. */
function plainWay({ relocations, bits }, pieces, delta) {
  const map = bits === 64 ? 0xffffffff80000000n : 0xc0000000n;
  const views = pieces.map(({ paddr, bytes }) => ({
    paddr,
    end: paddr + BigInt(bytes.length),
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
  }));
  const each = (words, size, change) => {
    for (const word of words) {
      const address = BigInt.asUintN(bits, BigInt(word)) - map;
      const { paddr, view } = views.find((v) => address >= v.paddr && address < v.end);
      const at = Number(address - paddr);
      if (size === 8) view.setBigUint64(at, view.getBigUint64(at, true) + change, true);
      else view.setUint32(at, Number(BigInt.asUintN(32, BigInt(view.getUint32(at, true)) + change)), true);
    }
  };
  each(relocations.abs32, 4, delta);
  each(relocations.inverse32, 4, -delta);
  each(relocations.abs64, 8, delta);
}

/** What one fresh process measures. */
async function sample(path) {
  const { applyRelocations, readBootImage, recoverVmlinux } = await import(join(root, 'dist/index.js'));
  const vmlinux = await recoverVmlinux(readBootImage(readFileSync(path)));
  const pieces = vmlinux.segments.map(({ paddr, offset, filesz }) => ({
    paddr,
    bytes: vmlinux.raw.subarray(offset, offset + filesz),
  }));
  const { abs64, inverse32, abs32 } = vmlinux.relocations;
  const relocate = () => applyRelocations(vmlinux, pieces, MOVE);
  const first = cpu(relocate);
  const warm = median(Array.from({ length: WARM }, () => cpu(relocate)));
  const copy = cpu(() => pieces.map(({ bytes }) => new Uint8Array(bytes)));
  const plain = cpu(() => plainWay(vmlinux, pieces, MOVE));
  return { entries: abs64.length + inverse32.length + abs32.length, first, warm, copy, plain };
}

function sampleApart(path) {
  const args = [fileURLToPath(import.meta.url), '--sample', path];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${basename(path)}: ${stderr}`);
  return JSON.parse(stdout);
}

if (values.sample) console.log(JSON.stringify(await sample(positionals[0])));
else {
  ensureSetup();
  const known = [cloudKernel, cachedKernel('686'), corpusImage('k64-gzip'), corpusImage('k32-xz')];
  const kernels = (positionals.length > 0 ? positionals : known).filter((path) => path !== null && existsSync(path));
  const samples = new Map(kernels.map((path) => [path, []]));
  for (let run = 0; run < Number(values.runs); run++) {
    for (const path of kernels) samples.get(path).push(sampleApart(path));
  }
  const results = kernels.map((path) => ({
    kernel: basename(path),
    ...Object.fromEntries(
      ['entries', 'first', 'warm', 'copy', 'plain'].map((key) => [key, median(samples.get(path).map((s) => s[key]))]),
    ),
  }));
  if (values.json) console.log(JSON.stringify(results, null, 2));
  else {
    row('CPU, ms', 'entries', 'first', 'warm', 'copy', 'plain way');
    for (const { kernel, entries, ...times } of results) {
      row(kernel, entries, ...Object.values(times).map((time) => time.toFixed(2)));
    }
  }
}
