/** Windows on memory of this process, and plans' regions to write through them. */
import type { Region } from '../../../src/boot/plan.js';
import type { MemoryWindow } from '../../../src/machines/device-window/memory-window.js';

/** A byte that no region of these tests brings. */
export const GUARD = 0xa5;

export function guarded(size: number): Uint8Array {
  return new Uint8Array(size).fill(GUARD);
}

/** Bytes that differ from place to place and never equal the guard. */
export function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_none, index) => (index * 7 + (index >> 8)) % GUARD);
}

export function region(address: number, bytes: Uint8Array | number, size?: number): Region {
  const content = typeof bytes === 'number' ? {} : { bytes };
  const length = size ?? (typeof bytes === 'number' ? bytes : bytes.length);
  return { address: BigInt(address), size: length, ...content, purpose: 'kernel', label: `at ${address.toString(16)}` };
}

/** What memory has to hold afterwards. */
export function expected(before: Uint8Array, regions: readonly Region[], address = 0n): Uint8Array {
  const after = before.slice();
  for (const { address: start, size, bytes } of regions) {
    const offset = Number(start - address);
    after.fill(0, offset, offset + size);
    if (bytes !== undefined) after.set(bytes, offset);
  }
  return after;
}

/**
 * `memory` through an aperture. What is shown is taken back when the aperture moves on: a writer that kept using it
 * would write into nothing.
 */
export function movingWindow(
  memory: Uint8Array,
  aperture: number,
  address = 0n,
): MemoryWindow & { readonly offsets: readonly number[]; flush(): void } {
  const shown = new Uint8Array(aperture);
  const offsets: number[] = [];
  const flush = (): void => {
    const last = offsets.at(-1);
    if (last !== undefined) memory.set(shown.subarray(0, memory.length - last), last);
  };
  return {
    address,
    size: memory.length,
    aperture,
    offsets,
    flush,
    expose(offset) {
      flush();
      offsets.push(offset);
      shown.set(memory.subarray(offset, offset + aperture));
      return Promise.resolve(shown.subarray(0, memory.length - offset));
    },
  };
}
