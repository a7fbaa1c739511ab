/** Vmlinux: the recovered kernel. Definitions only; `recoverVmlinux` in recover.ts makes one from a BootImage. */
import type { ElfFile } from '../elf/elf-file.js';
import type { Problem } from '../bzimage/boot-image.js';
import type { KernelNote } from './notes.js';
import type { RelocationTable } from './relocation-table.js';

/** A loadable segment whose file range is known to lie inside the ELF file. */
export interface KernelSegment {
  /** Index in the program header table. */
  readonly index: number;
  /** Offset in `Vmlinux.elfBytes`. */
  readonly offset: number;
  readonly vaddr: bigint;
  readonly paddr: bigint;
  readonly filesz: number;
  /** Bytes in memory; at least filesz. Bounded by 2^53 when read, judged by verify and plan. */
  readonly memsz: number;
  /** p_flags: 4 r, 2 w, 1 x. */
  readonly flags: number;
  readonly align: bigint;
}

export interface Vmlinux {
  /** Everything the decompressor yields: the ELF file and the relocations behind it. */
  readonly raw: Uint8Array;
  /** The ELF file exactly: a view on the beginning of `raw`, up to `elfEnd`. */
  readonly elfBytes: Uint8Array;
  readonly elf: ElfFile;
  /** 32 or 64 by EI_CLASS. */
  readonly bits: 32 | 64;
  /** PT_LOAD segments in table order. */
  readonly segments: readonly KernelSegment[];
  readonly notes: readonly KernelNote[];
  /** Null when nothing follows the ELF file. */
  readonly relocations: RelocationTable | null;
  /** "Linux version ..." with the text up to the newline; null if there is none. */
  readonly banner: string | null;
  /** uname -r, from the banner. */
  readonly release: string | null;
  readonly problems: readonly Problem[];
}

/** The lowest p_paddr of a loadable segment: the address that physical moves are counted from (LOAD_PHYSICAL_ADDR). */
export function linkedPhysicalBase(vmlinux: Vmlinux): bigint {
  return (
    vmlinux.segments.reduce<bigint | null>((low, { paddr }) => (low === null || paddr < low ? paddr : low), null) ?? 0n
  );
}

/** One past the highest p_paddr + p_memsz of a loadable segment. */
export function linkedPhysicalEnd(vmlinux: Vmlinux): bigint {
  return vmlinux.segments.reduce(
    (high, { paddr, memsz }) => (paddr + BigInt(memsz) > high ? paddr + BigInt(memsz) : high),
    0n,
  );
}
