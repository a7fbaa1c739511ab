/** Images of the corpus as the planner takes them, read once. */
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { recoverVmlinux } from '../../src/kernel/recover.js';
import type { Vmlinux } from '../../src/kernel/vmlinux.js';
import { readCorpus } from '../kernels/corpus.js';

export interface Loaded {
  readonly image: BootImage;
  readonly vmlinux: Vmlinux;
}

const cache = new Map<string, Promise<Loaded>>();

async function read(name: string): Promise<Loaded> {
  const image = readBootImage(readCorpus(name));
  return { image, vmlinux: await recoverVmlinux(image) };
}

/** `file` as the manifest names it. */
export function loadCorpus(file: string): Promise<Loaded> {
  let loaded = cache.get(file);
  if (loaded === undefined) cache.set(file, (loaded = read(file)));
  return loaded;
}
