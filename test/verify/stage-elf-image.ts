/**
 * A stage ELF made by hand from k64-gzip: its protected-mode part begins with an ELF header and two program headers
 * where the 32-bit entry was. It cannot run; its headers can be judged.
 */
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { ELF64_EHDR, ELF64_PHDR } from '../../src/elf/definitions.js';
import { all, editedImage, inPlace, setField, type Edit } from './edit.js';

export const STAGE_OFFSET = 20480;
const PROTECTED_MODE_LENGTH = 124480 * 16;
const BASE = 0x1000000n;

const stageElf: Edit = inPlace((bytes) => {
  bytes.fill(0, STAGE_OFFSET, STAGE_OFFSET + 0x100);
  ELF64_EHDR.write(bytes, STAGE_OFFSET, {
    e_ident: Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1),
    e_type: 2,
    e_machine: 62,
    e_version: 1,
    e_entry: BASE + 0x100n,
    e_phoff: 64n,
    e_ehsize: 64,
    e_phentsize: 56,
    e_phnum: 2,
  });
  ELF64_PHDR.write(bytes, STAGE_OFFSET + 64, {
    p_type: 1,
    p_flags: 7,
    p_offset: 0n,
    p_vaddr: BASE,
    p_paddr: BASE,
    p_filesz: BigInt(PROTECTED_MODE_LENGTH),
    p_memsz: 14811136n,
    p_align: 0x200000n,
  });
  ELF64_PHDR.write(bytes, STAGE_OFFSET + 64 + 56, { p_type: 4, p_flags: 4, p_offset: 176n, p_filesz: 0n, p_align: 4n });
});

export function stageElfImage(edit: Edit): BootImage {
  return editedImage('k64-gzip', all(stageElf, setField('code32_start', 0x100100), edit));
}
