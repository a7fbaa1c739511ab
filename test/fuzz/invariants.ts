/** What holds for every BootImage, however damaged the file is. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BootImage, FileRange } from '../../src/bzimage/boot-image.js';

const documented = new Set(
  [
    ...readFileSync(join(import.meta.dirname, '../../docs/format.md'), 'utf8').matchAll(
      /^\| `([a-z0-9-]+)`\s*\| (?:error|warning|note)/gm,
    ),
  ].map(([, id]) => id),
);

/** Throws if something that the reader hands out lies outside the file or is not documented. Cheap: runs thousands of times. */
export function checkInvariants(image: BootImage): void {
  const { length } = image.file;
  const inside = (range: FileRange | null, what: string): void => {
    if (range === null) return;
    const { offset, length: size } = range;
    if (
      !Number.isSafeInteger(offset) ||
      !Number.isSafeInteger(size) ||
      offset < 0 ||
      size < 0 ||
      offset + size > length
    ) {
      throw new Error(`${what} (${offset} + ${size}) lies outside the file of ${length} bytes`);
    }
  };
  inside(image.stages.setup, 'setup');
  inside(image.stages.protected_mode, 'protected_mode');
  inside(image.stages.payload, 'stages.payload');
  inside(image.payload, 'payload');
  image.candidates.forEach((candidate) => inside(candidate, 'candidate'));
  inside(image.kernelInfo, 'kernel_info');
  image.pe?.certificates.forEach((certificate) => inside(certificate, 'certificate'));
  image.pe?.sections.forEach((section) => {
    if (section.inFile && section.length > 0) inside(section, section.name);
  });
  image.pe?.signedFields.forEach((field) => inside(field, 'signed field'));
  inside(image.uki?.linux ?? null, '.linux');
  inside(image.uki?.initrd ?? null, '.initrd');
  if (image.payload !== null && image.payload.compressedLength > image.payload.length) {
    throw new Error('the compressed stream is longer than the payload');
  }
  if (image.description === '') throw new Error('no description');
  for (const { id, message, offset } of image.problems) {
    if (!documented.has(id)) throw new Error(`docs/format.md does not know the problem ${id}`);
    if (message === '') throw new Error(`${id} says nothing`);
    if (offset !== null && (!Number.isSafeInteger(offset) || offset < 0)) throw new Error(`${id} has no real place`);
  }
  if (image.inner !== null) checkInvariants(image.inner);
}
