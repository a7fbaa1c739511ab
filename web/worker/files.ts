/** Files that the user gave, and what is computed over bytes by the browser's own means. */
import { BootImageError } from '../../src/index.js';

/** Browsers refuse larger buffers; a kernel's size is far lower. */
const READ_LIMIT = 2 ** 31 - 1;

/** @throws BootImageError `file-unreadable` */
export async function readFile(file: File): Promise<Uint8Array<ArrayBuffer>> {
  if (file.size > READ_LIMIT) {
    throw new BootImageError('file-unreadable', `${file.name}: more than 2 GiB`, { hint: 'this is no kernel image' });
  }
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    throw new BootImageError('file-unreadable', `${file.name}: the browser cannot read it`, {
      hint: 'choose a file, no directory, and one that nobody writes to',
      cause: error,
    });
  }
}

/** Hexadecimal; null where the page did not come from https or localhost: browsers then offer no hashes. */
export async function sha256(bytes: Uint8Array): Promise<string | null> {
  const { subtle } = globalThis.crypto as { readonly subtle?: SubtleCrypto };
  if (subtle === undefined) return null;
  const digest = new Uint8Array(await subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
