/** The kernel's own symbol table (CONFIG_KALLSYMS), from 2.6.10 on, without help from its version. */
import { ByteView } from '../../bytes/byte-view.js';
import { noteNumber, XEN_ELFNOTE_ENTRY, XEN_ELFNOTE_PHYS32_ENTRY } from '../notes.js';
import { kernelMap } from '../relocate.js';
import { linkedPhysicalBase, linkedPhysicalEnd, type Vmlinux } from '../vmlinux.js';
import { findKallsymsAddresses } from './addresses.js';
import { findKallsymsNames } from './names.js';

export interface KernelSymbol {
  /** As linked: virtual, or for 'A' (absolute, per-CPU) a value. */
  readonly address: bigint;
  /** As nm prints it: upper case for global symbols. */
  readonly type: string;
  readonly name: string;
}

/** Symbols whose addresses the ELF file knows as well. */
function anchors(vmlinux: Vmlinux): ReadonlyMap<string, bigint> {
  const map = kernelMap(vmlinux);
  const known = new Map([
    ['_text', linkedPhysicalBase(vmlinux) + map],
    [vmlinux.bits === 64 ? 'startup_64' : 'startup_32', vmlinux.elf.header.e_entry + map],
  ]);
  const pvh = noteNumber(vmlinux.notes, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY);
  if (pvh !== null) known.set('pvh_start_xen', pvh + map);
  const xen = noteNumber(vmlinux.notes, 'Xen', XEN_ELFNOTE_ENTRY);
  if (xen !== null) known.set('startup_xen', xen);
  return known;
}

/** Where a global text symbol of this name stands among the entries (type character and name). */
function positionsOf(entries: readonly string[], name: string): number[] {
  return ['T', 't', 'A'].map((type) => entries.indexOf(type + name)).filter((index) => index >= 0);
}

/**
 * All symbols of kallsyms in its own order, by address; null if there are none or they do not prove right. A decoding
 * counts only if its tables agree with each other, its addresses are sorted, and those that the ELF file also knows
 * (_text, the entry points) are equal.
 */
export function readKallsyms(vmlinux: Vmlinux): KernelSymbol[] | null {
  const view = new ByteView(vmlinux.elfBytes);
  const names = findKallsymsNames(view, vmlinux.bits);
  if (names === null) return null;
  const entries = names.decode();
  const places = [...anchors(vmlinux)].flatMap(([name, expected]) =>
    positionsOf(entries, name).map((index) => ({ index, expected })),
  );
  const first = vmlinux.segments.find(({ paddr }) => paddr === linkedPhysicalBase(vmlinux));
  const stext = positionsOf(entries, '_stext')[0] ?? -1;
  const isInText = (address: bigint | undefined): boolean =>
    first !== undefined &&
    address !== undefined &&
    address >= first.vaddr &&
    address < first.vaddr + BigInt(first.memsz);
  const addresses = findKallsymsAddresses(
    vmlinux,
    view,
    names,
    (found) =>
      (places.length > 0 || stext >= 0) &&
      places.every(({ index, expected }) => found[index] === expected) &&
      (stext < 0 || isInText(found[stext])),
  );
  if (addresses === null) return null;
  return entries.map((entry, i) => ({ address: addresses[i] ?? 0n, type: entry.charAt(0), name: entry.slice(1) }));
}

/** How many symbols kallsyms has, by its name tables alone: cheap. Null if there are none. */
export function countKallsyms(vmlinux: Vmlinux): number | null {
  return findKallsymsNames(new ByteView(vmlinux.elfBytes), vmlinux.bits)?.count ?? null;
}

/** The symbols after a move of the kernel's virtual addresses; absolute and per-CPU values stay. */
export function moveSymbols(
  vmlinux: Vmlinux,
  symbols: readonly KernelSymbol[],
  virtualDelta: bigint,
): readonly KernelSymbol[] {
  if (virtualDelta === 0n) return symbols;
  const map = kernelMap(vmlinux);
  const start = linkedPhysicalBase(vmlinux) + map;
  // Symbols such as _end stand right behind the last segment.
  const end = linkedPhysicalEnd(vmlinux) + map;
  return symbols.map((symbol) =>
    symbol.address >= start && symbol.address <= end ? { ...symbol, address: symbol.address + virtualDelta } : symbol,
  );
}

/** Symbols as System.map (and nm -n) list them: address, type, name, a line each. */
export function formatSystemMap(symbols: readonly KernelSymbol[], bits: 32 | 64): string {
  const digits = bits / 4;
  return symbols
    .map(({ address, type, name }) => `${address.toString(16).padStart(digits, '0')} ${type} ${name}\n`)
    .join('');
}
