/** Images that lie: real ones with one header changed and everything else in order. */
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { writeSetupField } from '../../src/bzimage/setup-header.js';
import { compress } from '../../src/compression/compress.js';
import { decompressPayload } from '../../src/kernel/recover.js';
import { readCorpus } from '../kernels/corpus.js';

/**
 * Blanks the kernel's own copy of its .config, so that the payload fits its old place whatever else is changed. Not more:
 * the decompressor works in place, and a much shorter payload would be overwritten before it has been read.
 */
function makeRoom(raw: Buffer): void {
  const start = raw.indexOf('IKCFG_ST');
  if (start >= 0) raw.fill(0, start, raw.indexOf('IKCFG_ED', start));
}

/** `file` with its payload edited and compressed anew; its own setup and decompressor stay as they are. */
export async function withPayload(file: string, edit: (raw: Buffer) => void): Promise<BootImage> {
  const bytes = new Uint8Array(readCorpus(file));
  const image = readBootImage(bytes);
  const { payload } = image;
  if (payload?.compression === undefined || payload.compression === null) throw new Error('no payload');
  const raw = Buffer.from((await decompressPayload(image)).bytes);
  makeRoom(raw);
  edit(raw);
  const stream = await compress(raw, payload.compression);
  // Behind all but gzip, whose own trailer says it, stands the size of what comes out.
  const sizeWord = Buffer.alloc(payload.compression === 'gzip' ? 0 : 4);
  if (sizeWord.length > 0) sizeWord.writeUInt32LE(raw.length);
  const fresh = Buffer.concat([stream, sizeWord]);
  if (fresh.length > payload.length) throw new Error('the payload grew');
  bytes.set(fresh, payload.offset);
  writeSetupField(bytes, 'payload_length', fresh.length);
  return readBootImage(bytes);
}
