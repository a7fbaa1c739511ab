/**
 * Adds, changes and removes ELF notes and disturbs nothing else: a value of the same size is written in place;
 * otherwise the notes are written anew behind everything and PT_NOTE points there. What the running kernel sees of its
 * notes, and the section header, stay as they were.
 */
import { BootImageError } from '../bytes/error.js';
import { latin1Bytes } from '../bytes/byte-view.js';
import { alignNumber } from '../bytes/numbers.js';
import { ELF_STRUCTS, PF_R, PT_NOTE } from '../elf/definitions.js';
import type { ElfFile } from '../elf/elf-file.js';
import { buildNote, writeElfHeader, writeProgramHeader } from '../elf/write-elf.js';
import { NOTE_TYPES, type KernelNote } from '../kernel/notes.js';
import { readVmlinux } from '../kernel/read-vmlinux.js';

export interface NoteChange {
  readonly owner: string;
  readonly type: number;
  /** The new descriptor for what was there before (null: there is no such note yet); null removes the note. */
  readonly desc: ((old: Uint8Array | null, bits: 32 | 64) => Uint8Array) | null;
}

/** "XEN_ELFNOTE_ENTRY", "ENTRY" or a number. @throws BootImageError `bad-argument` */
function parseType(owner: string, text: string): number {
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) return Number(text);
  for (const [type, { name }] of Object.entries(NOTE_TYPES[owner] ?? {})) {
    if (name === text || name.endsWith(`_${text}`)) return Number(type);
  }
  throw new BootImageError('bad-argument', `"${text}" is no note type of ${owner}`, {
    field: '--note',
    hint: 'give its number',
  });
}

function integer(value: bigint, width: number): Uint8Array {
  const bytes = new Uint8Array(width);
  for (let i = 0; i < width; i++) bytes[i] = Number((value >> BigInt(8 * i)) & 0xffn);
  if (value >= 1n << BigInt(8 * width)) {
    throw new BootImageError('bad-argument', `0x${value.toString(16)} does not fit into ${width} bytes`, {
      field: '--note',
    });
  }
  return bytes;
}

/** A number keeps the width that the note has, else takes the kernel's; `hex:` gives bytes; anything else is text. */
function parseValue(text: string): NonNullable<NoteChange['desc']> {
  if (/^hex:([0-9a-f]{2})*$/i.test(text)) {
    const bytes = Uint8Array.from((text.slice(4).match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16)));
    return () => bytes;
  }
  if (/^(0x[0-9a-f]+|\d+)$/i.test(text)) {
    const value = BigInt(text);
    return (old, bits) => integer(value, old !== null && [1, 2, 4, 8].includes(old.length) ? old.length : bits / 8);
  }
  return () => latin1Bytes(`${text}\0`);
}

/** `OWNER:TYPE=VALUE`, as `--note` takes it. @throws BootImageError `bad-argument` */
export function parseNote(text: string): NoteChange {
  const match = /^([^:=]+):([^=]+)=(.*)$/s.exec(text);
  if (match === null)
    throw new BootImageError('bad-argument', `"${text}" is no note`, {
      field: '--note',
      hint: 'write OWNER:TYPE=VALUE',
    });
  const [, owner = '', type = '', value = ''] = match;
  return { owner, type: parseType(owner, type), desc: parseValue(value) };
}

/** `OWNER:TYPE`, as `--remove-note` takes it. @throws BootImageError `bad-argument` */
export function parseNoteName(text: string): NoteChange {
  const match = /^([^:=]+):([^=]+)$/.exec(text);
  if (match === null)
    throw new BootImageError('bad-argument', `"${text}" names no note`, {
      field: '--remove-note',
      hint: 'write OWNER:TYPE',
    });
  const [, owner = '', type = ''] = match;
  return { owner, type: parseType(owner, type), desc: null };
}

interface EditedNote {
  readonly owner: string;
  readonly type: number;
  readonly desc: Uint8Array;
  /** What it was before; null for a new one. */
  readonly old: KernelNote | null;
}

function apply(notes: readonly KernelNote[], changes: readonly NoteChange[], bits: 32 | 64): EditedNote[] {
  let edited: EditedNote[] = notes.map((note) => ({ owner: note.owner, type: note.type, desc: note.desc, old: note }));
  for (const { owner, type, desc } of changes) {
    const matches = (note: EditedNote): boolean => note.owner === owner && note.type === type;
    const found = edited.some(matches);
    if (desc === null) {
      if (!found)
        throw new BootImageError('not-found-in-image', `there is no note ${owner}:${type}`, { field: '--remove-note' });
      edited = edited.filter((note) => !matches(note));
    } else if (found) {
      edited = edited.map((note) => (matches(note) ? { ...note, desc: desc(note.desc, bits) } : note));
    } else {
      edited.push({ owner, type, desc: desc(null, bits), old: null });
    }
  }
  return edited;
}

/** Index of the first PT_NOTE and how many there are; a new entry in the table's slack where there is none. */
function noteHeader(elf: ElfFile, bytes: Uint8Array): { index: number; others: readonly number[] } {
  const indexes = elf.programHeaders.flatMap(({ p_type }, index) => (p_type === PT_NOTE ? [index] : []));
  const [index, ...others] = indexes;
  if (index !== undefined) return { index, others };
  const { e_phoff, e_phnum, e_phentsize } = elf.header;
  const at = Number(e_phoff) + e_phnum * e_phentsize;
  const first = Math.min(
    ...elf.programHeaders.filter(({ p_filesz }) => p_filesz > 0n).map(({ p_offset }) => Number(p_offset)),
    ...elf.sectionHeaders
      .filter(({ sh_size, sh_offset }) => sh_size > 0n && sh_offset > 0n)
      .map(({ sh_offset }) => Number(sh_offset)),
  );
  if (at + e_phentsize > first || bytes.subarray(at, at + e_phentsize).some((byte) => byte !== 0)) {
    throw new BootImageError('does-not-fit', 'the program header table has no room for a PT_NOTE', {
      offset: at,
      field: 'e_phnum',
    });
  }
  writeElfHeader(elf.class, bytes, 0, { e_phnum: e_phnum + 1 });
  return { index: e_phnum, others: [] };
}

/**
 * The kernel with its notes changed.
 * @param raw an ELF file, with or without relocations behind it
 * @throws BootImageError `not-found-in-image` for a note to remove that is not there, `does-not-fit`, `note-malformed`
 */
export function editNotes(raw: Uint8Array, changes: readonly NoteChange[]): Uint8Array {
  if (changes.length === 0) return raw;
  const vmlinux = readVmlinux(raw);
  const malformed = vmlinux.problems.find(({ id }) => id === 'note-malformed');
  if (malformed !== undefined) {
    throw new BootImageError('note-malformed', malformed.message, {
      offset: malformed.offset ?? undefined,
      field: 'notes.parse',
    });
  }
  const edited = apply(vmlinux.notes, changes, vmlinux.bits);
  const samePlaces =
    edited.length === vmlinux.notes.length &&
    edited.every(({ desc, old }) => old !== null && desc.length === old.desc.length);
  if (samePlaces) {
    // Not slice(): a Buffer’s shares memory.
    const copy = new Uint8Array(raw);
    for (const { desc, old } of edited) if (old !== null) copy.set(desc, old.desc.byteOffset - raw.byteOffset);
    return copy;
  }
  return writeAnew(raw, vmlinux.elf, vmlinux.elfBytes.length, edited);
}

function writeAnew(raw: Uint8Array, elf: ElfFile, elfSize: number, notes: readonly EditedNote[]): Uint8Array {
  const built = notes.map(({ owner, type, desc }) => buildNote(owner, type, desc));
  const size = built.reduce((sum, { length }) => sum + length, 0);
  const start = alignNumber(elfSize, 4);
  const bytes = new Uint8Array(start + size + raw.length - elfSize);
  bytes.set(raw.subarray(0, elfSize));
  let at = start;
  for (const note of built) {
    bytes.set(note, at);
    at += note.length;
  }
  bytes.set(raw.subarray(elfSize), at);
  const { index, others } = noteHeader(elf, bytes);
  const entry = (i: number): number => Number(elf.header.e_phoff) + i * ELF_STRUCTS[elf.class].phdr.size;
  const place = {
    p_offset: BigInt(start),
    p_filesz: BigInt(size),
    p_memsz: BigInt(size),
    p_vaddr: 0n,
    p_paddr: 0n,
    p_align: 4n,
  };
  writeProgramHeader(elf.class, bytes, entry(index), { p_type: PT_NOTE, p_flags: PF_R, ...place });
  // Loaders that let a later PT_NOTE replace an earlier one shall find the same notes there.
  for (const other of others) writeProgramHeader(elf.class, bytes, entry(other), place);
  return bytes;
}
