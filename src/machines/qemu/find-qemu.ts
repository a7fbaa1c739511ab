/** Finds QEMU as a shell would. */
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { BootImageError } from '../../bytes/error.js';

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The program's path: `name` itself if it contains a slash, else the first of that name on PATH; null if there is none. */
export function findProgram(name: string): string | null {
  if (name.includes('/')) return isProgram(name) ? name : null;
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '');
  return directories.map((directory) => join(directory, name)).find(isProgram) ?? null;
}

/** @throws BootImageError `tool-missing` */
export function findQemu(binary = 'qemu-system-x86_64'): string {
  const path = findProgram(binary);
  if (path === null) {
    throw new BootImageError('tool-missing', `${binary} was not found on PATH`, {
      hint: "install QEMU (Debian's package qemu-system-x86)",
    });
  }
  return path;
}
