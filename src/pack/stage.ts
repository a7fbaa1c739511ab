/**
 * The protected-mode stage of an image of ours: head, payload, size word, tail and default command line, with the
 * decompressor's parameter table filled in. In the stage layouts an ELF header and its program headers stand where
 * the payload layout has the jump to the 32-bit entry.
 */
import { alignNumber } from '../bytes/numbers.js';
import { latin1Bytes } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { KERNEL_INFO } from '../bzimage/kernel-info.js';
import { STAGE_PAYLOAD_NOTE, STAGE_PAYLOAD_OWNER, STAGE_PAYLOAD_TYPE } from '../bzimage/stage-elf.js';
import { compressionFormat, type Compression } from '../compression/formats.js';
import { ELF_STRUCTS, EM_386, EM_X86_64, ET_EXEC, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE } from '../elf/definitions.js';
import { buildNote, newElfHeader, writeElfHeader, writeProgramHeader } from '../elf/write-elf.js';
import { readVmlinux } from '../kernel/read-vmlinux.js';
import type { Decompressor } from './decompressors.js';
import { PARAMETER_FLAGS, PARAMETERS, PARAMETERS_MAGIC, PARAMETERS_OFFSET, payloadChecksum } from './parameters.js';
import type { PackSource } from './source.js';

export type Layout = 'payload' | 'stage' | 'both';

/** Offset of the 32-bit entry in head; a stage ELF's headers end before it. */
const STARTUP_32 = 0x100;
const PAGE = 4096;
const BLOCK = 16;

/** Virtual addresses that a kernel maps from its start: KERNEL_IMAGE_SIZE. */
const KERNEL_IMAGE_SIZE = { 64: 1 << 30, 32: 512 << 20 } as const;

export interface StageDefaults {
  /** Latin-1; empty for none. */
  readonly commandLine: string;
  /** Empty for none. */
  readonly initrd: Uint8Array;
}

export interface PackedStage {
  readonly bytes: Uint8Array;
  readonly payloadOffset: number;
  /** With the size word. */
  readonly payloadLength: number;
  readonly kernelInfoOffset: number;
  readonly initSize: number;
  /** Offset of the 32-bit entry that code32_start names. */
  readonly entry32: number;
}

function sizeWord(format: Compression, size: number): Uint8Array {
  return compressionFormat(format).sizeWord
    ? Uint8Array.of(size, size >> 8, size >> 16, size >>> 24)
    : new Uint8Array(0);
}

/** All notes of the kernel and, for hosts that know it, where the payload lies. */
function stageNotes(source: PackSource, layout: Layout, payloadOffset: number, payloadLength: number): Uint8Array {
  const notes = readVmlinux(source.raw).notes.map(({ owner, type, desc }) => buildNote(owner, type, desc));
  if (layout === 'stage') {
    const place = STAGE_PAYLOAD_NOTE.build({ offset: payloadOffset, length: payloadLength });
    notes.push(buildNote(STAGE_PAYLOAD_OWNER, STAGE_PAYLOAD_TYPE, place));
  }
  const bytes = new Uint8Array(notes.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const note of notes) {
    bytes.set(note, at);
    at += note.length;
  }
  return bytes;
}

function writeStageElf(
  bytes: Uint8Array,
  source: PackSource,
  initSize: number,
  notes: { readonly offset: number; readonly size: number },
): void {
  const { bits, loadPhysicalAddr } = source;
  const { ehdr, phdr } = ELF_STRUCTS[bits];
  bytes.fill(0, 0, STARTUP_32);
  writeElfHeader(
    bits,
    bytes,
    0,
    newElfHeader(bits, {
      e_type: ET_EXEC,
      e_machine: bits === 64 ? EM_X86_64 : EM_386,
      e_entry: loadPhysicalAddr + BigInt(STARTUP_32),
      e_phoff: BigInt(ehdr.size),
      e_phnum: notes.size > 0 ? 2 : 1,
    }),
  );
  writeProgramHeader(bits, bytes, ehdr.size, {
    p_type: PT_LOAD,
    p_flags: PF_R | PF_W | PF_X,
    p_offset: 0n,
    p_vaddr: loadPhysicalAddr,
    p_paddr: loadPhysicalAddr,
    p_filesz: BigInt(bytes.length),
    p_memsz: BigInt(initSize),
    p_align: BigInt(source.kernelAlignment),
  });
  if (notes.size === 0) return;
  const address = loadPhysicalAddr + BigInt(notes.offset);
  writeProgramHeader(bits, bytes, ehdr.size + phdr.size, {
    p_type: PT_NOTE,
    p_flags: PF_R,
    p_offset: BigInt(notes.offset),
    p_vaddr: address,
    p_paddr: address,
    p_filesz: BigInt(notes.size),
    p_memsz: BigInt(notes.size),
    p_align: 4n,
  });
}

/** Room that in-place decompression needs behind the output: 1/256 of it and a block (the kernel's header.S). */
function margin(source: PackSource, format: Compression): number {
  return format === 'none' ? 0 : (source.raw.length >> 8) + 131072;
}

/**
 * Puts the stage together.
 * @param payload what the codec gets, without a size word
 * @param defaults what the guest gets when the boot loader gives none
 * @throws BootImageError `does-not-fit` for a command line that is too long or a kernel beyond 2 GiB
 */
export function packStage(
  source: PackSource,
  decompressor: Decompressor,
  format: Compression,
  payload: Uint8Array,
  layout: Layout,
  { commandLine, initrd }: StageDefaults,
): PackedStage {
  if (commandLine.length > source.cmdlineSize) {
    throw new BootImageError(
      'does-not-fit',
      `the command line has ${commandLine.length} bytes, the kernel takes ${source.cmdlineSize}`,
      {
        field: 'cmdline_size',
      },
    );
  }
  const { head, tail } = decompressor;
  const word = sizeWord(format, source.raw.length);
  const payloadOffset = alignNumber(head.length, BLOCK);
  const payloadLength = payload.length + word.length;
  const notes = layout === 'payload' ? new Uint8Array(0) : stageNotes(source, layout, payloadOffset, payloadLength);
  const notesOffset = alignNumber(payloadOffset + payloadLength, 4);
  const text = commandLine === '' ? new Uint8Array(0) : latin1Bytes(`${commandLine}\0`);
  const textOffset = notesOffset + notes.length;
  const initrdOffset = initrd.length === 0 ? 0 : alignNumber(textOffset + text.length, PAGE);
  const tailOffset = alignNumber(initrd.length === 0 ? textOffset + text.length : initrdOffset + initrd.length, BLOCK);
  const imageSize = alignNumber(tailOffset + tail.length, BLOCK);
  // Whole pages keep the initrd on a page boundary when the image moves to the end of its memory.
  const memorySize = alignNumber(tailOffset + decompressor.tailMemory, initrd.length === 0 ? BLOCK : PAGE);
  const unpacked = format === 'none' ? 0 : source.raw.length;
  const outputSize = alignNumber(Math.max(unpacked, source.span) + 64, PAGE);
  // The image moves to the end: what lasts (initrd, tail) behind the output, the payload far enough behind what overtakes it.
  const lasting = initrd.length === 0 ? tailOffset : initrdOffset;
  const tailAt = Math.max(outputSize, format === 'none' ? source.raw.length : unpacked + margin(source, format));
  const initSize = alignNumber(Math.max(tailAt - lasting + memorySize, memorySize + PAGE, outputSize), PAGE);
  if (initSize > 0x7fffffff)
    throw new BootImageError('does-not-fit', `the kernel would need ${initSize} bytes`, { field: 'init_size' });

  // The last four bytes of the file are its CRC.
  const bytes = new Uint8Array(alignNumber(imageSize + 4, BLOCK));
  bytes.set(head);
  bytes.set(payload, payloadOffset);
  bytes.set(word, payloadOffset + payload.length);
  bytes.set(notes, notesOffset);
  bytes.set(text, textOffset);
  bytes.set(initrd, initrdOffset);
  bytes.set(tail, tailOffset);
  if (layout !== 'payload') writeStageElf(bytes, source, initSize, { offset: notesOffset, size: notes.length });
  const { relocatable, kaslr, la57 } = source;
  PARAMETERS.write(bytes, PARAMETERS_OFFSET, {
    magic: PARAMETERS_MAGIC,
    length: PARAMETERS.size,
    flags:
      (relocatable ? PARAMETER_FLAGS.RELOCATABLE : 0) |
      (kaslr ? PARAMETER_FLAGS.KASLR : 0) |
      (la57.wanted ? PARAMETER_FLAGS.LA57 : 0),
    image_size: imageSize,
    memory_size: memorySize,
    tail_offset: tailOffset,
    payload_offset: payloadOffset,
    payload_length: payload.length,
    elf_size: source.elfSize,
    relocations_size: source.raw.length - source.elfSize,
    relocation_groups: source.relocationGroups,
    output_size: outputSize,
    init_size: initSize,
    kernel_alignment: source.kernelAlignment,
    min_alignment: 2 ** source.minAlignment,
    kernel_image_size: KERNEL_IMAGE_SIZE[source.bits],
    load_physical_addr: source.loadPhysicalAddr,
    command_line_offset: text.length > 0 ? textOffset : 0,
    initrd_offset: initrdOffset,
    initrd_size: initrd.length,
    checksum: format === 'none' ? 0n : payloadChecksum(source.raw),
  });
  KERNEL_INFO.write(bytes, decompressor.kernelInfo, { setup_type_max: source.setupTypeMax });
  return {
    bytes,
    payloadOffset,
    payloadLength,
    kernelInfoOffset: decompressor.kernelInfo,
    initSize,
    entry32: layout === 'payload' ? 0 : STARTUP_32,
  };
}
