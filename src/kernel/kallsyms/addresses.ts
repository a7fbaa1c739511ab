/**
 * The addresses of kallsyms. Where they stand and how they are encoded depends on the kernel's version and
 * configuration; every way is tried and has to prove itself by what `accept` knows about the kernel.
 *
 * - before 4.6: kallsyms_addresses, a word each, in front of kallsyms_num_syms
 * - 4.6 to 6.3: kallsyms_offsets, s32 each, and kallsyms_relative_base, a word, in front of kallsyms_num_syms
 * - 6.4 to 6.x: the same behind kallsyms_token_index
 * - since 7.0: kallsyms_offsets behind kallsyms_token_index, relative to where each of them stands; in a 32-bit kernel that
 *   is not relocatable the addresses themselves
 *
 * With relative_base, an offset counts from it; with CONFIG_KALLSYMS_ABSOLUTE_PERCPU (64-bit SMP until the per-CPU area was
 * no longer linked at zero) one that is not negative is an absolute value and a negative one means base - 1 - offset.
 */
import type { ByteView } from '../../bytes/byte-view.js';
import { alignNumber } from '../../bytes/numbers.js';
import type { Vmlinux } from '../vmlinux.js';
import type { KallsymsNames } from './names.js';

type Decoder = () => BigUint64Array | null;

function addressOfOffset(vmlinux: Vmlinux, offset: number): bigint | null {
  const segment = vmlinux.segments.find((each) => offset >= each.offset && offset < each.offset + each.filesz);
  return segment === undefined ? null : segment.vaddr + BigInt(offset - segment.offset);
}

function fill(count: number, address: (index: number) => bigint): BigUint64Array {
  const addresses = new BigUint64Array(count);
  for (let i = 0; i < count; i++) addresses[i] = address(i);
  return addresses;
}

function decoders(vmlinux: Vmlinux, view: ByteView, { numSyms, end, count }: KallsymsNames): Decoder[] {
  const { bits } = vmlinux;
  const word = bits / 8;
  const readWord = (at: number): bigint => (bits === 64 ? view.u64(at) : BigInt(view.u32(at)));
  const wrap = (value: bigint): bigint => BigInt.asUintN(bits, value);

  const absolute =
    (at: number): Decoder =>
    () =>
      view.has(at, count * word) ? fill(count, (i) => readWord(at + i * word)) : null;

  const relative = (at: number, baseAt: number): Decoder[] => {
    const guarded =
      (address: (base: bigint, offset: number) => bigint): Decoder =>
      () => {
        if (!view.has(at, count * 4) || !view.has(baseAt, word)) return null;
        const base = readWord(baseAt);
        return fill(count, (i) => wrap(address(base, view.i32(at + i * 4))));
      };
    return [
      guarded((base, offset) => (offset >= 0 ? BigInt(offset) : base - 1n - BigInt(offset))),
      guarded((base, offset) => base + BigInt(offset >>> 0)),
    ];
  };

  const placeRelative =
    (at: number): Decoder =>
    () => {
      const start = addressOfOffset(vmlinux, at);
      if (start === null || !view.has(at, count * 4)) return null;
      return fill(count, (i) => wrap(start + BigInt(i * 4 + view.i32(at + i * 4))));
    };

  const before = numSyms - word;
  const after = alignNumber(end, word);
  const size = count * 4;
  return [
    ...relative(before - alignNumber(size, word), before),
    ...relative(after, alignNumber(after + size, word)),
    placeRelative(alignNumber(end, 4)),
    () => (view.has(end, size) ? fill(count, (i) => BigInt(view.u32(end + i * 4))) : null),
    absolute(numSyms - count * word),
    absolute(after),
  ];
}

function isSorted(addresses: BigUint64Array): boolean {
  for (let i = 1; i < addresses.length; i++) {
    if ((addresses[i] ?? 0n) < (addresses[i - 1] ?? 0n)) return false;
  }
  return true;
}

/** The first way of decoding that gives sorted addresses (kallsyms is searched by halves) and that `accept` confirms. */
export function findKallsymsAddresses(
  vmlinux: Vmlinux,
  view: ByteView,
  names: KallsymsNames,
  accept: (addresses: BigUint64Array) => boolean,
): BigUint64Array | null {
  for (const decode of decoders(vmlinux, view, names)) {
    const addresses = decode();
    if (addresses !== null && isSorted(addresses) && accept(addresses)) return addresses;
  }
  return null;
}
