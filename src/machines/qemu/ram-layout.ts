/** Where QEMU's PC machines have RAM, and at which offset of the backing file it lies. */
import { BootImageError } from '../../bytes/error.js';
import { alignUp, hex } from '../../bytes/numbers.js';
import type { BootPlan } from '../../boot/plan.js';

export type QemuMachineType = 'q35' | 'pc' | 'microvm';

const MIB = 1n << 20n;
const FOUR_GIB = 1n << 32n;

/** Above the RAM that the plan knows of: where the machine keeps its ACPI tables, as a BIOS does at the top of RAM. */
const FIRMWARE_ROOM = 2n * MIB;

/** Most RAM below 4 GiB (hw/i386/pc_q35.c, pc_piix.c, microvm.c of QEMU 7.2): alone, and with more RAM above. */
const LOW_LIMITS: Readonly<Record<QemuMachineType, { readonly alone: bigint; readonly withHigh: bigint }>> = {
  q35: { alone: 0xb0000000n, withHigh: 0x80000000n },
  pc: { alone: 0xe0000000n, withHigh: 0xc0000000n },
  microvm: { alone: 0xc0000000n, withHigh: 0xc0000000n },
};

export interface RamLayout {
  /** Bytes of RAM from address 0, with the adapters' hole inside. */
  readonly low: bigint;
  /** Bytes of RAM from 4 GiB. */
  readonly high: bigint;
  /** RAM behind the plan's own, below 4 GiB, that the guest is not told of; size 0n if the machine has no room for it. */
  readonly spare: { readonly address: bigint; readonly size: bigint };
}

function endBelow(ends: readonly bigint[], limit: bigint): bigint {
  return ends.reduce((high, end) => (end <= limit && end > high ? end : high), 0n);
}

/**
 * RAM for a plan on a machine type; null if that machine cannot have RAM where the plan wants it.
 * Ranges of the map that are reserved count only where the plan places something.
 */
export function ramLayout(plan: BootPlan, type: QemuMachineType): RamLayout | null {
  const ends = [
    ...plan.memory
      .filter(({ type }) => type !== 'reserved' && type !== 'unusable')
      .map(({ address, size }) => address + size),
    ...plan.regions.map(({ address, size }) => address + BigInt(size)),
  ];
  const used = alignUp(endBelow(ends, FOUR_GIB), MIB);
  const top = ends.reduce((high, end) => (end > high ? end : high), 0n);
  const high = top > FOUR_GIB ? alignUp(top - FOUR_GIB, MIB) : 0n;
  const limits = LOW_LIMITS[type];
  const limit = high === 0n ? limits.alone : limits.withHigh;
  if (used > limit) return null;
  const low = used + FIRMWARE_ROOM <= limit ? used + FIRMWARE_ROOM : used;
  return { low, high, spare: { address: used, size: low - used } };
}

/** Offset in the backing file of a range of guest memory. @throws BootImageError `does-not-fit` */
export function fileOffset(layout: RamLayout, address: bigint, size: bigint): number {
  if (address >= 0n && address + size <= layout.low) return Number(address);
  if (address >= FOUR_GIB && address + size <= FOUR_GIB + layout.high) return Number(address - FOUR_GIB + layout.low);
  throw new BootImageError('does-not-fit', `the guest has no RAM at ${hex(address)}-${hex(address + size)}`, {
    hint: 'give the guest more --memory',
  });
}
