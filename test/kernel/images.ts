/** Kernels of the corpus, read; and what native tools say about ELF files. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { readVmlinux } from '../../src/kernel/read-vmlinux.js';
import { decompressPayload } from '../../src/kernel/recover.js';
import type { Vmlinux } from '../../src/kernel/vmlinux.js';
import { corpusFile } from '../kernels/corpus.js';

const raws = new Map<string, Promise<Uint8Array>>();

/** Everything that an image of the corpus decompresses to; shared, do not write. */
export function rawKernel(name: string): Promise<Uint8Array> {
  let raw = raws.get(name);
  if (raw === undefined) {
    const path = corpusFile(`${name}.bzImage`);
    if (path === null) throw new Error(`${name} is not in the corpus`);
    raw = decompressPayload(readBootImage(readFileSync(path))).then(({ bytes }) => bytes);
    raws.set(name, raw);
  }
  return raw;
}

export async function corpusKernel(name: string): Promise<Vmlinux> {
  return readVmlinux(await rawKernel(name));
}

/** A file of the corpus that xz packed ("vmlinux-k64.xz"), unpacked by the native tool. */
export function unpackedCorpus(name: string): Uint8Array {
  const path = corpusFile(name);
  if (path === null) throw new Error(`${name} is not in the corpus`);
  return execFileSync('xz', ['-dc', path], { maxBuffer: 1 << 28 });
}

export const haveTool = (name: string): boolean => spawnSync(name, ['--version']).status === 0;
export const haveXz = haveTool('xz');
export const haveBinutils = haveTool('readelf') && haveTool('nm');

/** What a tool prints (warnings last) about a file with these bytes; `FILE` in the arguments stands for its name. */
export function toolOutput(tool: string, args: readonly string[], bytes: Uint8Array): string {
  const folder = mkdtempSync(join(tmpdir(), 'bzelf-elf-'));
  try {
    const path = join(folder, 'file');
    writeFileSync(path, bytes);
    const { status, stdout, stderr } = spawnSync(
      tool,
      args.map((arg) => (arg === 'FILE' ? path : arg)),
      { encoding: 'utf8', maxBuffer: 1 << 28, env: { ...process.env, LC_ALL: 'C' } },
    );
    if (status !== 0) throw new Error(`${tool} failed: ${stderr}`);
    return stdout + stderr;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A copy with a change. */
export function changed(bytes: Uint8Array, change: (copy: Uint8Array, view: DataView) => void): Uint8Array {
  const copy = new Uint8Array(bytes);
  change(copy, new DataView(copy.buffer));
  return copy;
}
