// Relocating a kernel on the host: every word that its table names, in place. The measure beside it is what cannot be
// saved, copying the same segments once (memcpy), and the plain way, one 64-bit integer (BigInt) a word. Interleaved, medians.
//
//   node bench/relocate/relocate.mjs [--runs N] [--json] [KERNEL...]
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { cachedKernel } from '../../scripts/debian-kernel.mjs';
import { ensureSetup, root } from '../../scripts/setup.mjs';

const WARM_UP = 10;
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Debian's own kernels and the corpus, as far as they are here. */
function defaultKernels() {
  const corpus = process.env.BZELF_KERNELS ?? join(root, '../shared/kernels');
  return [
    cachedKernel('cloud-amd64'),
    cachedKernel('686'),
    ...['k64-gzip', 'k32-gzip'].map((name) => join(corpus, `${name}.bzImage`)),
  ].filter((path) => path !== null && existsSync(path));
}

/** The segments in buffers of their own. */
const copySegments = ({ raw, segments }) =>
  segments.map(({ paddr, offset, filesz }) => ({
    paddr,
    bytes: new Uint8Array(raw.subarray(offset, offset + filesz)),
  }));

/** As one would write it first: 64-bit integers all the way. */
function plainWay({ relocations, segments, bits }, pieces, delta) {
  const map = segments[0].vaddr - segments[0].paddr;
  const views = pieces.map(({ paddr, bytes }) => ({ paddr, bytes, view: new DataView(bytes.buffer) }));
  const each = (words, size, change) => {
    for (const word of words) {
      const address = BigInt.asUintN(bits, BigInt(word)) - map;
      const { paddr, view } = views.find((v) => address >= v.paddr && address < v.paddr + BigInt(v.bytes.length));
      const at = Number(address - paddr);
      if (size === 8) view.setBigUint64(at, view.getBigUint64(at, true) + change, true);
      else view.setUint32(at, Number(BigInt.asUintN(32, BigInt(view.getUint32(at, true)) + change)), true);
    }
  };
  each(relocations.abs32, 4, delta);
  each(relocations.inverse32, 4, -delta);
  each(relocations.abs64, 8, delta);
}

function timed(work) {
  const start = performance.now();
  work();
  return performance.now() - start;
}

async function measure(path, runs, { applyRelocations, readBootImage, recoverVmlinux }) {
  const vmlinux = await recoverVmlinux(readBootImage(readFileSync(path)));
  const { relocations } = vmlinux;
  if (relocations === null) throw new Error(`${basename(path)} has no relocations`);
  const entries = relocations.abs32.length + relocations.inverse32.length + relocations.abs64.length;
  const delta = 0x2000000n;
  const pieces = copySegments(vmlinux);
  const reference = copySegments(vmlinux);
  const target = copySegments(vmlinux);
  const samples = { relocate: [], copy: [], plain: [] };
  for (let run = -WARM_UP; run < runs; run++) {
    const times = {
      relocate: timed(() => applyRelocations(vmlinux, pieces, delta)),
      copy: timed(() => pieces.forEach(({ bytes }, i) => target[i].bytes.set(bytes))),
      plain: timed(() => plainWay(vmlinux, reference, delta)),
    };
    // Both ways must do the same.
    if (run === -WARM_UP && pieces.some(({ bytes }, i) => Buffer.compare(bytes, reference[i].bytes) !== 0)) {
      throw new Error('the two ways differ');
    }
    if (run >= 0) for (const [key, time] of Object.entries(times)) samples[key].push(time);
  }
  const [relocate_ms, copy_ms, plain_ms] = ['relocate', 'copy', 'plain'].map((key) => median(samples[key]));
  return {
    kernel: basename(path),
    runs,
    entries,
    relocate_ms,
    copy_ms,
    plain_ms,
    to_copy: relocate_ms / copy_ms,
    to_plain: plain_ms / relocate_ms,
  };
}

function print({ kernel, runs, entries, relocate_ms, copy_ms, plain_ms, to_copy, to_plain }) {
  console.log(`${kernel}: ${entries.toLocaleString('en')} relocations, medians of ${runs}, warm`);
  console.log(`  relocate in place   ${relocate_ms.toFixed(2).padStart(8)} ms`);
  console.log(
    `  copy the segments   ${copy_ms.toFixed(2).padStart(8)} ms   relocating takes ${to_copy.toFixed(2)} of it`,
  );
  console.log(`  with 64-bit integers${plain_ms.toFixed(2).padStart(8)} ms   ${to_plain.toFixed(1)} x`);
}

const { values, positionals } = parseArgs({
  options: { runs: { type: 'string', default: '31' }, json: { type: 'boolean', default: false } },
  allowPositionals: true,
});
ensureSetup();
const library = await import('../../dist/index.js');
const kernels = positionals.length > 0 ? positionals : defaultKernels();
if (kernels.length === 0) console.error('no kernels: run `npm run kernels`, or name some');
const results = [];
for (const kernel of kernels) {
  const result = await measure(kernel, Number(values.runs), library);
  results.push(result);
  if (!values.json) print(result);
}
if (values.json) console.log(JSON.stringify(results, null, 2));
