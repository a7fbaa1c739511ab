/**
 * KASLR on the host: the choice that arch/x86/boot/compressed/kaslr.c makes in the guest, from the same slots.
 */
import { BootImageError } from '../bytes/error.js';
import { alignUp } from '../bytes/numbers.js';
import type { AddressRange } from '../bytes/ranges.js';
import { kernelMap, KERNEL_WINDOW_64, type KernelMove } from '../kernel/relocate.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { hasWord } from './command-line.js';
import type { Draft } from './context.js';
import { KERNEL_IMAGE_SIZE_32, type KernelExtent } from './kernel-place.js';
import { type RandomSource, randomSource } from './random.js';

/** Above this the kernel never asks its lowest random address to be, wherever it was loaded. */
const HIGHEST_MINIMUM = 512n << 20n;

function refuse(why: string, hint: string): never {
  throw new BootImageError('not-relocatable', `no KASLR: ${why}`, { field: 'kaslr', hint });
}

/** Every multiple of the alignment at which the kernel fits into one of the ranges, counted range by range. */
function slotCounts(free: readonly AddressRange[], extent: KernelExtent, min: bigint, max: bigint) {
  return free.flatMap(({ start, end }) => {
    const first = alignUp(start > min ? start : min, extent.alignment);
    const last = (end < max ? end : max) - extent.size;
    return last < first ? [] : [{ first, count: (last - first) / extent.alignment + 1n }];
  });
}

function physicalSlot(random: RandomSource, draft: Draft, extent: KernelExtent, max: bigint): bigint | null {
  const min = extent.base < HIGHEST_MINIMUM ? extent.base : HIGHEST_MINIMUM;
  const ranges = slotCounts(draft.placement.free(), extent, min, max);
  const total = ranges.reduce((sum, { count }) => sum + count, 0n);
  if (total === 0n) return null;
  let slot = random.below(total);
  for (const { first, count } of ranges) {
    if (slot < count) return first + slot * extent.alignment;
    slot -= count;
  }
  return null;
}

/** The move of a 64-bit kernel's virtual addresses: __START_KERNEL_map + [LOAD_PHYSICAL_ADDR, KERNEL_IMAGE_SIZE - size]. */
function virtualSlot(random: RandomSource, vmlinux: Vmlinux, extent: KernelExtent): bigint {
  const linked = kernelMap(vmlinux) + extent.base;
  const room = KERNEL_WINDOW_64.end - linked - extent.size;
  if (room < 0n) refuse('the kernel is larger than its address space', 'start it without --kaslr');
  return random.below(room / extent.alignment + 1n) * extent.alignment;
}

/**
 * A random move, with everything else already claimed.
 *
 * 32 bits: one base for both, a multiple of kernel_alignment from LOAD_PHYSICAL_ADDR up to 512 MiB
 * (KERNEL_IMAGE_SIZE). 64 bits: any aligned place in free RAM from LOAD_PHYSICAL_ADDR on, and, independently, any
 * aligned virtual address that keeps the kernel in its 1 GiB.
 *
 * @param fixed why the kernel cannot be moved, or null.
 * @throws BootImageError `not-relocatable` if it cannot, `bad-argument` if the command line says nokaslr,
 * `does-not-fit` if no slot is free.
 */
export function chooseMove(
  draft: Draft,
  vmlinux: Vmlinux,
  extent: KernelExtent,
  fixed: string | null,
  seed: string | null,
): KernelMove {
  if (hasWord(draft.commandLine, 'nokaslr')) {
    throw new BootImageError('bad-argument', 'KASLR is asked for, but the command line says nokaslr', {
      field: 'kaslr',
      hint: 'drop one of the two',
    });
  }
  if (fixed !== null) refuse(fixed, 'use a kernel with CONFIG_RELOCATABLE');
  if (vmlinux.relocations === null) {
    refuse('the kernel brings no relocations', 'use a kernel with CONFIG_RANDOMIZE_BASE');
  }
  const random = randomSource(seed);
  const place = physicalSlot(random, draft, extent, vmlinux.bits === 32 ? KERNEL_IMAGE_SIZE_32 : 1n << 64n);
  if (place === null) {
    throw new BootImageError(
      'does-not-fit',
      `no KASLR: ${String(extent.size)} bytes of free RAM in one piece are nowhere to be had`,
      { field: 'kaslr', hint: 'give the guest more memory' },
    );
  }
  const physicalDelta = place - extent.base;
  draft.facts.kaslr = { seed };
  return {
    physicalDelta,
    virtualDelta: vmlinux.bits === 32 ? physicalDelta : virtualSlot(random, vmlinux, extent),
  };
}
