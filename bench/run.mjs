// npm run bench: every benchmark, one after the other. Each can be run by itself, with options: see its first lines.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../scripts/setup.mjs';

const BENCHES = [
  ['Commands', 'bench/commands.mjs'],
  ['Relocation on the host', 'bench/relocate.mjs'],
  ['Extraction against extract-vmlinux', 'bench/extract.mjs'],
  ['Our decompressor against the kernel’s', 'bench/decompressor.mjs'],
  ['To "Linux version" in v86', 'bench/v86/first-line.mjs'],
  ['Injected and conventional starts in QEMU', 'bench/qemu/starts.mjs'],
];

let failed = 0;
for (const [title, file] of BENCHES) {
  if (!existsSync(join(root, file))) continue;
  console.log(`\n${title}  (node ${file})`);
  const { status } = spawnSync(process.execPath, [join(root, file)], { stdio: 'inherit' });
  if (status !== 0) failed++;
}
process.exitCode = failed > 0 ? 1 : 0;
