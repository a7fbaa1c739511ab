/** A vmlinux as if it had been linked at another address, for loaders that start an ELF kernel where its headers say. */
import { writeElfHeader, writeProgramHeader, writeSectionHeader } from '../elf/write-elf.js';
import { addressNotes } from './address-notes.js';
import { findNote, XEN_ELFNOTE_ENTRY, XEN_ELFNOTE_PHYS32_ENTRY } from './notes.js';
import { addressMover, applyRelocations, checkMove, type KernelMove } from './relocate.js';
import type { Vmlinux } from './vmlinux.js';

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
 *
 * The relocations themselves are dropped: they would not fit any more.
 *
 * @throws BootImageError `not-relocatable`, `bad-argument` as `checkMove`; `relocations-malformed`
 */
export function relocatedElf(vmlinux: Vmlinux, move: KernelMove): Uint8Array {
  checkMove(vmlinux, move);
  const { elf, bits, segments } = vmlinux;
  const out = new Uint8Array(vmlinux.elfBytes);
  applyRelocations(
    vmlinux,
    segments.map(({ paddr, offset, filesz }) => ({ paddr, bytes: out.subarray(offset, offset + filesz) })),
    move.virtualDelta,
  );

  const moved = addressMover(vmlinux, move);
  writeElfHeader(bits, out, 0, { e_entry: moved(elf.header.e_entry) });
  elf.programHeaders.forEach(({ p_paddr, p_vaddr }, index) => {
    writeProgramHeader(bits, out, Number(elf.header.e_phoff) + index * elf.header.e_phentsize, {
      p_paddr: moved(p_paddr),
      p_vaddr: moved(p_vaddr),
    });
  });
  elf.sectionHeaders.forEach(({ sh_addr }, index) => {
    writeSectionHeader(bits, out, Number(elf.header.e_shoff) + index * elf.header.e_shentsize, {
      sh_addr: moved(sh_addr),
    });
  });
  for (const { offset, desc } of addressNotes(vmlinux, moved)) out.set(desc, offset);
  return out;
}
