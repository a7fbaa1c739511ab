import { BootImageError } from '../bytes/error.js';

/** e820 entry types (ACPI specification, address range types; boot_params.e820_table uses the same numbers). */
export const E820_TYPES = { ram: 1, reserved: 2, acpi: 3, nvs: 4, unusable: 5, pmem: 7 } as const;

export type MemoryType = keyof typeof E820_TYPES;

export interface MemoryRange {
  /** Guest physical address. */
  readonly address: bigint;
  /** Bytes. */
  readonly size: bigint;
  readonly type: MemoryType;
}

/** In address order, disjoint. */
export type MemoryMap = readonly MemoryRange[];

/** First byte that a conventional PC does not use as low RAM: the EBDA below 640 KiB. */
export const LOW_MEMORY_END = 0x9fc00n;
/** VGA memory, option ROMs and the BIOS: [0xA0000, 0x100000) is never touched. */
export const HIGH_MEMORY_START = 0x100000n;
const FOUR_GIB = 0x100000000n;

/**
 * Where RAM below 4 GiB ends at the latest: the space of PCI devices begins at 0xB0000000 on QEMU's q35, at 0x80000000
 * when there is RAM above 4 GiB, too. The last 16 MiB before it are left to the machine's firmware tables.
 */
const LOW_RAM_LIMIT = { alone: 0xaf000000n, withHigh: 0x7f000000n } as const;

/**
 * The map of a PC with `size` bytes of RAM: low memory, the hole of the adapters, RAM up to the space of PCI devices
 * and the rest above 4 GiB.
 * @throws BootImageError `bad-argument` below 2 MiB or above 4 TiB.
 */
export function pcMemoryMap(size: bigint): MemoryMap {
  if (size < 2n << 20n || size > 4n << 40n) {
    throw new BootImageError('bad-argument', `${String(size)} bytes is no usable memory size`, {
      field: 'memory',
      hint: 'give between 2M and 4T',
    });
  }
  const below = size <= LOW_RAM_LIMIT.alone ? size : LOW_RAM_LIMIT.withHigh;
  const map: MemoryRange[] = [
    { address: 0n, size: LOW_MEMORY_END, type: 'ram' },
    { address: LOW_MEMORY_END, size: 0xa0000n - LOW_MEMORY_END, type: 'reserved' },
    { address: 0xf0000n, size: 0x10000n, type: 'reserved' },
    { address: HIGH_MEMORY_START, size: below - HIGH_MEMORY_START, type: 'ram' },
  ];
  if (size > below) map.push({ address: FOUR_GIB, size: size - below, type: 'ram' });
  return map;
}

/** One past the highest RAM address. */
export function ramEnd(map: MemoryMap): bigint {
  return map.reduce(
    (end, range) => (range.type === 'ram' && range.address + range.size > end ? range.address + range.size : end),
    0n,
  );
}

/** Bytes of memory as a machine counts them: RAM's end below 4 GiB, with the adapters' hole inside, and RAM above. */
export function memorySize(map: MemoryMap): bigint {
  const high = map.filter(({ address, type }) => type === 'ram' && address >= FOUR_GIB);
  const low = map.filter((range) => !high.includes(range));
  return ramEnd(low) + high.reduce((sum, { size }) => sum + size, 0n);
}

/** Parses "512M", "1G", "65536K" or plain bytes (decimal or 0x...). @throws BootImageError `bad-argument` */
export function parseMemorySize(text: string): bigint {
  const match = /^(0x[0-9a-f]+|\d+)([kmgt]?)b?$/i.exec(text.trim());
  if (match === null) {
    throw new BootImageError('bad-argument', `"${text}" is not a memory size`, {
      field: 'memory',
      hint: 'write 512M or 2G',
    });
  }
  const shift = { '': 0n, k: 10n, m: 20n, g: 30n, t: 40n }[(match[2] ?? '').toLowerCase()] ?? 0n;
  return BigInt(match[1] ?? '0') << shift;
}
