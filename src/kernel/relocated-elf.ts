/** A vmlinux as if it had been linked at another address, for loaders that start an ELF kernel where its headers say. */
import { writeField, type FieldValue } from '../bytes/struct.js';
import { ByteView } from '../bytes/byte-view.js';
import { iterateNotes, noteViews } from '../elf/notes.js';
import { writeElfHeader, writeProgramHeader, writeSectionHeader } from '../elf/write-elf.js';
import { XEN_ELFNOTE_ENTRY, XEN_ELFNOTE_HYPERCALL_PAGE, XEN_ELFNOTE_PHYS32_ENTRY, findNote } from './notes.js';
import { applyRelocations, checkMove, kernelMap, type KernelMove } from './relocate.js';
import { linkedPhysicalBase, linkedPhysicalEnd, type Vmlinux } from './vmlinux.js';

/**
 * True if everything in the kernel, each of its entry points included, works when the physical and the virtual move
 * differ. The 64-bit entry computes phys_base from where it runs, but:
 *
 * - PVH entries before 6.12 load physical addresses from words that the relocations move with the virtual addresses;
 *   newer ones take the word in PHYS32_ENTRY for the address they were linked for, and loaders take it for the one to
 *   jump to;
 * - Xen PV fixes virtual minus physical address by VIRT_BASE;
 * - a 32-bit kernel has one move.
 */
export function movesIndependently(vmlinux: Vmlinux): boolean {
  const has = (type: number): boolean => findNote(vmlinux.notes, 'Xen', type) !== null;
  return vmlinux.bits === 64 && !has(XEN_ELFNOTE_ENTRY) && !has(XEN_ELFNOTE_PHYS32_ENTRY);
}

/**
 * The ELF file, relocated. What changes beside the relocations:
 *
 * - p_paddr by the physical, p_vaddr by the virtual move, the latter not for the per-CPU segment of older kernels: its
 *   virtual addresses are offsets that count from 0.
 * - e_entry, a physical address, by the physical move.
 * - sh_addr by the virtual move, again without the per-CPU section.
 * - the Xen notes that hold addresses: PHYS32_ENTRY (physical), ENTRY and HYPERCALL_PAGE (virtual). They are set from
 *   their linked values, because kernels differ in whether the relocations cover them, and where these do, they move
 *   PHYS32_ENTRY by the virtual instead of the physical distance.
 * - VIRT_BASE, PADDR_OFFSET, INIT_P2M and HV_START_LOW stay: they describe the address space, not the kernel's place in
 *   it. PHYS32_RELOC stays: its bounds are absolute.
 *
 * The relocations themselves are dropped: they would not fit any more.
 *
 * @throws BootImageError `not-relocatable`, `bad-argument` as `checkMove`; `relocations-malformed`
 */
export function relocatedElf(vmlinux: Vmlinux, move: KernelMove): Uint8Array {
  checkMove(vmlinux, move);
  const { elf, bits, segments } = vmlinux;
  const { physicalDelta, virtualDelta } = move;
  const out = new Uint8Array(vmlinux.elfBytes);
  applyRelocations(
    vmlinux,
    segments.map(({ paddr, offset, filesz }) => ({ paddr, bytes: out.subarray(offset, offset + filesz) })),
    virtualDelta,
  );

  const map = kernelMap(vmlinux);
  const base = linkedPhysicalBase(vmlinux);
  const end = linkedPhysicalEnd(vmlinux);
  const isPhysical = (address: bigint): boolean => address >= base && address < end;
  const isVirtual = (address: bigint): boolean => isPhysical(address - map);
  const moved = (address: bigint): bigint =>
    isPhysical(address) ? address + physicalDelta : isVirtual(address) ? address + virtualDelta : address;

  writeElfHeader(bits, out, 0, { e_entry: moved(elf.header.e_entry) });
  elf.programHeaders.forEach(({ p_paddr, p_vaddr }, index) => {
    if (!isPhysical(p_paddr)) return;
    writeProgramHeader(bits, out, Number(elf.header.e_phoff) + index * elf.header.e_phentsize, {
      p_paddr: p_paddr + physicalDelta,
      p_vaddr: p_vaddr - p_paddr === map ? p_vaddr + virtualDelta : p_vaddr,
    });
  });
  elf.sectionHeaders.forEach(({ sh_addr }, index) => {
    if (!isVirtual(sh_addr)) return;
    writeSectionHeader(bits, out, Number(elf.header.e_shoff) + index * elf.header.e_shentsize, {
      sh_addr: sh_addr + virtualDelta,
    });
  });
  for (const view of noteViews(elf)) {
    for (const { owner, type, desc, descOffset } of iterateNotes(view)) {
      if (owner !== 'Xen' || (desc.length !== 4 && desc.length !== 8)) continue;
      if (type !== XEN_ELFNOTE_ENTRY && type !== XEN_ELFNOTE_HYPERCALL_PAGE && type !== XEN_ELFNOTE_PHYS32_ENTRY)
        continue;
      const linked = new ByteView(desc);
      const address = desc.length === 8 ? linked.u64(0) : BigInt(linked.u32(0));
      writeAddress(out, descOffset - elf.view.base, desc.length, moved(address));
    }
  }
  return out;
}

function writeAddress(target: Uint8Array, offset: number, size: 4 | 8, value: FieldValue): void {
  writeField(target, offset, { name: 'address', offset: 0, type: size === 8 ? 'u64' : 'u32', doc: '' }, value);
}
