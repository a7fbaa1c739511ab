/** Unified kernel images: an EFI stub with the kernel and what belongs to it in PE sections (UAPI group, "UKI"). */
import type { ByteView } from '../bytes/byte-view.js';
import type { FileRange } from './boot-image.js';
import type { PeImage, PeSection } from './pe.js';
import { sectionContents, sectionText } from './read-pe.js';

export interface Uki {
  /** The kernel, a boot image by itself. */
  readonly linux: FileRange | null;
  readonly initrd: FileRange | null;
  /** Kernel command line. */
  readonly cmdline: string | null;
  /** os-release file of the system. */
  readonly osrel: string | null;
  /** `uname -r` of the kernel. */
  readonly uname: string | null;
}

const TEXT_LIMIT = 64 * 1024;

export function isUki(pe: PeImage): boolean {
  return pe.sections.some(({ name }) => name === '.linux');
}

/** The sections that a UKI may have; the first of a name counts, as in systemd-stub. */
export function readUki(file: ByteView, pe: PeImage): Uki {
  const find = (name: string): PeSection | null => pe.sections.find((section) => section.name === name) ?? null;
  const range = (name: string): FileRange | null => {
    const section = find(name);
    const contents = section === null ? null : sectionContents(file, section);
    return contents === null ? null : { offset: contents.base - file.base, length: contents.length };
  };
  const text = (name: string): string | null => {
    const section = find(name);
    return section === null ? null : sectionText(file, section, TEXT_LIMIT);
  };
  return {
    linux: range('.linux'),
    initrd: range('.initrd'),
    cmdline: text('.cmdline'),
    osrel: text('.osrel'),
    uname: text('.uname')?.trim() ?? null,
  };
}
