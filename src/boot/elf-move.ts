/** KASLR for a kernel that leaves the host as an ELF file, for loaders that have none of their own. */
import { BootImageError } from '../bytes/error.js';
import { kernelMap, KERNEL_WINDOW_64, type KernelMove } from '../kernel/relocate.js';
import { movesIndependently } from '../kernel/relocated-elf.js';
import { linkedPhysicalEnd, type Vmlinux } from '../kernel/vmlinux.js';
import { randomSource } from './random.js';

export interface ElfMoveOptions {
  /** Kernel alignment in bytes (setup header's kernel_alignment); at least 2 MiB is kept in any case. */
  readonly alignment?: bigint;
  /** RAM that the guest has at least, in bytes, from address 0 on. */
  readonly memory: bigint;
  /** A seed makes the choice repeatable; null takes the platform's cryptographic source. */
  readonly seed: string | null;
}

const LEAST_ALIGNMENT = 0x200000n;

/**
 * A random move for `relocatedElf`.
 *
 * Where every entry of the kernel allows it, only the virtual addresses move, through all of the kernel's 1 GiB: the
 * loader's memory is not known here, and the physical place is its business. Otherwise (32 bits, PVH, Xen PV) both move by the same distance, and the kernel stays in the lower three quarters of the memory:
 * what loaders put elsewhere, the initrd, they put at its top.
 *
 * @throws BootImageError `not-relocatable` without relocations, `does-not-fit` if there is no other place
 */
export function chooseElfMove(vmlinux: Vmlinux, options: ElfMoveOptions): KernelMove {
  if (vmlinux.relocations === null) {
    throw new BootImageError('not-relocatable', 'the kernel has no relocations', {
      field: 'relocations',
      hint: 'use a kernel with CONFIG_RANDOMIZE_BASE',
    });
  }
  const { alignment = LEAST_ALIGNMENT, memory, seed } = options;
  const unit = alignment > LEAST_ALIGNMENT ? alignment : LEAST_ALIGNMENT;
  const end = linkedPhysicalEnd(vmlinux);
  const window = (vmlinux.bits === 64 ? KERNEL_WINDOW_64.end : 1n << 32n) - kernelMap(vmlinux);
  const independent = movesIndependently(vmlinux);
  const ceiling = (memory * 3n) / 4n;
  const room = (independent || ceiling > window ? window : ceiling) - end;
  if (room < unit) {
    throw new BootImageError('does-not-fit', 'there is no room to move the kernel to', {
      field: 'kaslr',
      hint: independent ? 'start it without KASLR' : 'give the guest more memory, and say so with --memory',
    });
  }
  const virtualDelta = randomSource(seed).below(room / unit + 1n) * unit;
  return { physicalDelta: independent ? 0n : virtualDelta, virtualDelta };
}
