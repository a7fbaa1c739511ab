/**
 * What stands where a kernel is entered. The flag x proves nothing: in newer kernels (7.2) the init code, and the entries in
 * it, lie in a segment that is writable and not executable. Zeroes are no code.
 */
import { PF_X, PT_LOAD } from '../elf/definitions.js';
import type { ElfFile, ProgramHeader } from '../elf/elf-file.js';

/** Bytes at the entry of which at least one must differ from zero. */
const CODE = 16;

export interface EntryFacts {
  /** False where there are no file bytes, or nothing but zeroes. */
  readonly code: boolean;
  /** True if a segment with the flag x holds it. */
  readonly executable: boolean;
}

/** @param virtual whether the address may be a virtual one, too. */
export function entryFacts(elf: ElfFile, entry: bigint, virtual: boolean): EntryFacts {
  const offsetIn = ({ p_paddr, p_vaddr, p_filesz }: ProgramHeader): bigint | null =>
    [p_paddr, ...(virtual ? [p_vaddr] : [])]
      .map((base) => entry - base)
      .find((offset) => offset >= 0n && offset < p_filesz) ?? null;
  let code = false;
  let executable = false;
  for (const header of elf.programHeaders) {
    const offset = header.p_type === PT_LOAD ? offsetIn(header) : null;
    if (offset === null) continue;
    const at = Number(header.p_offset + offset);
    const bytes = elf.view.has(at, 1) ? elf.view.bytes.subarray(at, at + CODE) : null;
    code ||= bytes?.some((byte) => byte !== 0) ?? true;
    executable ||= (header.p_flags & PF_X) !== 0;
  }
  return { code, executable };
}
