/** The ELF notes of a kernel: names of their types, and their descriptors decoded. */
import { ByteView, latin1 } from '../bytes/byte-view.js';
import type { BootImageError } from '../bytes/error.js';
import { hexBytes } from '../bytes/numbers.js';
import type { ElfFile } from '../elf/elf-file.js';
import { iterateNotes, noteViews, type ElfNote } from '../elf/notes.js';

/**
 * A decoded descriptor: text, a number, several numbers (L1_MFN_VALID: mask, value; PHYS32_RELOC: alignment, lowest and
 * highest address, as far as they are given), or null if the type is unknown or the size does not fit it.
 */
export type NoteValue = string | bigint | readonly bigint[] | null;

export interface KernelNote {
  /** "Xen", "GNU", "Linux", ... */
  readonly owner: string;
  readonly type: number;
  /** As the owner's header file spells it ("XEN_ELFNOTE_PHYS32_ENTRY"); null for an unknown type. */
  readonly name: string | null;
  /** A view on the ELF file. */
  readonly desc: Uint8Array;
  readonly value: NoteValue;
  /** Offset of the note's header in the ELF file. */
  readonly offset: number;
}

type Shape = 'text' | 'number' | 'words' | 'words64' | 'hex';

interface NoteType {
  readonly name: string;
  readonly shape: Shape;
}

/** Note types by owner: Xen's public/elfnote.h, Linux' include/linux/elfnote*.h and build-salt.h, GNU's elf.h. */
export const NOTE_TYPES: Readonly<Record<string, Readonly<Record<number, NoteType>>>> = {
  Xen: {
    0: { name: 'XEN_ELFNOTE_INFO', shape: 'text' },
    1: { name: 'XEN_ELFNOTE_ENTRY', shape: 'number' },
    2: { name: 'XEN_ELFNOTE_HYPERCALL_PAGE', shape: 'number' },
    3: { name: 'XEN_ELFNOTE_VIRT_BASE', shape: 'number' },
    4: { name: 'XEN_ELFNOTE_PADDR_OFFSET', shape: 'number' },
    5: { name: 'XEN_ELFNOTE_XEN_VERSION', shape: 'text' },
    6: { name: 'XEN_ELFNOTE_GUEST_OS', shape: 'text' },
    7: { name: 'XEN_ELFNOTE_GUEST_VERSION', shape: 'text' },
    8: { name: 'XEN_ELFNOTE_LOADER', shape: 'text' },
    9: { name: 'XEN_ELFNOTE_PAE_MODE', shape: 'text' },
    10: { name: 'XEN_ELFNOTE_FEATURES', shape: 'text' },
    11: { name: 'XEN_ELFNOTE_BSD_SYMTAB', shape: 'text' },
    12: { name: 'XEN_ELFNOTE_HV_START_LOW', shape: 'number' },
    13: { name: 'XEN_ELFNOTE_L1_MFN_VALID', shape: 'words64' },
    14: { name: 'XEN_ELFNOTE_SUSPEND_CANCEL', shape: 'number' },
    15: { name: 'XEN_ELFNOTE_INIT_P2M', shape: 'number' },
    16: { name: 'XEN_ELFNOTE_MOD_START_PFN', shape: 'number' },
    17: { name: 'XEN_ELFNOTE_SUPPORTED_FEATURES', shape: 'number' },
    18: { name: 'XEN_ELFNOTE_PHYS32_ENTRY', shape: 'number' },
    19: { name: 'XEN_ELFNOTE_PHYS32_RELOC', shape: 'words' },
  },
  Linux: {
    0x100: { name: 'LINUX_ELFNOTE_BUILD_SALT', shape: 'text' },
    0x101: { name: 'LINUX_ELFNOTE_LTO_INFO', shape: 'number' },
  },
  GNU: {
    1: { name: 'NT_GNU_ABI_TAG', shape: 'words' },
    3: { name: 'NT_GNU_BUILD_ID', shape: 'hex' },
    4: { name: 'NT_GNU_GOLD_VERSION', shape: 'text' },
    5: { name: 'NT_GNU_PROPERTY_TYPE_0', shape: 'hex' },
  },
};

/** Xen note types that a loader reads to start a kernel. */
export const XEN_ELFNOTE_ENTRY = 1;
export const XEN_ELFNOTE_HYPERCALL_PAGE = 2;
export const XEN_ELFNOTE_PHYS32_ENTRY = 18;
export const XEN_ELFNOTE_PHYS32_RELOC = 19;

function words(view: ByteView, size: 4 | 8): bigint[] | null {
  if (view.length % size !== 0) return null;
  return Array.from({ length: view.length / size }, (_, i) => (size === 8 ? view.u64(i * 8) : BigInt(view.u32(i * 4))));
}

/** 1, 2, 4 or 8 bytes little-endian, as Xen's libelf takes them; null for another size. */
function number(view: ByteView): bigint | null {
  switch (view.length) {
    case 1:
      return BigInt(view.u8(0));
    case 2:
      return BigInt(view.u16(0));
    case 4:
      return BigInt(view.u32(0));
    case 8:
      return view.u64(0);
    default:
      return null;
  }
}

function decode(desc: Uint8Array, shape: Shape, bits: 32 | 64): NoteValue {
  const view = new ByteView(desc);
  switch (shape) {
    case 'text': {
      // The kernel writes FEATURES without a NUL.
      const text = latin1(desc);
      const nul = text.indexOf('\0');
      return nul < 0 ? text : text.slice(0, nul);
    }
    case 'number':
      return number(view);
    case 'words':
      return words(view, 4);
    case 'words64':
      // Pairs of page table entries: 8 bytes each for 64-bit and PAE kernels.
      return words(view, bits === 64 || desc.length % 16 === 0 ? 8 : 4);
    case 'hex':
      return hexBytes(desc);
  }
}

export function decodeNote(note: ElfNote, bits: 32 | 64, base: number): KernelNote {
  const known = NOTE_TYPES[note.owner]?.[note.type];
  return {
    owner: note.owner,
    type: note.type,
    name: known?.name ?? null,
    desc: note.desc,
    value: known === undefined ? null : decode(note.desc, known.shape, bits),
    offset: note.offset - base,
  };
}

/** All notes that parse, and why the others do not. Never throws. */
export function readKernelNotes(elf: ElfFile): { notes: KernelNote[]; errors: BootImageError[] } {
  const notes: KernelNote[] = [];
  const errors: BootImageError[] = [];
  const keep = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      errors.push(error as BootImageError);
    }
  };
  keep(() => {
    for (const view of noteViews(elf)) {
      keep(() => {
        for (const note of iterateNotes(view)) notes.push(decodeNote(note, elf.class, elf.view.base));
      });
    }
  });
  return { notes, errors };
}

/** The last note of this owner and type (as Xen and linux-loader take it), or null. */
export function findNote(notes: readonly KernelNote[], owner: string, type: number): KernelNote | null {
  return notes.findLast((note) => note.owner === owner && note.type === type) ?? null;
}

/** The numeric value of the note, or null if it is missing or no number. */
export function noteNumber(notes: readonly KernelNote[], owner: string, type: number): bigint | null {
  const value = findNote(notes, owner, type)?.value;
  return typeof value === 'bigint' ? value : null;
}

/** The GNU build ID in hexadecimal, or null. */
export function buildId(notes: readonly KernelNote[]): string | null {
  const value = findNote(notes, 'GNU', 3)?.value;
  return typeof value === 'string' ? value : null;
}
