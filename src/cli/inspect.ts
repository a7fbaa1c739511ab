/** The `inspect` command: what an image says about itself, as a page or as JSON. */
import { createHash } from 'node:crypto';
import { readBootImage } from '../bzimage/read-boot-image.js';
import { inspect } from '../explain/inspect.js';
import { readImage } from '../node/files.js';
import type { CliIo, CommonOptions } from './io.js';

export interface InspectOptions extends CommonOptions {
  /** Commander's `--no-payload`. */
  readonly payload: boolean;
  readonly limit: number;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/**
 * Exit status 0 for every file that is recognised, damaged or not; 1 for one that is not.
 * @throws BootImageError `file-not-found`, `file-unreadable`
 */
export async function runInspect(path: string, options: InspectOptions, io: CliIo): Promise<number> {
  const image = readBootImage(readImage(path));
  const inspection = await inspect(image, { ...options, sha256 });
  if (io.asJson) io.json(inspection.document);
  else {
    const { inspectPage } = await import('./inspect-page.js');
    io.out(inspectPage(path === '-' ? 'standard input' : path, inspection, io));
  }
  if (image.kind !== 'unknown') return 0;
  io.note(
    `bzelf: ${path}: not a boot image (${image.description}); give a bzImage, a vmlinux or a unified kernel image`,
  );
  return 1;
}
