/** The one module that touches files: reading images and writing results atomically. */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { BootImageError } from '../bytes/error.js';
import { temporaryName } from './temporary-name.js';

/** The largest file that is read whole: Node's own limit for one buffer is higher, a kernel's size is far lower. */
const READ_LIMIT = 2 ** 31 - 1;
const CHUNK = 1 << 20;

function errno(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function readError(path: string, error: unknown): BootImageError {
  const code = errno(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new BootImageError('file-not-found', `${path}: no such file`, { hint: 'check the file name', cause: error });
  }
  const reasons: Record<string, string> = {
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EISDIR: 'is a directory',
    ELOOP: 'too many symbolic links',
  };
  return new BootImageError('file-unreadable', `${path}: ${reasons[code] ?? (code === '' ? String(error) : code)}`, {
    hint: 'name a readable file, or - for standard input',
    cause: error,
  });
}

/** What a write that the system refused is to the user; `path` as on the command line. */
export function writeError(path: string, error: unknown): BootImageError {
  const code = errno(error);
  const reasons: Record<string, string> = {
    ENOSPC: 'no space left on the device',
    EDQUOT: 'the disk quota is used up',
    EFBIG: 'larger than a file may be',
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'the file system is read-only',
    ENOENT: 'the directory does not exist',
    EPIPE: 'the reader has gone',
  };
  const name = path === '-' ? 'standard output' : path;
  return new BootImageError('file-unwritable', `${name}: ${reasons[code] ?? (code === '' ? String(error) : code)}`, {
    hint: path === '-' ? 'send it elsewhere' : 'choose another file',
    cause: error,
  });
}

/** Reads from a descriptor whose length is not known beforehand: a pipe or a device. */
function readStream(fd: number, name: string): Uint8Array {
  const chunks: Uint8Array[] = [];
  let total = 0;
  for (;;) {
    const chunk = new Uint8Array(CHUNK);
    let count: number;
    try {
      count = readSync(fd, chunk);
    } catch (error) {
      if (errno(error) === 'EOF') break;
      if (errno(error) !== 'EAGAIN') throw error;
      // A non-blocking standard input: wait a moment without spinning.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      continue;
    }
    if (count === 0) break;
    total += count;
    if (total > READ_LIMIT)
      throw new BootImageError('file-unreadable', `${name}: more than 2 GiB`, { hint: 'this is no kernel image' });
    chunks.push(chunk.subarray(0, count));
  }
  const [first] = chunks;
  if (chunks.length === 1 && first !== undefined) return first;
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/**
 * The bytes of a file, or of standard input for `-`.
 * @throws BootImageError `file-not-found`, `file-unreadable`
 */
export function readImage(path: string): Uint8Array {
  if (path === '-') return readStream(0, 'standard input');
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw readError(path, error);
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) return readStream(fd, path);
    if (stat.size > READ_LIMIT)
      throw new BootImageError('file-unreadable', `${path}: more than 2 GiB`, { hint: 'this is no kernel image' });
    const bytes = new Uint8Array(stat.size);
    let at = 0;
    while (at < bytes.length) {
      const count = readSync(fd, bytes, at, bytes.length - at, at);
      if (count === 0) break;
      at += count;
    }
    return at === bytes.length ? bytes : bytes.subarray(0, at);
  } catch (error) {
    throw error instanceof BootImageError ? error : readError(path, error);
  } finally {
    closeSync(fd);
  }
}

const unfinished = new Set<string>();
let cleaning = false;

function forgetOnExit(path: string): void {
  unfinished.add(path);
  if (cleaning) return;
  cleaning = true;
  process.on('exit', () => {
    for (const path of unfinished) {
      try {
        unlinkSync(path);
      } catch {
        // Already gone.
      }
    }
  });
}

function writeAll(fd: number, bytes: Uint8Array): void {
  let at = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if (errno(error) !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/** True for what exists and is no regular file (a pipe, /dev/null): there is nothing to replace, write into it. */
function isSpecial(path: string): boolean {
  try {
    const stat = statSync(path);
    return !stat.isFile() && !stat.isDirectory();
  } catch {
    return false;
  }
}

/**
 * Writes a whole file under a temporary name beside `path` and renames it, so that a failed run leaves the old file;
 * `-` is standard output. A symbolic link at `path` is replaced, never followed, unless it leads to a device or pipe.
 * `write` may be given instead of bytes to fill the open file (sparse RAM images).
 * @throws BootImageError `file-unwritable`
 */
export function writeFileAtomically(path: string, content: Uint8Array | ((fd: number) => void)): void {
  const fill = (fd: number): void => {
    if (typeof content === 'function') content(fd);
    else writeAll(fd, content);
  };
  let temporary: string | null = null;
  try {
    if (path === '-') {
      fill(1);
      return;
    }
    if (isSpecial(path)) {
      const fd = openSync(path, 'w');
      try {
        fill(fd);
      } finally {
        closeSync(fd);
      }
      return;
    }
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
      throw new BootImageError('file-unwritable', `${path}: is a directory`, { hint: 'name a file' });
    }
    temporary = join(dirname(path), `.${basename(path)}.${temporaryName()}.tmp`);
    const fd = openSync(temporary, 'wx', 0o666);
    forgetOnExit(temporary);
    try {
      fill(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
    unfinished.delete(temporary);
  } catch (error) {
    if (temporary !== null && unfinished.delete(temporary)) {
      try {
        unlinkSync(temporary);
      } catch {
        // Nothing was created.
      }
    }
    throw error instanceof BootImageError ? error : writeError(path, error);
  }
}

/** Sets a file's length, leaving a hole: for sparse RAM images. */
export function setLength(fd: number, length: number): void {
  ftruncateSync(fd, length);
}
