import { readFileSync } from 'node:fs';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { recoverVmlinux } from '../../src/kernel/recover.js';

/** Types of the notes named "Xen" that say how a kernel can be entered (public/elfnote.h). */
export const XEN_ELFNOTE = { ENTRY: 1, PHYS32_ENTRY: 18 } as const;

/** What the harness must know of the image under test in order to choose its rows. */
export interface Subject {
  readonly path: string;
  readonly bits: 32 | 64;
  hasXenNote(type: number): boolean;
}

/** @throws BootImageError if the image holds no ELF kernel */
export async function readSubject(path: string): Promise<Subject> {
  const { bits, notes } = await recoverVmlinux(readBootImage(readFileSync(path)));
  return {
    path,
    bits,
    hasXenNote: (type) => notes.some((note) => note.owner === 'Xen' && note.type === type),
  };
}
