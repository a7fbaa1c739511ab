import { latin1, type ByteView } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { alignNumber, hex } from '../bytes/numbers.js';
import { PT_NOTE, SHT_NOTE, ELF_NHDR } from './definitions.js';
import type { ElfFile } from './elf-file.js';
import { sectionView, segmentView } from './read-elf.js';

export interface ElfNote {
  /** The owner's name without its NUL. */
  readonly owner: string;
  readonly type: number;
  /** The descriptor, shared. */
  readonly desc: Uint8Array;
  /** Offset of the note's header in the data that the window was cut from (`ByteView.base` included). */
  readonly offset: number;
  /** Offset of the descriptor, likewise. */
  readonly descOffset: number;
}

/**
 * The notes in a window. Owner and descriptor are padded to 4 bytes whatever p_align says: the kernel's link script
 * writes them so, and Xen and the kernel read them so.
 * @throws BootImageError `note-malformed` when a note reaches beyond the window; the notes before it were yielded.
 */
export function* iterateNotes(view: ByteView): Generator<ElfNote> {
  for (let at = 0; at < view.length;) {
    if (!view.has(at, ELF_NHDR.size)) {
      // Padding behind the last note.
      if (view.bytes.subarray(at).every((byte) => byte === 0)) return;
      throw malformed(view, at, 'a note header is cut off');
    }
    const { n_namesz, n_descsz, n_type } = ELF_NHDR.read(view, at);
    const nameAt = at + ELF_NHDR.size;
    const descAt = nameAt + alignNumber(n_namesz, 4);
    if (!view.has(nameAt, n_namesz) || !view.has(descAt, n_descsz)) {
      throw malformed(
        view,
        at,
        `a note of type ${n_type} (owner ${n_namesz}, descriptor ${n_descsz} bytes) is cut off`,
      );
    }
    if (n_namesz > 0 || n_descsz > 0 || n_type > 0) {
      const name = latin1(view.slice(nameAt, n_namesz));
      const nul = name.indexOf('\0');
      yield {
        owner: nul < 0 ? name : name.slice(0, nul),
        type: n_type,
        desc: view.slice(descAt, n_descsz),
        offset: view.base + at,
        descOffset: view.base + descAt,
      };
    }
    at = descAt + alignNumber(n_descsz, 4);
  }
}

function malformed(view: ByteView, at: number, message: string): BootImageError {
  return new BootImageError('note-malformed', `${message} at ${hex(view.base + at)}`, {
    offset: view.base + at,
    field: 'PT_NOTE',
  });
}

/**
 * Where an ELF file keeps its notes: every PT_NOTE segment or, if there is none, every SHT_NOTE section (the order in
 * which Xen's libelf-dominfo.c looks).
 * @throws BootImageError `elf-malformed` for one that lies outside the data.
 */
export function noteViews(elf: ElfFile): ByteView[] {
  const segments = elf.programHeaders.filter(({ p_type }) => p_type === PT_NOTE);
  if (segments.length > 0) return segments.map((segment) => segmentView(elf, segment));
  return elf.sectionHeaders.filter(({ sh_type }) => sh_type === SHT_NOTE).map((section) => sectionView(elf, section));
}
