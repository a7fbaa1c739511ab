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
import { setImmediate as nextTurn } from 'node:timers/promises';
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

/** Temporary names of files that this process has not finished. */
const unfinished = new Set<string>();

function discard(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Already gone.
  }
}

const discardUnfinished = (): void => unfinished.forEach(discard);

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** Cleans up before the death that a signal is by default; where someone else listens to it, that is theirs to decide. */
function onSignal(name: NodeJS.Signals): void {
  if (process.listenerCount(name) > 1) return;
  discardUnfinished();
  unguard();
  process.kill(process.pid, name);
}

let guarded = false;

function guard(): void {
  if (guarded) return;
  guarded = true;
  for (const name of SIGNALS) process.on(name, onSignal);
  process.on('exit', discardUnfinished);
}

function unguard(): void {
  guarded = false;
  for (const name of SIGNALS) process.off(name, onSignal);
  process.off('exit', discardUnfinished);
}

/**
 * Leaves signals alone again when no file is unfinished. One that came during a synchronous write is only delivered by
 * the event loop's next turn, and would be lost before.
 */
async function settle(): Promise<void> {
  await nextTurn();
  await nextTurn();
  if (guarded && unfinished.size === 0) unguard();
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

/** A file that is being written: under a temporary name, or in place where there is nothing to replace. */
class OutputFile {
  readonly fd: number;
  readonly #path: string;
  readonly #temporary: string | null;
  #open = true;

  constructor(path: string) {
    this.#path = path;
    if (path === '-' || isSpecial(path)) {
      this.#temporary = null;
      this.fd = path === '-' ? 1 : openSync(path, 'w');
      return;
    }
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
      throw new BootImageError('file-unwritable', `${path}: is a directory`, { hint: 'name a file' });
    }
    this.#temporary = join(dirname(path), `.${basename(path)}.${temporaryName()}.tmp`);
    guard();
    try {
      this.fd = openSync(this.#temporary, 'wx', 0o666);
    } catch (error) {
      void settle();
      throw error;
    }
    unfinished.add(this.#temporary);
  }

  /** Gives the file its name. */
  finish(): void {
    this.#close();
    if (this.#temporary === null) return;
    renameSync(this.#temporary, this.#path);
    unfinished.delete(this.#temporary);
  }

  /** The last call in any case: of a file that is not finished nothing stays. */
  release(): void {
    try {
      this.#close();
    } finally {
      if (this.#temporary !== null) {
        if (unfinished.delete(this.#temporary)) discard(this.#temporary);
        void settle();
      }
    }
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.fd !== 1) closeSync(this.fd);
  }
}

function asWriteError(path: string, error: unknown): BootImageError {
  return error instanceof BootImageError ? error : writeError(path, error);
}

/**
 * Writes a whole file under a temporary name beside `path` and renames it, so that a failed run leaves the old file;
 * `-` is standard output. A symbolic link at `path` is replaced, never followed, unless it leads to a device or pipe.
 * A function may be given instead of bytes to fill the open file. A signal that would end the process ends it afterwards.
 * @throws BootImageError `file-unwritable`
 */
export function writeFileAtomically(path: string, content: Uint8Array | ((fd: number) => void)): void {
  try {
    const file = new OutputFile(path);
    try {
      if (typeof content === 'function') content(file.fd);
      else writeAll(file.fd, content);
      file.finish();
    } finally {
      file.release();
    }
  } catch (error) {
    throw asWriteError(path, error);
  }
}

/**
 * The same for a sparse file of `length` bytes that takes long to fill: `fill` lets the event loop turn now and then,
 * so that a signal ends the process at once, and leaves nothing.
 * @throws BootImageError `file-unwritable`
 */
export async function writeSparseFileAtomically(
  path: string,
  length: number,
  fill: (fd: number) => Promise<void>,
): Promise<void> {
  if (isSpecial(path)) {
    throw new BootImageError('file-unwritable', `${path}: is no regular file`, { hint: 'choose another file' });
  }
  try {
    const file = new OutputFile(path);
    try {
      ftruncateSync(file.fd, length);
      await fill(file.fd);
      file.finish();
    } finally {
      file.release();
    }
  } catch (error) {
    throw asWriteError(path, error);
  } finally {
    await settle();
  }
}
