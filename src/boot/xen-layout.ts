/**
 * Where the initial domain's parts lie: the start-of-day memory layout of Xen's public header xen.h, as the hypervisor
 * lays it out for dom0 (xen/arch/x86/pv/dom0_build.c) and the toolstack for a domU (tools/libs/guest/xg_dom_core.c and
 * xg_dom_x86.c). Pure arithmetic: no memory is touched here.
 */
import { BootImageError } from '../bytes/error.js';
import { alignDown, alignUp } from '../bytes/numbers.js';
import type { XenParameters } from '../kernel/xen-parameters.js';

export type XenRole = 'dom0' | 'domu';

const PAGE = 4096n;
const FOUR_MIB = 1n << 22n;
const PADDING = 512n << 10n;

/** sizeof(struct start_info) in the public header: 64-bit, and compat for 32-bit guests. */
export const START_INFO_SIZE = { 64: 1168, 32: 1112 } as const;
/** sizeof(struct dom0_vga_console_info), which shares the start info page of dom0. */
const VGA_CONSOLE_INFO_SIZE = 40n;

/** A part of the domain: virtual addresses, and the first pseudo-physical frame number behind them. */
export interface XenPart {
  readonly start: bigint;
  readonly end: bigint;
  readonly pfn: bigint;
}

export interface XenLayout {
  readonly role: XenRole;
  readonly bits: 32 | 64;
  /** Pages that the domain owns. */
  readonly pages: bigint;
  /** v_start and v_end: the region that the initial page tables map. */
  readonly region: { readonly start: bigint; readonly end: bigint };
  readonly kernel: XenPart;
  /** Mapped in the region, or at a frame of its own when MOD_START_PFN asks for it; null without an initrd. */
  readonly initrd: (XenPart & { readonly mapped: boolean }) | null;
  /** The phys-to-machine list; outside the region when INIT_P2M names a place. */
  readonly p2m: XenPart & { readonly outside: boolean };
  /** Page tables that map an outside p2m list: first frame and count, right behind or before its frames. */
  readonly p2mTables: { readonly pfn: bigint; readonly count: number };
  readonly startInfo: XenPart;
  readonly xenstore: XenPart | null;
  readonly console: XenPart | null;
  readonly pageTables: XenPart & { readonly count: number };
  readonly bootStack: XenPart;
}

/** How many aligned blocks of 2^shift bytes [low, high) touches. */
function blocks(low: bigint, high: bigint, shift: bigint): bigint {
  const size = 1n << shift;
  return (alignUp(high, size) - alignDown(low, size)) >> shift;
}

/** Frames of page tables that map [start, end), the top level included only where `withTop`. */
export function pageTableCount(start: bigint, end: bigint, bits: 32 | 64, withTop: boolean): bigint {
  const top = withTop ? 1n : 0n;
  if (bits === 32) return top + 4n + blocks(start, end, 21n);
  return top + blocks(start, end, 39n) + blocks(start, end, 30n) + blocks(start, end, 21n);
}

const entrySize = (bits: 32 | 64): bigint => (bits === 64 ? 8n : 4n);

function dom0Layout(xen: XenParameters, pages: bigint, initrdSize: bigint): XenLayout {
  const { bits } = xen;
  const vStart = xen.virtBaseUsed;
  const pfnOf = (address: bigint): bigint => (address - vStart) / PAGE;
  const kernelEnd = alignUp(xen.virtKend, PAGE);
  const mapped = initrdSize > 0n && !xen.unmappedInitrd;
  const initrdPages = alignUp(initrdSize, PAGE) / PAGE;
  const afterInitrd = mapped ? alignUp(kernelEnd + initrdSize, PAGE) : kernelEnd;
  // A 32-bit dom0's INIT_P2M is ignored.
  const p2mBase = bits === 64 ? xen.initP2m : null;
  const p2mSize = pages * entrySize(bits);
  const p2mEnd = p2mBase === null ? afterInitrd + p2mSize : afterInitrd;
  const startInfo = alignUp(p2mEnd, PAGE);
  const startInfoEnd = startInfo + BigInt(START_INFO_SIZE[bits]);
  const tables = alignUp(startInfoEnd, PAGE);

  let count = 2n;
  let stack: bigint;
  let vEnd: bigint;
  for (;;) {
    stack = tables + count * PAGE;
    vEnd = alignUp(stack + PAGE, FOUR_MIB);
    if (vEnd - (stack + PAGE) < PADDING) vEnd += FOUR_MIB;
    if (pageTableCount(vStart, vEnd, bits, bits === 64) + (bits === 32 ? 1n : 0n) <= count) break;
    count++;
  }

  // The hypervisor allocates the region as one chunk of a power of two pages, without a mapped initrd's frames.
  const regionPages = (vEnd - vStart) / PAGE - (mapped ? initrdPages : 0n);
  let chunk = 1n;
  while (chunk < regionPages) chunk <<= 1n;
  if (chunk + initrdPages > pages) {
    throw new BootImageError('does-not-fit', 'Domain 0 allocation is too small for kernel image', {
      field: 'memory.xen-allocation',
      hint: `give the domain at least ${String((chunk + initrdPages) / 256n)} MiB`,
    });
  }
  const outside = chunk + initrdPages;
  const outsideEnd = p2mBase === null ? 0n : p2mBase + alignUp(p2mSize, PAGE);
  const p2mTables = p2mBase === null ? 0n : outsideTableCount(p2mBase, outsideEnd, vStart, vEnd);
  return {
    role: 'dom0',
    bits,
    pages,
    region: { start: vStart, end: vEnd },
    kernel: { start: xen.virtKstart, end: xen.virtKend, pfn: pfnOf(xen.virtKstart) },
    initrd:
      initrdSize === 0n
        ? null
        : mapped
          ? { start: kernelEnd, end: kernelEnd + initrdSize, pfn: pfnOf(kernelEnd), mapped }
          : { start: 0n, end: initrdSize, pfn: chunk, mapped },
    p2m:
      p2mBase === null
        ? { start: afterInitrd, end: p2mEnd, pfn: pfnOf(afterInitrd), outside: false }
        : { start: p2mBase, end: p2mBase + p2mSize, pfn: outside + p2mTables, outside: true },
    p2mTables: { pfn: outside, count: Number(p2mTables) },
    startInfo: { start: startInfo, end: startInfoEnd + VGA_CONSOLE_INFO_SIZE, pfn: pfnOf(startInfo) },
    xenstore: null,
    console: null,
    pageTables: { start: tables, end: stack, pfn: pfnOf(tables), count: Number(count) },
    bootStack: { start: stack, end: stack + PAGE, pfn: pfnOf(stack) },
  };
}

/** Page tables that an outside p2m list needs beyond those of the region; both hang off one top level. */
function outsideTableCount(start: bigint, end: bigint, regionStart: bigint, regionEnd: bigint): bigint {
  let count = 0n;
  for (const shift of [39n, 30n, 21n]) {
    const size = 1n << shift;
    for (let at = alignDown(start, size); at < end; at += size) {
      if (at + size <= alignDown(regionStart, size) || at >= alignUp(regionEnd, size)) count++;
    }
  }
  return count;
}

function domuLayout(xen: XenParameters, pages: bigint, initrdSize: bigint): XenLayout {
  const { bits } = xen;
  const vStart = xen.virtBaseUsed;
  const pfnOf = (address: bigint): bigint => (address - vStart) / PAGE;
  if ((xen.virtKstart & (PAGE - 1n)) !== 0n) {
    throw new BootImageError('rule-violated', "xc_dom_alloc_segment: segment start isn't page aligned", {
      field: 'memory.xen-kernel-alignment',
    });
  }
  let at = alignUp(xen.virtKend, PAGE);
  const take = (size: bigint): XenPart => {
    const part = { start: at, end: at + size, pfn: pfnOf(at) };
    at = alignUp(at + size, PAGE);
    return part;
  };
  const mapped = initrdSize > 0n && !xen.unmappedInitrd;
  const initrd = mapped ? { ...take(initrdSize), mapped } : null;
  // INIT_P2M at or above virt_base, or not page aligned, is dropped silently; 32-bit guests have no such place.
  const p2mBase =
    bits === 64 && xen.initP2m !== null && xen.initP2m < vStart && (xen.initP2m & (PAGE - 1n)) === 0n
      ? xen.initP2m
      : null;
  const p2mSize = alignUp(pages * entrySize(bits), PAGE);
  const inside = p2mBase === null ? take(p2mSize) : null;
  const startInfo = take(PAGE);
  const xenstore = take(PAGE);
  const console = take(PAGE);

  const extra = 1n + PADDING / PAGE;
  let needed = extra;
  let vEnd: bigint;
  let count: bigint;
  for (;;) {
    vEnd = ((at + needed * PAGE) | (FOUR_MIB - 1n)) + 1n;
    count =
      bits === 64 ? pageTableCount(vStart, vEnd, 64, true) : 1n + paeL2Count(vStart, vEnd) + blocks(vStart, vEnd, 21n);
    needed = count + extra;
    if (at + needed * PAGE <= vEnd) break;
  }
  const pageTables = { ...take(count * PAGE), count: Number(count) };
  const bootStack = take(PAGE);

  let next = pfnOf(vEnd);
  let unmapped: XenLayout['initrd'] = null;
  if (initrdSize > 0n && !mapped) {
    unmapped = { start: 0n, end: initrdSize, pfn: next, mapped };
    next += alignUp(initrdSize, PAGE) / PAGE;
  }
  const p2mTables = p2mBase === null ? 0n : outsideTableCount(p2mBase, p2mBase + p2mSize, vStart, vEnd);
  const p2m =
    inside === null
      ? { start: p2mBase ?? 0n, end: (p2mBase ?? 0n) + p2mSize, pfn: next, outside: true }
      : { ...inside, outside: false };
  const tablesPfn = next + p2mSize / PAGE;
  const used = p2mBase === null ? next : tablesPfn + p2mTables;
  if (used > pages) {
    throw new BootImageError('does-not-fit', 'count_pgtables: not enough memory for initial mapping', {
      field: 'memory.xen-allocation',
      hint: `give the domain at least ${String(used / 256n + 1n)} MiB`,
    });
  }
  return {
    role: 'domu',
    bits,
    pages,
    region: { start: vStart, end: vEnd },
    kernel: { start: xen.virtKstart, end: xen.virtKend, pfn: pfnOf(xen.virtKstart) },
    initrd: initrd ?? unmapped,
    p2m,
    p2mTables: { pfn: tablesPfn, count: Number(p2mTables) },
    startInfo,
    xenstore,
    console,
    pageTables,
    bootStack,
  };
}

/** PAE: one second-level table a GiB, and the fourth one, which Xen's own entries need, even below 3 GiB. */
function paeL2Count(start: bigint, end: bigint): bigint {
  const first = start >> 30n;
  return (end < 0xc0000000n ? 4n : blocks(start, end, 30n) + first) - first;
}

/**
 * The layout of an initial domain.
 * @param pages 4 KiB pages that the domain owns.
 * @param initrdSize bytes; 0 for none.
 * @throws BootImageError `does-not-fit` in Xen's words when the domain is too small.
 */
export function xenLayout(xen: XenParameters, role: XenRole, pages: bigint, initrdSize: bigint): XenLayout {
  return role === 'dom0' ? dom0Layout(xen, pages, initrdSize) : domuLayout(xen, pages, initrdSize);
}

/** The arrangement under Xen's own labels: the block "VIRTUAL MEMORY ARRANGEMENT" of the hypervisor's console. */
export function xenArrangement(
  layout: XenLayout,
): { readonly label: string; readonly start: bigint; readonly end: bigint }[] {
  const { initrd } = layout;
  const rows: (readonly [string, { readonly start: bigint; readonly end: bigint } | null])[] = [
    ['Loaded kernel', layout.kernel],
    ['Init. ramdisk', initrd?.mapped === true ? initrd : null],
    ['Phys-Mach map', layout.p2m],
    ['Start info', layout.startInfo],
    ['Xenstore ring', layout.xenstore],
    ['Console ring', layout.console],
    ['Page tables', layout.pageTables],
    ['Boot stack', layout.bootStack],
    ['TOTAL', layout.region],
  ];
  return rows.flatMap(([label, part]) => (part === null ? [] : [{ label, start: part.start, end: part.end }]));
}
