/** Where things go: free RAM, and what has already been claimed of it. */
import { BootImageError } from '../bytes/error.js';
import { alignDown, alignUp, hex } from '../bytes/numbers.js';
import { type AddressRange, rangeContains, rangeOf, rangesOverlap, subtractRanges } from '../bytes/ranges.js';
import { HIGH_MEMORY_START, type MemoryMap } from './memory-map.js';

export const FOUR_GIB = 1n << 32n;
export const PAGE_SIZE = 0x1000n;

/** Below this a PC has its interrupt vectors and its BIOS' data; kernels set it aside, and loaders begin here. */
export const LOADER_MEMORY = 0x10000n;

/** VGA memory, option ROMs and the BIOS: no map makes this RAM that a loader may use. */
export const ADAPTER_HOLE: AddressRange = { start: 0xa0000n, end: HIGH_MEMORY_START };

/**
 * The map's RAM as maximal ranges in address order, without the holes.
 * @throws BootImageError `bad-argument` for entries that are empty, wrap, overlap or are out of order.
 */
export function usableRam(memory: MemoryMap, holes: readonly AddressRange[] = [ADAPTER_HOLE]): AddressRange[] {
  let end = 0n;
  const ram: AddressRange[] = [];
  for (const entry of memory) {
    const range = rangeOf(entry.address, entry.size, 'memory');
    if (entry.size === 0n || range.start < end) {
      throw new BootImageError(
        'bad-argument',
        `the memory map's entry at ${hex(entry.address)} (${hex(entry.size)} bytes) is empty, out of order or overlaps another`,
        { field: 'memory', hint: 'give disjoint entries in address order' },
      );
    }
    end = range.end;
    if (entry.type !== 'ram') continue;
    for (const part of subtractRanges(range, holes)) {
      const last = ram.at(-1);
      if (last?.end === part.start) ram[ram.length - 1] = { start: last.start, end: part.end };
      else ram.push(part);
    }
  }
  return ram;
}

export interface Wanted {
  /** Bytes. */
  readonly size: bigint;
  /** A power of two. */
  readonly alignment: bigint;
  /** Lowest address allowed; 0 by default. */
  readonly min?: bigint;
  /** One past the highest byte allowed; 2^64 by default. */
  readonly max?: bigint;
}

interface Claim extends AddressRange {
  readonly what: string;
}

/** Book-keeping for one plan. Claims never overlap and always lie in RAM. */
export class Placement {
  readonly ram: readonly AddressRange[];
  #claims: Claim[] = [];

  constructor(memory: MemoryMap) {
    this.ram = usableRam(memory);
  }

  /** Free ranges in address order. */
  free(): AddressRange[] {
    return this.ram.flatMap((range) => subtractRanges(range, this.#claims));
  }

  /** Why `range` cannot be claimed, as the end of a sentence; null if it can. */
  obstacle(range: AddressRange): string | null {
    const claim = this.#claims.find((other) => rangesOverlap(other, range));
    if (claim !== undefined) {
      return `${claim.what} is already at ${hex(claim.start)}-${hex(claim.end)}`;
    }
    if (this.ram.some((part) => rangeContains(part, range))) return null;
    if (rangesOverlap(range, ADAPTER_HOLE)) return 'it would touch 0xa0000-0x100000, which belongs to the adapters';
    const covered = this.ram.find((part) => rangesOverlap(part, range));
    return covered === undefined ? 'there is no RAM' : `RAM there is only ${hex(covered.start)}-${hex(covered.end)}`;
  }

  /**
   * Takes a range that has to be just there.
   * @throws BootImageError `overlap` or `does-not-fit`, saying what is in the way.
   */
  claim(start: bigint, size: bigint, what: string, hint?: string): void {
    const range = rangeOf(start, size, what);
    const obstacle = this.obstacle(range);
    if (obstacle !== null) {
      throw new BootImageError(
        this.#claims.some((other) => rangesOverlap(other, range)) ? 'overlap' : 'does-not-fit',
        `${what} has to be at ${hex(start)}-${hex(range.end)}, but ${obstacle}`,
        { hint },
      );
    }
    this.#claims.push({ ...range, what });
  }

  /** Claims what of a range is free, to keep it free; nothing of it need be. */
  keep(kept: AddressRange, what: string): void {
    for (const { start, end } of this.free()) {
      const from = start > kept.start ? start : kept.start;
      const to = end < kept.end ? end : kept.end;
      if (to > from) this.#claims.push({ start: from, end: to, what });
    }
  }

  /** Gives a claim back. */
  release(start: bigint): void {
    this.#claims = this.#claims.filter((claim) => claim.start !== start);
  }

  /** The lowest place, or null. Claims nothing. */
  lowest(wanted: Wanted): bigint | null {
    for (const range of this.#candidates(wanted)) {
      const start = alignUp(range.start, wanted.alignment);
      if (start + wanted.size <= range.end) return start;
    }
    return null;
  }

  /** The highest place, or null. Claims nothing. */
  highest(wanted: Wanted): bigint | null {
    for (const range of this.#candidates(wanted).reverse()) {
      const start = alignDown(range.end - wanted.size, wanted.alignment);
      if (start >= range.start) return start;
    }
    return null;
  }

  /** Finds the lowest place and claims it. @throws BootImageError `does-not-fit` */
  takeLowest(wanted: Wanted, what: string, hint?: string): bigint {
    return this.#take(this.lowest(wanted), wanted, what, hint);
  }

  /** Finds the highest place and claims it. @throws BootImageError `does-not-fit` */
  takeHighest(wanted: Wanted, what: string, hint?: string): bigint {
    return this.#take(this.highest(wanted), wanted, what, hint);
  }

  /** Free ranges cut to what is wanted and large enough for its size, alignment aside. */
  #candidates({ size, min = 0n, max = 1n << 64n }: Wanted): AddressRange[] {
    return this.free()
      .map(({ start, end }) => ({ start: start > min ? start : min, end: end < max ? end : max }))
      .filter(({ start, end }) => end - start >= size);
  }

  #take(start: bigint | null, wanted: Wanted, what: string, hint: string | undefined): bigint {
    if (start === null) {
      const between =
        wanted.max === undefined
          ? wanted.min === undefined
            ? ''
            : ` above ${hex(wanted.min)}`
          : ` between ${hex(wanted.min ?? 0n)} and ${hex(wanted.max)}`;
      throw new BootImageError(
        'does-not-fit',
        `${what} needs ${String(wanted.size)} bytes of RAM in one piece${between}, and no such piece is free`,
        { hint: hint ?? 'give the guest more memory' },
      );
    }
    this.claim(start, wanted.size, what);
    return start;
  }
}
