/** A boot image from an ELF kernel, or from another image: recompressed, laid out anew, with other notes. */
import { crc32Register } from '../bzimage/crc32.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { compress } from '../compression/compress.js';
import { compressionFormat, type Compression } from '../compression/formats.js';
import type { RecoverOptions } from '../kernel/recover.js';
import { loadDecompressor } from './decompressors.js';
import { editNotes, type NoteChange } from './edit-notes.js';
import { packSetup } from './setup-part.js';
import { readPackSource, withRaw, type PackSource } from './source.js';
import { packStage, type Layout } from './stage.js';

export interface PackRequest {
  /** Absent: what the image has if our decompressor knows it, else zstd. */
  readonly compression?: Compression;
  /** `payload` by default. */
  readonly layout?: Layout;
  readonly notes?: readonly NoteChange[];
  /** Keep the image's own setup code. */
  readonly keepSetup?: boolean;
  /** For boots without a command line. */
  readonly commandLine?: string;
  /** Initial RAM disk for boots without one. */
  readonly initrd?: Uint8Array;
}

export interface Packed {
  readonly bytes: Uint8Array;
  readonly compression: Compression;
  readonly layout: Layout;
  readonly payloadLength: number;
  readonly initSize: number;
}

/** The payload without its size word: the image's own where nothing changed, so that nothing is compressed twice. */
async function payloadFor(
  source: PackSource,
  format: Compression,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  if (source.payload?.compression === format) {
    const { bytes } = source.payload;
    return compressionFormat(format).sizeWord ? bytes.subarray(0, bytes.length - 4) : bytes;
  }
  if (format === 'none') return source.raw;
  return compress(source.raw, format, signal === undefined ? {} : { signal });
}

/**
 * Packs. Deterministic: the same input gives the same bytes.
 * @throws BootImageError `rule-violated` (field: the rule) for a kernel that cannot be started, `unsupported` for a
 * compression that our decompressor does not decode, `does-not-fit`, `relocations-malformed`, `not-found-in-image`
 */
export async function pack(image: BootImage, request: PackRequest = {}, options: RecoverOptions = {}): Promise<Packed> {
  const { layout = 'payload', notes = [], keepSetup = false, commandLine = '', initrd = new Uint8Array(0) } = request;
  let source = await readPackSource(image, options);
  if (notes.length > 0) source = withRaw(source, editNotes(source.raw, notes));
  const compression = request.compression ?? source.payload?.compression ?? 'zstd';
  const decompressor = await loadDecompressor(source.bits, compression);
  const payload = await payloadFor(source, compression, options.signal);
  const stage = packStage(source, decompressor, compression, payload, layout, { commandLine, initrd });
  const setup = await packSetup(source, stage, layout, keepSetup);
  const bytes = new Uint8Array(setup.length + stage.bytes.length);
  bytes.set(setup);
  bytes.set(stage.bytes, setup.length);
  // boot.rst, "The Image Checksum": the register over everything before it.
  const end = bytes.length - 4;
  new DataView(bytes.buffer).setUint32(end, crc32Register(bytes.subarray(0, end)), true);
  return { bytes, compression, layout, payloadLength: stage.payloadLength, initSize: stage.initSize };
}
