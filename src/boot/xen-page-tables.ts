/** The initial page tables of a PV domain, filled for frames that the plan numbers machine = pseudo-physical. */
import type { XenLayout, XenPart } from './xen-layout.js';

const PAGE = 4096;
const PRESENT = 0x01n;
const WRITABLE = 0x02n;
const USER = 0x04n;
const ACCESSED = 0x20n;
const DIRTY = 0x40n;
/**
 * As the hypervisor and the toolstack set them: leaves without the dirty bit, tables with it. Leaves of a 64-bit dom0
 * have the user bit; the toolstack leaves that to the hypervisor, which adds it when it takes the tables over.
 */
const LEAF = PRESENT | WRITABLE | ACCESSED;
const TABLE = PRESENT | WRITABLE | ACCESSED | USER | DIRTY;

/** Hands out frames in order and keeps their contents. */
class Tables {
  readonly #frames = new Map<bigint, DataView>();
  readonly #free: bigint[];

  constructor(frames: readonly bigint[]) {
    this.#free = [...frames];
  }

  allocate(): bigint {
    const pfn = this.#free.shift();
    // The layout counted the tables; running out is a bug, not a property of the image.
    if (pfn === undefined) throw new RangeError('the layout reserves too few page tables');
    this.#frames.set(pfn, new DataView(new ArrayBuffer(PAGE)));
    return pfn;
  }

  view(pfn: bigint): DataView {
    const view = this.#frames.get(pfn);
    if (view === undefined) throw new RangeError('no such page table');
    return view;
  }

  bytes(pfn: bigint): Uint8Array {
    const view = this.#frames.get(pfn);
    return view === undefined ? new Uint8Array(PAGE) : new Uint8Array(view.buffer);
  }
}

/** Bits of the virtual address above the page for each level, top level first. */
const SHIFTS = { 64: [39n, 30n, 21n, 12n], 32: [30n, 21n, 12n] } as const;

export interface XenPageTables {
  /** All frames of `layout.pageTables`, in order. */
  readonly region: Uint8Array;
  /** All frames of `layout.p2mTables`, in order. */
  readonly outside: Uint8Array;
}

function frames(pfn: bigint, count: number): bigint[] {
  return Array.from({ length: count }, (_, i) => pfn + BigInt(i));
}

/** Maps [start, end) to consecutive frames. */
function map(
  tables: Tables,
  top: bigint,
  bits: 32 | 64,
  start: bigint,
  end: bigint,
  leaf: (address: bigint) => bigint,
): void {
  const shifts = SHIFTS[bits];
  for (let address = start; address < end; address += BigInt(PAGE)) {
    let table = top;
    for (const [level, shift] of shifts.entries()) {
      const view = tables.view(table);
      const at = Number((address >> shift) & 511n) * 8;
      if (level === shifts.length - 1) {
        view.setBigUint64(at, leaf(address), true);
      } else {
        let entry = view.getBigUint64(at, true);
        if (entry === 0n) {
          entry = (tables.allocate() << 12n) | TABLE;
          view.setBigUint64(at, entry, true);
        }
        table = entry >> 12n;
      }
    }
  }
}

const concat = (tables: Tables, pfns: readonly bigint[]): Uint8Array => {
  const bytes = new Uint8Array(pfns.length * PAGE);
  for (const [i, pfn] of pfns.entries()) bytes.set(tables.bytes(pfn), i * PAGE);
  return bytes;
};

const inside = (part: XenPart, address: bigint): boolean => address >= part.start && address < part.end;

/** Every page of the region is mapped writable but the page tables, which Xen wants read-only. */
export function xenPageTables(layout: XenLayout): XenPageTables {
  const { bits, region, pageTables, p2m } = layout;
  const own = frames(pageTables.pfn, pageTables.count);
  const outside = frames(layout.p2mTables.pfn, layout.p2mTables.count);
  const leafFlags = bits === 64 && layout.role === 'dom0' ? LEAF | USER : LEAF;
  const tables = new Tables([...own, ...outside]);
  const top = tables.allocate();
  if (bits === 32) {
    // PAE: Xen fills the last entries of the fourth second-level table, so it must exist.
    const first = Number(region.start >> 30n);
    for (let i = layout.role === 'dom0' ? 0 : first; i < 4; i++) {
      tables.view(top).setBigUint64(i * 8, (tables.allocate() << 12n) | TABLE, true);
    }
  }
  map(tables, top, bits, region.start, region.end, (address) => {
    const flags = inside(pageTables, address) ? leafFlags & ~WRITABLE : leafFlags;
    return (((address - region.start) >> 12n) << 12n) | flags;
  });
  if (p2m.outside) {
    map(
      tables,
      top,
      bits,
      p2m.start,
      p2m.end,
      (address) => ((p2m.pfn + ((address - p2m.start) >> 12n)) << 12n) | leafFlags,
    );
  }
  return { region: concat(tables, own), outside: concat(tables, outside) };
}
