/** The kernel's configuration, kept in .rodata with CONFIG_IKCONFIG: "IKCFG_ST", a gzip file, "IKCFG_ED" (kernel/configs.c). */
import { ByteView } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { decompress } from '../compression/decompress.js';
import { indexOfBytes } from './search.js';
import type { Vmlinux } from './vmlinux.js';

const START = 'IKCFG_ST';
const END = 'IKCFG_ED';
const GZIP = '\x1f\x8b\x08';
/** A configuration has some 300 KB. */
const LIMIT = 16 << 20;

/** The gzip file with the configuration, shared; null if the kernel has none. */
export function findConfig(vmlinux: Vmlinux): Uint8Array | null {
  const bytes = vmlinux.elfBytes;
  const view = new ByteView(bytes);
  for (let at = indexOfBytes(bytes, START); at >= 0; at = indexOfBytes(bytes, START, at + 1)) {
    const start = at + START.length;
    if (!view.startsWith(GZIP, start)) continue;
    const end = indexOfBytes(bytes, END, start);
    if (end >= 0) return bytes.subarray(start, end);
  }
  return null;
}

/**
 * The .config that the kernel was built with, as text in bytes.
 * @throws BootImageError `not-found-in-image`; `payload-corrupt`, `payload-truncated`, `payload-too-large` if it is damaged
 */
export async function readConfig(vmlinux: Vmlinux): Promise<Uint8Array> {
  const found = findConfig(vmlinux);
  if (found === null) {
    throw new BootImageError('not-found-in-image', 'the kernel does not carry its configuration', {
      field: START,
      hint: 'it was built without CONFIG_IKCONFIG; distributions put the file beside the kernel, as config-RELEASE',
    });
  }
  const { bytes } = await decompress(found, 'gzip', {
    limit: LIMIT,
    base: found.byteOffset - vmlinux.elfBytes.byteOffset,
  });
  return bytes;
}
