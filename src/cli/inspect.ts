/** The `inspect` command: what an image says about itself, as a page or as JSON. */
import { BootImageError } from '../bytes/error.js';
import type { BootImage, Problem } from '../bzimage/boot-image.js';
import { readBootImage } from '../bzimage/read-boot-image.js';
import { readImage } from '../node/files.js';
import { inspectDocument, problemOf, sha256, type Inspection, type Recovered } from './inspect-document.js';
import type { CliIo, CommonOptions } from './io.js';

export interface InspectOptions extends CommonOptions {
  /** Commander's `--no-payload`. */
  readonly payload: boolean;
  readonly limit: number;
}

/** The protocol that made the payload an ELF file. */
const ELF_PAYLOAD_SINCE = 0x0208;

interface Attempt {
  readonly recovered: Recovered | null;
  readonly failure: Problem | null;
}

/** Decompresses and reads the kernel inside; damage becomes a problem, what is missing outside remains an error. */
async function recover(image: BootImage, limit: number): Promise<Attempt> {
  // Loaded only now: without the payload, neither codecs nor readers of the kernel are needed.
  const { decompressPayload, vmlinuxOf } = await import('../kernel/recover.js');
  const { countKallsyms } = await import('../kernel/kallsyms/kallsyms.js');
  const { findConfig } = await import('../kernel/ikconfig.js');
  let recovered: Recovered | null = null;
  try {
    const result = await decompressPayload(image, { limit });
    recovered = {
      uncompressedLength: result.bytes.length,
      sha256: sha256(result.bytes),
      length: result.payload?.length ?? null,
      kernel: null,
    };
    const vmlinux = vmlinuxOf(result, { limit, tolerant: true });
    const kernel = { vmlinux, symbols: countKallsyms(vmlinux), config: findConfig(vmlinux) !== null };
    return { recovered: { ...recovered, kernel }, failure: null };
  } catch (error) {
    if (!(error instanceof BootImageError) || error.blame !== 'image') throw error;
    const failure = problemOf(error);
    // Kernels before 2.08 are raw binaries: nothing is wrong with them.
    const expected = error.code === 'payload-not-elf' && (image.setup?.version ?? 0) < ELF_PAYLOAD_SINCE;
    if (expected) return { recovered, failure: { ...failure, severity: 'note' } };
    return { recovered, failure };
  }
}

/** Everything that is known of an image; the page is drawn from it, the JSON document stands in it. */
export async function inspect(
  image: BootImage,
  options: Pick<InspectOptions, 'payload' | 'limit'>,
): Promise<Inspection> {
  const inner = image.inner === null ? null : await inspect(image.inner, options);
  const holdsKernel = image.payload !== null || image.kind === 'vmlinux';
  const { recovered, failure } =
    options.payload && holdsKernel ? await recover(image, options.limit) : { recovered: null, failure: null };
  return { image, recovered, inner, document: inspectDocument(image, inner?.document ?? null, recovered, failure) };
}

/**
 * Exit status 0 for every file that is recognised, damaged or not; 1 for one that is not.
 * @throws BootImageError `file-not-found`, `file-unreadable`
 */
export async function runInspect(path: string, options: InspectOptions, io: CliIo): Promise<number> {
  const image = readBootImage(readImage(path));
  const inspection = await inspect(image, options);
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
