// Relocating a kernel on the host, warm: milliseconds of CPU, and what share of the load it is.
//
//   node bench/relocate.mjs [--runs N] [KERNEL...]
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureSetup, root } from '../scripts/setup.mjs';
import { cloudKernel, corpusImage, median, row } from './measure.mjs';

const { values, positionals } = parseArgs({
  options: { runs: { type: 'string', default: '15' } },
  allowPositionals: true,
});
ensureSetup();
const { placeKernel, readBootImage, recoverVmlinux } = await import(join(root, 'dist/index.js'));

const kernels = positionals.length > 0 ? positionals : [cloudKernel, corpusImage('k64-gzip'), corpusImage('k32-gzip')];
const cpu = (work) => {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
};

row('', 'entries', 'place, ms', 'and relocate', 'difference');
for (const path of kernels.filter((kernel) => kernel !== null && existsSync(kernel))) {
  const vmlinux = await recoverVmlinux(readBootImage(readFileSync(path)));
  const { abs64, inverse32, abs32 } = vmlinux.relocations;
  const move = { physicalDelta: 0x2000000n, virtualDelta: vmlinux.bits === 64 ? 0x4000000n : 0x2000000n };
  const still = [];
  const moved = [];
  for (let i = 0; i < Number(values.runs) + 3; i++) {
    // Both copy the segments: what relocating adds is the difference.
    const copy = cpu(() => placeKernel(vmlinux).forEach(({ bytes }) => new Uint8Array(bytes)));
    const relocate = cpu(() => placeKernel(vmlinux, move));
    if (i >= 3) {
      still.push(copy);
      moved.push(relocate);
    }
  }
  const [a, b] = [median(still), median(moved)];
  row(basename(path), abs64.length + inverse32.length + abs32.length, a.toFixed(1), b.toFixed(1), (b - a).toFixed(1));
}
