/** Windows made of files: a PCI device's memory under /sys, or any file that can be mapped. */
import { BootImageError } from '../../bytes/error.js';
import { hex, isPowerOfTwo } from '../../bytes/numbers.js';
import { MappedFile } from './mapped-file.js';
import { WIDEST_ACCESS, type MemoryWindow } from './memory-window.js';

/** Most of a file that is mapped at once. */
const LARGEST_MAPPING = 1 << 28;

/** A base register has 32 bits. */
const REGISTER_BYTES = 4;
const REGISTER_REACH = 2 ** 32;

export interface FilePlace {
  readonly path: string;
  /** Byte offset in the file; a multiple of 8 for a window, of 4 for a register. */
  readonly offset: number;
}

export interface FileWindowPlace extends FilePlace {
  /** Bytes; by default up to the end of the file, which a device file does not tell. */
  readonly length?: number;
}

export interface FileWindowOptions {
  /** Guest physical address of the memory's first byte. Default 0. */
  readonly address?: bigint;
  /**
   * A 32-bit little-endian register that holds the offset, in bytes, of what the file shows of a larger memory. It is
   * set to multiples of the window's length and given back its value by `close`.
   */
  readonly baseRegister?: FilePlace;
}

export interface FileWindow extends MemoryWindow {
  close(): void;
}

function lengthOf(file: MappedFile, { path, offset, length }: FileWindowPlace): number {
  if (length === undefined && file.size === null) {
    throw new BootImageError('bad-argument', `${path} does not tell its length`, {
      field: 'window',
      hint: 'write FILE@OFFSET:LENGTH',
    });
  }
  const end = length === undefined ? (file.size ?? 0) : offset + length;
  const usable = end - offset - ((end - offset) % WIDEST_ACCESS);
  if (usable <= 0 || offset % WIDEST_ACCESS !== 0) {
    throw new BootImageError('bad-argument', `${path} has no window of whole words at ${hex(offset)}`, {
      field: 'window',
      hint: 'offset and length are multiples of 8, inside the file',
    });
  }
  return usable;
}

/** A file whose mapping moves over it. */
function plainWindow(file: MappedFile, offset: number, size: number, address: bigint): FileWindow {
  const aperture = Math.min(size, LARGEST_MAPPING);
  // Refused now rather than when half has been written.
  file.map(offset + size - WIDEST_ACCESS, WIDEST_ACCESS);
  return {
    address,
    size,
    aperture,
    expose: (at) => file.map(offset + at, Math.min(aperture, size - at)),
    reserve: (at, length) => file.reserve(offset + at, length),
    close: () => file.close(),
  };
}

/** `register[0]` is the register: a view of its memory, of one 32-bit element. */
export type BaseRegister = Record<number, number>;

/** Sets the register and reads it back, which also pushes the write through the bus before the aperture is used. */
export function moveBase(register: BaseRegister, offset: number): void {
  register[0] = offset;
  const found = register[0];
  if (found !== offset) {
    throw new BootImageError(
      'machine-failed',
      `the base register reads ${hex(found)} after ${hex(offset)} was written`,
      {
        hint: 'check --base-register and the length of the window',
      },
    );
  }
}

/** A fixed mapping behind which the device moves its memory. */
async function movedWindow(
  file: MappedFile,
  offset: number,
  aperture: number,
  address: bigint,
  place: FilePlace,
): Promise<FileWindow> {
  if (!isPowerOfTwo(aperture) || place.offset % REGISTER_BYTES !== 0) {
    throw new BootImageError('bad-argument', 'a window with a base register has a power of two as its length', {
      field: 'window',
      hint: `write FILE@OFFSET:LENGTH; the register's own offset is a multiple of ${String(REGISTER_BYTES)}`,
    });
  }
  const memory = file.map(offset, aperture);
  file.reserve(offset, aperture);
  const registerFile = await MappedFile.open(place.path);
  try {
    const bytes = registerFile.map(place.offset, REGISTER_BYTES);
    const register: BaseRegister = new Uint32Array(bytes.buffer, bytes.byteOffset, 1);
    const before = register[0] ?? 0;
    return {
      address,
      size: REGISTER_REACH,
      aperture,
      expose(at) {
        moveBase(register, at);
        return memory;
      },
      close() {
        register[0] = before;
        registerFile.close();
        file.close();
      },
    };
  } catch (error) {
    registerFile.close();
    throw error;
  }
}

/**
 * @throws BootImageError `tool-missing`, `file-not-found`, `file-unwritable`, `bad-argument`, `does-not-fit` for a window
 * beyond the end of its file, and `machine-failed` for a PCI device whose memory is switched off
 */
export async function openFileWindow(place: FileWindowPlace, options: FileWindowOptions = {}): Promise<FileWindow> {
  const { address = 0n, baseRegister } = options;
  const file = await MappedFile.open(place.path);
  try {
    const length = lengthOf(file, place);
    if (baseRegister === undefined) return plainWindow(file, place.offset, length, address);
    return await movedWindow(file, place.offset, length, address, baseRegister);
  } catch (error) {
    file.close();
    throw error;
  }
}
