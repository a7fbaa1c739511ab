/** Inspecting: everything that is known of an image, the kernel inside included. */
import { BootImageError } from '../bytes/error.js';
import type { BootImage, Problem } from '../bzimage/boot-image.js';
import { inspectDocument, problemOf, type InspectDocument, type Recovered } from './inspect-document.js';

export interface InspectRequest {
  /** False leaves the payload alone: no kernel, but also neither codecs nor time. */
  readonly payload: boolean;
  /** Bytes that a payload may decompress to. */
  readonly limit: number;
  /** SHA-256 in hexadecimal, by the platform's own means; null where it has none. */
  readonly sha256: (bytes: Uint8Array) => string | null | Promise<string | null>;
}

export interface Inspection {
  readonly image: BootImage;
  readonly document: InspectDocument;
  /** Null if the payload was not decompressed, or could not be. */
  readonly recovered: Recovered | null;
  /** The kernel inside a unified kernel image. */
  readonly inner: Inspection | null;
}

/** The protocol that made the payload an ELF file. */
const ELF_PAYLOAD_SINCE = 0x0208;

interface Attempt {
  readonly recovered: Recovered | null;
  readonly failure: Problem | null;
}

/** Decompresses and reads the kernel inside; damage becomes a problem, what is missing outside remains an error. */
async function recover(image: BootImage, { limit, sha256 }: InspectRequest): Promise<Attempt> {
  // Loaded only now: without the payload, neither codecs nor readers of the kernel are needed.
  const { decompressPayload, vmlinuxOf } = await import('../kernel/recover.js');
  const { countKallsyms } = await import('../kernel/kallsyms/kallsyms.js');
  const { findConfig } = await import('../kernel/ikconfig.js');
  let recovered: Recovered | null = null;
  try {
    const result = await decompressPayload(image, { limit });
    recovered = {
      uncompressedLength: result.bytes.length,
      sha256: await sha256(result.bytes),
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

/** Everything that is known of an image; pages are drawn from it, the JSON document stands in it. */
export async function inspect(image: BootImage, request: InspectRequest): Promise<Inspection> {
  const inner = image.inner === null ? null : await inspect(image.inner, request);
  const holdsKernel = image.payload !== null || image.kind === 'vmlinux';
  const { recovered, failure } =
    request.payload && holdsKernel ? await recover(image, request) : { recovered: null, failure: null };
  const sha256 = await request.sha256(image.file.bytes);
  const document = inspectDocument(image, sha256, inner?.document ?? null, recovered, failure);
  return { image, recovered, inner, document };
}
