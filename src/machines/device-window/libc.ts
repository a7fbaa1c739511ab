/** The C library's functions that Node does not offer, through koffi. */
import { getSystemErrorMap } from 'node:util';
import { BootImageError } from '../../bytes/error.js';

/** <sys/mman.h> and <linux/falloc.h>, Linux. */
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const FALLOC_FL_KEEP_SIZE = 1;
const MAP_FAILED = 2n ** 64n - 1n;

/** A system call's failure, by the name of its errno: "ENOSPC". */
export class SystemCallError extends Error {
  readonly code: string;

  constructor(call: string, errno: number) {
    const [code, meaning] = getSystemErrorMap().get(-errno) ?? [`errno ${String(errno)}`, 'unknown error'];
    super(`${call}: ${meaning}`);
    this.code = code;
  }
}

export interface Libc {
  readonly pageSize: number;
  /** Maps `length` bytes of a file, shared, for reading and writing; `offset` is a multiple of the page size. */
  map(fd: number, offset: number, length: number): { readonly address: bigint; readonly memory: ArrayBuffer };
  unmap(address: bigint, length: number): void;
  /** Gives a file the blocks that it needs for [offset, offset + length), its size unchanged. */
  allocate(fd: number, offset: number, length: number): void;
}

async function loadKoffi(): Promise<typeof import('koffi')> {
  try {
    return (await import('koffi')).default as unknown as typeof import('koffi');
  } catch (cause) {
    throw new BootImageError('tool-missing', 'the package koffi, which maps files, is not installed', {
      hint: 'npm install koffi',
      cause,
    });
  }
}

/** @throws BootImageError `tool-missing` without koffi, or on a system without mmap */
async function openLibc(): Promise<Libc> {
  if (process.platform !== 'linux') {
    throw new BootImageError('tool-missing', 'memory windows need Linux', { hint: 'run this on the Linux host' });
  }
  const koffi = await loadKoffi();
  // The program itself: whichever C library it was linked with.
  const library = koffi.load(null);
  const mmap = library.func('mmap', 'void *', ['void *', 'size_t', 'int', 'int', 'int', 'long']);
  const munmap = library.func('munmap', 'int', ['void *', 'size_t']);
  const getpagesize = library.func('getpagesize', 'int', []);
  const fallocate = library.func('fallocate', 'int', ['int', 'int', 'long', 'long']);
  return {
    pageSize: getpagesize() as number,
    map(fd, offset, length) {
      const address = mmap(null, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset) as bigint;
      if (address === MAP_FAILED) throw new SystemCallError('mmap', koffi.errno());
      return { address, memory: koffi.view(address, length) };
    },
    unmap(address, length) {
      munmap(address, length);
    },
    allocate(fd, offset, length) {
      if (fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length) !== 0) {
        throw new SystemCallError('fallocate', koffi.errno());
      }
    },
  };
}

let opened: Promise<Libc> | undefined;

/** @throws BootImageError `tool-missing` */
export function libc(): Promise<Libc> {
  return (opened ??= openLibc());
}
