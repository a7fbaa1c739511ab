/**
 * KASLR on the host: the choice that arch/x86/boot/compressed/kaslr.c makes in the guest, from the same slots.
 */
import { BootImageError } from '../bytes/error.js';
import { alignUp } from '../bytes/numbers.js';
import type { AddressRange } from '../bytes/ranges.js';
import { kernelMap, KERNEL_WINDOW_64, type KernelMove } from '../kernel/relocate.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { hasWord } from './command-line.js';
import type { Draft } from './draft.js';
import { type RandomSource, randomSource } from './random.js';

/** Above this the kernel never asks its lowest random address to be, wherever it was loaded. */
const HIGHEST_MINIMUM = 512n << 20n;

function refuse(why: string, hint: string): never {
  throw new BootImageError('not-relocatable', `no KASLR: ${why}`, { field: 'kaslr', hint });
}

/** What is to be placed, and how it may move. */
export interface RandomExtent {
  /** LOAD_PHYSICAL_ADDR. */
  readonly base: bigint;
  /** Bytes of RAM. */
  readonly size: bigint;
  /** A power of two. */
  readonly alignment: bigint;
  /** Why it stays where it was linked, or null. */
  readonly fixed: string | null;
  /** Physical and virtual addresses move by the same distance. */
  readonly coupled: boolean;
  /** One past the highest physical address that it may reach. */
  readonly limit: bigint;
}

/** A free place, each with the same probability; null if there is none. */
function physicalSlot(random: RandomSource, free: readonly AddressRange[], extent: RandomExtent): bigint | null {
  const { base, size, alignment, limit } = extent;
  const min = base < HIGHEST_MINIMUM ? base : HIGHEST_MINIMUM;
  const ranges = free.flatMap(({ start, end }) => {
    const first = alignUp(start > min ? start : min, alignment);
    const last = (end < limit ? end : limit) - size;
    return last < first ? [] : [{ first, count: (last - first) / alignment + 1n }];
  });
  const total = ranges.reduce((sum, { count }) => sum + count, 0n);
  if (total === 0n) return null;
  let slot = random.below(total);
  for (const { first, count } of ranges) {
    if (slot < count) return first + slot * alignment;
    slot -= count;
  }
  return null;
}

/** The move of a 64-bit kernel's virtual addresses: __START_KERNEL_map + [LOAD_PHYSICAL_ADDR, KERNEL_IMAGE_SIZE - size]. */
function virtualSlot(random: RandomSource, vmlinux: Vmlinux, extent: RandomExtent): bigint {
  const linked = kernelMap(vmlinux) + extent.base;
  const room = KERNEL_WINDOW_64.end - linked - extent.size;
  if (room < 0n) refuse('the kernel is larger than its address space', 'start it without --kaslr');
  return random.below(room / extent.alignment + 1n) * extent.alignment;
}

/**
 * A random move, with everything else already claimed.
 *
 * Coupled (32 bits): one base for both, a multiple of the alignment from LOAD_PHYSICAL_ADDR up to the limit
 * (KERNEL_IMAGE_SIZE). Otherwise (64 bits): any aligned place in free RAM from LOAD_PHYSICAL_ADDR on, and,
 * independently, any aligned virtual address that keeps the kernel in its 1 GiB.
 *
 * @throws BootImageError `not-relocatable` if it cannot, `bad-argument` if the command line says nokaslr,
 * `does-not-fit` if no slot is free.
 */
export function chooseMove(draft: Draft, vmlinux: Vmlinux, extent: RandomExtent, seed: string | null): KernelMove {
  if (hasWord(draft.commandLine, 'nokaslr')) {
    throw new BootImageError('bad-argument', 'KASLR is asked for, but the command line says nokaslr', {
      field: 'kaslr',
      hint: 'drop one of the two',
    });
  }
  if (extent.fixed !== null) refuse(extent.fixed, 'use a kernel with CONFIG_RELOCATABLE');
  if (vmlinux.relocations === null) {
    refuse('the kernel brings no relocations', 'use a kernel with CONFIG_RANDOMIZE_BASE');
  }
  const random = randomSource(seed);
  const place = physicalSlot(random, draft.placement.free(), extent);
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
    virtualDelta: extent.coupled ? physicalDelta : virtualSlot(random, vmlinux, extent),
  };
}
