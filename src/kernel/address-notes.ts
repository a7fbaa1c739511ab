/** The Xen notes that hold addresses inside the kernel: what a loader jumps by, and what newer PVH entries read back. */
import { writeField } from '../bytes/struct.js';
import { ByteView } from '../bytes/byte-view.js';
import { XEN_ELFNOTE_ENTRY, XEN_ELFNOTE_HYPERCALL_PAGE, XEN_ELFNOTE_PHYS32_ENTRY } from './notes.js';
import type { Vmlinux } from './vmlinux.js';

const WITH_ADDRESS = [XEN_ELFNOTE_ENTRY, XEN_ELFNOTE_HYPERCALL_PAGE, XEN_ELFNOTE_PHYS32_ENTRY];

export interface AddressNote {
  /** Offset of the descriptor in the ELF file. */
  readonly offset: number;
  /** The new descriptor, as long as the old one. */
  readonly desc: Uint8Array;
}

/**
 * ENTRY, HYPERCALL_PAGE and PHYS32_ENTRY with their linked addresses moved. VIRT_BASE, PADDR_OFFSET, INIT_P2M and
 * HV_START_LOW describe the address space, not the kernel's place in it, and PHYS32_RELOC has absolute bounds.
 */
export function addressNotes(vmlinux: Vmlinux, moved: (address: bigint) => bigint): AddressNote[] {
  return vmlinux.notes.flatMap(({ owner, type, desc }) => {
    if (owner !== 'Xen' || !WITH_ADDRESS.includes(type) || (desc.length !== 4 && desc.length !== 8)) return [];
    const linked = new ByteView(desc);
    const wide = desc.length === 8;
    const bytes = new Uint8Array(desc.length);
    const value = moved(wide ? linked.u64(0) : BigInt(linked.u32(0)));
    writeField(bytes, 0, { name: 'desc', offset: 0, type: wide ? 'u64' : 'u32', doc: 'an address' }, value);
    return [{ offset: desc.byteOffset - vmlinux.raw.byteOffset, desc: bytes }];
  });
}
