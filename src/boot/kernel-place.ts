/** The kernel stage's own work: vmlinux into memory, by its program headers. */
import { BootImageError } from '../bytes/error.js';
import { alignUp, hex } from '../bytes/numbers.js';
import { subtractRanges } from '../bytes/ranges.js';
import { checkMove, type KernelMove, NO_MOVE, placeKernel } from '../kernel/relocate.js';
import { LOADFLAGS } from '../bzimage/setup-header.js';
import { linkedPhysicalBase, linkedPhysicalEnd, type Vmlinux } from '../kernel/vmlinux.js';
import type { Draft } from './draft.js';
import { chooseMove } from './kaslr.js';
import type { LoaderHeader } from './loader-header.js';
import { PAGE_SIZE, type Placement } from './placement.js';
import type { Protocol, Region } from './plan.js';

/** What a kernel needs of memory, counted from the lowest p_paddr. */
export interface KernelExtent {
  /** LOAD_PHYSICAL_ADDR: where it was linked for. */
  readonly base: bigint;
  /** Bytes that have to be RAM and free: its segments, and init_size, which may be more. */
  readonly size: bigint;
  /** Unit of physical moves. */
  readonly alignment: bigint;
}

const PAGE_2M = 0x200000n;

export function kernelExtent(vmlinux: Vmlinux, header: LoaderHeader): KernelExtent {
  const base = linkedPhysicalBase(vmlinux);
  const span = linkedPhysicalEnd(vmlinux) - base;
  const initSize = header.big('init_size');
  const announced = header.big('kernel_alignment');
  // startup_64 refuses anything but a multiple of 2 MiB.
  const least = vmlinux.bits === 64 ? PAGE_2M : PAGE_SIZE;
  const valid = announced > least && (announced & (announced - 1n)) === 0n;
  return { base, size: alignUp(span > initSize ? span : initSize, PAGE_SIZE), alignment: valid ? announced : least };
}

/** KERNEL_IMAGE_SIZE of a 32-bit kernel: what its first page tables map. */
const KERNEL_IMAGE_SIZE_32 = 512n << 20n;
/** The same of a 64-bit kernel with CONFIG_RANDOMIZE_BASE, and what the PVH entry's first page tables map. */
const KERNEL_IMAGE_SIZE_64 = 1n << 30n;

/** How a kernel may move when it is entered by a certain protocol. */
interface Mobility {
  /** Why it stays where it was linked; null if it may be moved. */
  readonly fixed: string | null;
  /** Physical and virtual addresses move by the same distance. */
  readonly coupled: boolean;
  /** One past the highest physical address that it may reach. */
  readonly limit: bigint;
}

function mobility(vmlinux: Vmlinux, header: LoaderHeader, protocol: Protocol): Mobility {
  // The 64-bit PVH entry runs with paging off on addresses that the relocations move, within the first GiB.
  const coupled = vmlinux.bits === 32 || protocol === 'pvh';
  const limit = vmlinux.bits === 32 ? KERNEL_IMAGE_SIZE_32 : coupled ? KERNEL_IMAGE_SIZE_64 : 1n << 64n;
  if (!header.relocatable) return { coupled, limit, fixed: 'the kernel is not relocatable (relocatable_kernel is 0)' };
  const fixed = coupled && vmlinux.relocations === null ? 'the kernel brings no relocations' : null;
  return { coupled, limit, fixed };
}

/**
 * The physical address of the entry point, before any move. e_entry is a physical address in Linux kernels; a virtual
 * one is understood, too.
 * @throws BootImageError `elf-malformed` if it lies in no segment.
 */
export function kernelEntry(vmlinux: Vmlinux): bigint {
  const { e_entry } = vmlinux.elf.header;
  for (const start of ['paddr', 'vaddr'] as const) {
    const segment = vmlinux.segments.find((s) => e_entry >= s[start] && e_entry - s[start] < BigInt(s.filesz));
    if (segment !== undefined) return e_entry - segment[start] + segment.paddr;
  }
  throw new BootImageError('elf-malformed', `the entry point ${hex(e_entry)} lies in no segment`, { field: 'e_entry' });
}

/** Where the kernel goes if nothing else is asked for: where it was linked, else as low as it may. */
function defaultPlace(placement: Placement, extent: KernelExtent, { fixed, limit }: Mobility): bigint {
  const { base, size } = extent;
  if (fixed !== null || placement.obstacle({ start: base, end: base + size }) === null) return base;
  return placement.lowest({ ...extent, min: base, max: limit }) ?? base;
}

function chooseKernelMove(draft: Draft, vmlinux: Vmlinux, extent: KernelExtent, mobile: Mobility): KernelMove {
  const { request } = draft;
  if (request.at !== undefined) {
    checkMove(vmlinux, request.at);
    return request.at;
  }
  if (request.kaslr !== undefined) return chooseMove(draft, vmlinux, { ...extent, ...mobile }, request.kaslr.seed);
  const place = defaultPlace(draft.placement, extent, mobile);
  if (place === extent.base) return NO_MOVE;
  draft.remarks.push(`${hex(extent.base)}, where the kernel was linked for, is not free: it goes to ${hex(place)}`);
  const physicalDelta = place - extent.base;
  return { physicalDelta, virtualDelta: mobile.coupled ? physicalDelta : 0n };
}

/**
 * Places the kernel, where the request says, at random, or as close as possible to where it was linked for, and the
 * initrd. Neither takes the only place of the other: the initrd goes as high as it can while the kernel's default
 * place is held, and only then does the kernel choose.
 * @throws BootImageError `does-not-fit`, `overlap`, `not-relocatable`, `bad-argument`
 */
export function placeKernelAndInitrd(draft: Draft, vmlinux: Vmlinux, header: LoaderHeader, protocol: Protocol): void {
  const { placement, request } = draft;
  const extent = kernelExtent(vmlinux, header);
  const mobile = mobility(vmlinux, header, protocol);
  const held =
    request.at === undefined ? defaultPlace(placement, extent, mobile) : extent.base + request.at.physicalDelta;
  const hint = mobile.fixed === null ? 'give the guest more memory' : `${mobile.fixed}: it can run nowhere else`;
  placement.claim(held, extent.size, 'the kernel with its init_size', hint);
  draft.addInitrd(header.initrdLimit, vmlinux.bits === 64 && protocol !== 'pvh' && header.above4G);
  placement.release(held);
  const move = chooseKernelMove(draft, vmlinux, extent, mobile);
  placement.claim(extent.base + move.physicalDelta, extent.size, 'the kernel with its init_size', hint);
  addKernel(draft, vmlinux, move, protocol);
  const { KASLR_FLAG } = LOADFLAGS;
  if (draft.facts.kaslr === undefined) header.setLoadflags(0, KASLR_FLAG);
  else header.setLoadflags(KASLR_FLAG, 0);
}

function flagText(flags: number): string {
  return [flags & 4 ? 'r' : '-', flags & 2 ? 'w' : '-', flags & 1 ? 'x' : '-'].join('');
}

/**
 * The regions of a placed kernel: its segments, cleared up to p_memsz, and the gaps between them, cleared too.
 * With `consumeKernel` relocations are applied to vmlinux itself.
 */
function addKernel(draft: Draft, vmlinux: Vmlinux, move: KernelMove, protocol: Protocol): void {
  const placed = placeKernel(vmlinux, move, {
    inPlace: draft.request.consumeKernel === true,
    moveNotes: protocol === 'pvh' && move.virtualDelta !== 0n,
  });
  for (const { segment, address, bytes, memsz } of placed) {
    draft.add({
      address,
      size: memsz,
      ...(bytes.length === 0 ? {} : { bytes }),
      purpose: bytes.length === 0 ? 'bss' : 'kernel',
      label: `segment ${segment.index} (${flagText(segment.flags)})`,
    });
  }
  const base = linkedPhysicalBase(vmlinux) + move.physicalDelta;
  const end = linkedPhysicalEnd(vmlinux) + move.physicalDelta;
  const covered = placed.map(({ address, memsz }) => ({ start: address, end: address + BigInt(memsz) }));
  for (const gap of subtractRanges({ start: base, end }, covered)) {
    draft.add(gapRegion(gap.start, gap.end));
  }
  draft.facts.kernelBase = base;
  draft.facts.physicalDelta = move.physicalDelta;
  draft.facts.virtualDelta = move.virtualDelta;
}

function gapRegion(start: bigint, end: bigint): Region {
  const size = Number(end - start);
  if (!Number.isSafeInteger(size)) {
    throw new BootImageError('does-not-fit', 'the kernel has a gap that no memory could fill', { field: 'p_paddr' });
  }
  return { address: start, size, purpose: 'bss', label: 'gap between segments' };
}
