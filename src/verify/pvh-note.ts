/** Finding PHYS32_ENTRY the way QEMU does. */
import type { ElfFile } from '../elf/elf-file.js';
import { ELF_NHDR, PT_NOTE } from '../elf/definitions.js';
import { alignNumber, safeNumber } from '../bytes/numbers.js';
import { XEN_ELFNOTE_PHYS32_ENTRY } from '../kernel/notes.js';

/**
 * The offset of PHYS32_ENTRY's descriptor when name and descriptor are padded to the segment's p_align instead of 4, as
 * QEMU does (include/hw/elf_ops.h, get_elf_note_type); null if that walk misses it. Types alone are compared.
 */
export function pvhEntryByAlignment(elf: ElfFile): number | null {
  for (const { p_type, p_offset, p_filesz, p_align } of elf.programHeaders) {
    const start = safeNumber(p_offset);
    const size = safeNumber(p_filesz);
    const align = safeNumber(p_align);
    if (
      p_type !== PT_NOTE ||
      start === null ||
      size === null ||
      align === null ||
      align === 0 ||
      !elf.view.has(start, size)
    )
      continue;
    const view = elf.view.view(start, size);
    for (let at = 0; view.has(at, ELF_NHDR.size);) {
      const { n_namesz, n_descsz, n_type } = ELF_NHDR.read(view, at);
      const desc = at + ELF_NHDR.size + alignNumber(n_namesz, align);
      if (n_type === XEN_ELFNOTE_PHYS32_ENTRY) return view.has(desc, n_descsz) ? start + desc : null;
      at = desc + alignNumber(n_descsz, align);
    }
  }
  return null;
}
