/** Boot images in a file: the file itself, or what a Debian package holds below boot/ and in kernel directories. */
import { closeSync, openSync, readSync } from 'node:fs';
import { ByteView } from '../bytes/byte-view.js';
import type { BootImage, ImageKind } from '../bzimage/boot-image.js';
import { hasSetupMagic } from '../bzimage/setup-header.js';
import { readBootImage } from '../bzimage/read-boot-image.js';
import { ET_DYN, ET_EXEC, EM_386, EM_X86_64, PT_DYNAMIC, PT_INTERP } from '../elf/definitions.js';
import { isElf, readElf } from '../elf/read-elf.js';
import { filesInDeb, isDeb } from './deb.js';
import { readImage } from './files.js';

export interface ScanRow {
  readonly path: string;
  /** The path inside a package; null for a plain file. */
  readonly member: string | null;
  readonly kind: ImageKind;
  readonly description: string;
  readonly size: number;
  readonly protocol: string | null;
  readonly version_string: string | null;
  readonly compression: string | null;
  readonly problems: number;
}

/** A file that could not be looked at. */
export interface ScanFailure {
  readonly path: string;
  readonly error: string;
}

const HEAD = 4096;
/** data.tar of a kernel package with its modules and debug symbols. */
const PACKAGE_LIMIT = 4 * 2 ** 30 - 1;
const SHOWN: ReadonlySet<ImageKind> = new Set(['bzImage', 'zImage', 'vmlinux', 'uki', 'lkrn', 'memtest', 'memdisk']);

/** Whether the first bytes of a file may begin a boot image: cheap, so that whole file systems can be scanned. */
function mayBeImage(head: Uint8Array): boolean {
  const view = new ByteView(head);
  if (hasSetupMagic(view) || view.startsWith('MZ')) return true;
  if (view.has(0x1fe, 2) && view.u16(0x1fe) === 0xaa55) return true;
  if (!isElf(view)) return false;
  try {
    const { header, programHeaders } = readElf(view, { tolerant: true });
    return (
      (header.e_machine === EM_386 || header.e_machine === EM_X86_64) &&
      (header.e_type === ET_EXEC || header.e_type === ET_DYN) &&
      // Programs and libraries, not kernels.
      programHeaders.every(({ p_type }) => p_type !== PT_INTERP && p_type !== PT_DYNAMIC)
    );
  } catch {
    return false;
  }
}

function rowOf(image: BootImage, path: string, member: string | null): ScanRow | null {
  if (!SHOWN.has(image.kind)) return null;
  const kernel = image.inner ?? image;
  return {
    path,
    member,
    kind: image.kind,
    description: image.description,
    size: image.file.length,
    protocol: kernel.setup?.protocol ?? null,
    version_string: kernel.setup?.versionString ?? null,
    compression: kernel.payload?.compression ?? null,
    problems: image.problems.filter(({ severity }) => severity !== 'note').length,
  };
}

function readHead(path: string): Uint8Array {
  const fd = openSync(path, 'r');
  try {
    const head = new Uint8Array(HEAD);
    return head.subarray(0, readSync(fd, head, 0, HEAD, 0));
  } finally {
    closeSync(fd);
  }
}

/** @throws BootImageError or a system error for a file that cannot be read */
export async function scanFile(path: string): Promise<ScanRow[]> {
  const head = readHead(path);
  if (isDeb(head)) {
    const rows: ScanRow[] = [];
    for await (const file of filesInDeb(readImage(path), (_name, size) => size >= 1024, mayBeImage, PACKAGE_LIMIT)) {
      const row = rowOf(readBootImage(file.bytes), path, file.path);
      if (row !== null) rows.push(row);
    }
    return rows;
  }
  if (!mayBeImage(head)) return [];
  const row = rowOf(readBootImage(readImage(path)), path, null);
  return row === null ? [] : [row];
}
