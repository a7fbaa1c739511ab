/** Files inside a Debian package: an ar archive (deb(5)) with a compressed tar archive in it. */
import { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import { ByteView, latin1 } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { decompress } from '../compression/decompress.js';
import type { Compression } from '../compression/formats.js';

const AR_MAGIC = '!<arch>\n';
const AR_HEADER = 60;

/** The compression by the member's name: data.tar.xz and so on (deb(5)). */
const DATA_MEMBERS: Readonly<Record<string, Compression>> = {
  'data.tar': 'none',
  'data.tar.gz': 'gzip',
  'data.tar.bz2': 'bzip2',
  'data.tar.lzma': 'lzma',
  'data.tar.xz': 'xz',
  'data.tar.zst': 'zstd',
};

export function isDeb(bytes: Uint8Array): boolean {
  return new ByteView(bytes).startsWith(`${AR_MAGIC}debian-binary`);
}

/** The compressed data member of a package, as a view. */
function dataMember(bytes: Uint8Array): { readonly bytes: Uint8Array; readonly compression: Compression } {
  const view = new ByteView(bytes);
  let at = AR_MAGIC.length;
  while (view.has(at, AR_HEADER)) {
    const header = latin1(view.slice(at, AR_HEADER));
    const name = header.slice(0, 16).replace(/\/?\s*$/, '');
    const size = Number(header.slice(48, 58).trim());
    if (header.slice(58) !== '`\n' || !Number.isSafeInteger(size) || size < 0) break;
    const compression = DATA_MEMBERS[name];
    if (compression !== undefined) return { bytes: view.slice(at + AR_HEADER, size, name), compression };
    at += AR_HEADER + size + (size % 2);
  }
  throw new BootImageError('bad-magic', 'a package without a data archive', { offset: at, field: 'data.tar' });
}

/** The first bytes that `accepts` is asked about. */
const HEAD = 4096;

/**
 * Regular files in a package, in archive order: those whose path and size `wanted` accepts and whose first bytes
 * `accepts` does.
 * @param limit bytes that the data archive may decompress to
 * @throws BootImageError `bad-magic`, `truncated`, `payload-corrupt`, `payload-too-large`
 */
export async function* filesInDeb(
  bytes: Uint8Array,
  wanted: (path: string, size: number) => boolean,
  accepts: (head: Uint8Array) => boolean,
  limit: number,
): AsyncGenerator<{ readonly path: string; readonly bytes: Uint8Array }> {
  const member = dataMember(bytes);
  const tar =
    member.compression === 'none'
      ? member.bytes
      : (await decompress(member.bytes, member.compression, { limit })).bytes;
  const archive = Buffer.from(tar.buffer, tar.byteOffset, tar.byteLength);
  const entries = extract();
  Readable.from(slices(archive)).pipe(entries);
  for await (const entry of entries) {
    const { name, type, size } = entry.header;
    if (type !== 'file' || !wanted(name, size)) {
      entry.resume();
      continue;
    }
    const chunks: Buffer[] = [];
    let keep: boolean | null = null;
    for await (const chunk of entry) {
      if (keep === false) continue;
      chunks.push(chunk as Buffer);
      if (keep === null && chunks.reduce((sum, { length }) => sum + length, 0) >= Math.min(HEAD, size)) {
        keep = accepts(Buffer.concat(chunks).subarray(0, HEAD));
      }
    }
    if (keep === true) yield { path: name.replace(/^\.\//, ''), bytes: Buffer.concat(chunks) };
  }
}

function* slices(archive: Buffer): Generator<Buffer> {
  for (let at = 0; at < archive.length; at += 1 << 20) yield archive.subarray(at, at + (1 << 20));
}
