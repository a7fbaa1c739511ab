/** Test images made from a real kernel by one change. */
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { writeSetupField, type SetupFieldName, type SetupValue } from '../../src/bzimage/setup-header.js';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { ELF64_EHDR, ELF64_PHDR, ELF_NHDR } from '../../src/elf/definitions.js';
import { readVmlinux } from '../../src/kernel/read-vmlinux.js';
import { findNote } from '../../src/kernel/notes.js';
import { decompressPayload } from '../../src/kernel/recover.js';
import { readCorpus } from '../kernels/corpus.js';

/** Changes the bytes in place, or returns others. */
export type Edit = (bytes: Uint8Array) => Uint8Array | undefined;

const plain = new Map<string, Promise<Uint8Array>>();

/** The decompressed kernel of a corpus image; shared, do not write. */
export async function plainKernel(name: string): Promise<Uint8Array> {
  let bytes = plain.get(name);
  if (bytes === undefined) {
    bytes = decompressPayload(readBootImage(readCorpus(`${name}.bzImage`))).then((result) => result.bytes);
    plain.set(name, bytes);
  }
  return bytes;
}

/** A corpus image, changed. */
export function editedImage(name: string, edit: Edit): BootImage {
  const copy = new Uint8Array(readCorpus(`${name}.bzImage`));
  return readBootImage(edit(copy) ?? copy);
}

/** The bare ELF kernel of a corpus image with its relocations, changed. */
export async function editedKernel(name: string, edit: Edit): Promise<BootImage> {
  const copy = new Uint8Array(await plainKernel(name));
  return readBootImage(edit(copy) ?? copy);
}

export const setField =
  <N extends SetupFieldName>(name: N, value: SetupValue<N>): Edit =>
  (bytes) => {
    writeSetupField(bytes, name, value);
    return undefined;
  };

export const setByte =
  (offset: number, value: number): Edit =>
  (bytes) => {
    bytes[offset] = value;
    return undefined;
  };

export const setWord =
  (offset: number, value: number): Edit =>
  (bytes) => {
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(offset, value, true);
    return undefined;
  };

/** A bzImage with another payload in the place of its own: header fields follow, nothing else changes. */
export function withPayload(image: Uint8Array, payload: Uint8Array): Uint8Array {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const protectedMode = ((view.getUint8(0x1f1) || 4) + 1) * 512;
  const offset = protectedMode + view.getUint32(0x248, true);
  const total = Math.ceil((offset + payload.length - protectedMode) / 16) * 16;
  const out = new Uint8Array(protectedMode + total);
  out.set(image.subarray(0, offset));
  out.set(payload, offset);
  writeSetupField(out, 'payload_length', payload.length);
  writeSetupField(out, 'syssize', total / 16);
  return out;
}

/** The bzImage of a corpus kernel with its ELF kernel as a plain payload, changed. */
export async function editedPlainImage(name: string, edit: Edit): Promise<BootImage> {
  const copy = new Uint8Array(await plainKernel(name));
  return readBootImage(withPayload(readCorpus(`${name}.bzImage`), edit(copy) ?? copy));
}

/** A field of the ELF header (64-bit kernels). */
export const setEhdr =
  (values: Parameters<typeof ELF64_EHDR.write>[2]): Edit =>
  (bytes) => {
    ELF64_EHDR.write(bytes, 0, values);
    return undefined;
  };

/** A field of a program header (64-bit kernels). */
export const setPhdr =
  (index: number, values: Parameters<typeof ELF64_PHDR.write>[2]): Edit =>
  (bytes) => {
    ELF64_PHDR.write(bytes, 64 + index * 56, values);
    return undefined;
  };

/** The descriptor of a Xen note becomes these bytes; it must not grow beyond its padding. */
export const setNote =
  (type: number, desc: (old: Uint8Array) => Uint8Array): Edit =>
  (bytes) => {
    const note = findNote(readVmlinux(bytes, { tolerant: true }).notes, 'Xen', type);
    if (note === null) throw new Error(`no Xen note ${type}`);
    const written = desc(note.desc);
    const start = note.desc.byteOffset - bytes.byteOffset;
    bytes.fill(0, start, start + (note.desc.length + 3 - ((note.desc.length + 3) % 4)));
    bytes.set(written, start);
    ELF_NHDR.write(bytes, note.offset, { n_descsz: written.length });
    return undefined;
  };

/** The note gets another type: one that nobody knows removes it. */
export const retypeNote =
  (type: number, to: number): Edit =>
  (bytes) => {
    const note = findNote(readVmlinux(bytes, { tolerant: true }).notes, 'Xen', type);
    if (note === null) throw new Error(`no Xen note ${type}`);
    ELF_NHDR.write(bytes, note.offset, { n_type: to });
    return undefined;
  };

/** An edit that changes the bytes in place. */
export const inPlace =
  (change: (bytes: Uint8Array, view: DataView) => void): Edit =>
  (bytes) => {
    change(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    return undefined;
  };

export const all =
  (...edits: readonly Edit[]): Edit =>
  (bytes) =>
    edits.reduce((current, edit) => edit(current) ?? current, bytes);

/** 64 bits, little-endian. */
export function quad(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}
