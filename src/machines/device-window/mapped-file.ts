/** A file, or a PCI device's memory, mapped into this process. */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { BootImageError } from '../../bytes/error.js';
import { hex } from '../../bytes/numbers.js';
import { libc, SystemCallError, type Libc } from './libc.js';
import { pciResource } from './pci-resource.js';

/** The largest page of the systems that Node runs on; every smaller one divides it. */
const PAGE = 0x10000;

/**
 * What fallocate answers where there are no blocks to allocate: devices, and file systems without the call. Under /sys
 * that is EFBIG beyond 2 GiB, for whose files the kernel knows no larger size, although it maps all of a PCI device's.
 */
const NOTHING_TO_ALLOCATE = new Set(['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'ENODEV', 'ESPIPE', 'EINVAL', 'EFBIG']);

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'not permitted (is the kernel locked down?)',
  EROFS: 'the file system is read-only',
  EISDIR: 'is a directory',
  ENODEV: 'cannot be mapped',
  EINVAL: 'cannot be mapped there',
  ENOSPC: 'no space left on the device',
  EDQUOT: 'the disk quota is used up',
};

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

function unusable(path: string, cause: unknown): BootImageError {
  if (cause instanceof BootImageError) return cause;
  const code = codeOf(cause);
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new BootImageError('file-not-found', `${path}: no such file`, { hint: 'check the file name', cause });
  }
  return new BootImageError('file-unwritable', `${path}: ${REASONS[code] ?? String(cause)}`, {
    hint: "name a file that may be read, written and mapped, such as a PCI device's resource0",
    cause,
  });
}

export class MappedFile {
  readonly path: string;
  /** Bytes of the file; null for a device file, which does not tell. */
  readonly size: number | null;
  readonly #libc: Libc;
  readonly #fd: number;
  /** Of the file's first byte in its page: a PCI device's small memories share pages, and a page is what is mapped. */
  readonly #shift: number;
  #mapping: { readonly address: bigint; readonly length: number } | null = null;

  private constructor(path: string, fd: number, shift: number, system: Libc) {
    const stat = fstatSync(fd);
    this.path = path;
    this.size = stat.isFile() ? stat.size : null;
    this.#fd = fd;
    this.#libc = system;
    this.#shift = shift;
  }

  /**
   * Opens a file for reading and writing, uncached if it is memory (O_SYNC, as /dev/mem has it).
   * @throws BootImageError `tool-missing`, `file-not-found`, `file-unwritable`, `machine-failed` for a PCI device that
   * does not answer
   */
  static async open(path: string): Promise<MappedFile> {
    const system = await libc();
    let fd: number | undefined;
    try {
      fd = openSync(path, constants.O_RDWR | constants.O_SYNC);
      const device = pciResource(path);
      if (device?.decoded === false) {
        throw new BootImageError('machine-failed', `${path}: the device's memory is switched off`, {
          hint: `echo 1 > ${device.enable}`,
        });
      }
      return new MappedFile(path, fd, Number((device?.start ?? 0n) % BigInt(system.pageSize)), system);
    } catch (error) {
      if (fd !== undefined) closeSync(fd);
      throw unusable(path, error);
    }
  }

  /**
   * Maps [offset, offset + length) in place of what was mapped before; views of that must not be used any more.
   * A range that a regular file does not have is refused: to touch such a mapping would kill this process.
   * @throws BootImageError `does-not-fit`, `file-unwritable`
   */
  map(offset: number, length: number): Uint8Array {
    if (this.size !== null && offset + length > this.size) {
      throw new BootImageError('does-not-fit', `${this.path} ends before ${hex(offset + length)}`, {
        offset: this.size,
        hint: 'name a range inside the file; nothing was written',
      });
    }
    this.unmap();
    const start = offset - (offset % PAGE);
    const lead = offset - start + this.#shift;
    try {
      const { address, memory } = this.#libc.map(this.#fd, start, lead + length);
      this.#mapping = { address, length: lead + length };
      return new Uint8Array(memory, lead, length);
    } catch (error) {
      throw unusable(this.path, error);
    }
  }

  /**
   * Gives a sparse file its blocks: a full disk would otherwise kill this process at the first access.
   * @throws BootImageError `file-unwritable`
   */
  reserve(offset: number, length: number): void {
    if (this.size === null) return;
    try {
      this.#libc.allocate(this.#fd, offset, length);
    } catch (error) {
      if (!(error instanceof SystemCallError && NOTHING_TO_ALLOCATE.has(error.code))) throw unusable(this.path, error);
    }
  }

  unmap(): void {
    if (this.#mapping === null) return;
    this.#libc.unmap(this.#mapping.address, this.#mapping.length);
    this.#mapping = null;
  }

  /** Unmaps and closes; nothing may be used afterwards. */
  close(): void {
    this.unmap();
    closeSync(this.#fd);
  }
}
