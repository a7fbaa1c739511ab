/**
 * Files without a name: nothing is left behind, whatever ends this process.
 */
import { closeSync, constants, ftruncateSync, openSync, statfsSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BootImageError } from '../../bytes/error.js';
import { temporaryName } from '../../node/temporary-name.js';

/** O_TMPFILE of Linux on x86 and Arm (asm-generic/fcntl.h with O_DIRECTORY); Node does not name it. */
const O_TMPFILE = 0o20200000;

/** Opens a file in `directory` that has no name, or loses it at once where the file system has no O_TMPFILE. */
function openAnonymous(directory: string): number {
  try {
    return openSync(directory, O_TMPFILE | constants.O_RDWR, 0o600);
  } catch {
    const path = join(directory, `bzelf-${temporaryName()}`);
    const fd = openSync(path, 'wx+', 0o600);
    unlinkSync(path);
    return fd;
  }
}

function freeBytes(directory: string): number {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  } catch {
    return 0;
  }
}

/**
 * A sparse file of `size` bytes that reads as zeros, in memory (/dev/shm) if there is room for it, else in the
 * directory for temporary files. The caller closes the descriptor.
 * @throws BootImageError `machine-failed` if neither has room for `needed` bytes, or a limit forbids the size.
 */
export function createAnonymousFile(size: number, needed: number, directories = ['/dev/shm', tmpdir()]): number {
  const roomy = directories.find((directory) => freeBytes(directory) >= size);
  const directory = roomy ?? directories.find((candidate) => freeBytes(candidate) >= needed);
  if (directory === undefined) {
    throw new BootImageError('machine-failed', `no room for the guest's memory in ${directories.join(' or ')}`, {
      hint: `free ${String(Math.ceil(needed / 2 ** 20))} MiB there, or set TMPDIR`,
    });
  }
  let fd: number | undefined;
  try {
    fd = openAnonymous(directory);
    ftruncateSync(fd, size);
    return fd;
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    throw new BootImageError('machine-failed', `cannot make a file for the guest's memory in ${directory}`, {
      hint: error instanceof Error ? error.message : undefined,
      cause: error,
    });
  }
}
