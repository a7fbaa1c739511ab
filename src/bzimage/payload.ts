/** Where the kernel lies inside the protected-mode stage: by the header (2.08 and newer), else by scanning. */
import type { ByteView } from '../bytes/byte-view.js';
import { hex } from '../bytes/numbers.js';
import { compressionFormat, detectCompression, type Compression } from '../compression/formats.js';
import type { FileRange, Payload } from './boot-image.js';
import { scanForPayload } from './payload-scan.js';
import type { ProblemList } from './problems.js';
import { setupField, type SetupFieldName, type SetupHeader } from './setup-header.js';

/** The build appends the decompressed size (u32) to every format but gzip, whose last word (ISIZE) says the same. */
const SIZE_WORD = 4;

/** A payload as the header gives it; `length` may have been cut down to what the file has. */
function headerPayload(file: ByteView, range: FileRange, complete: boolean): Payload {
  const compression = detectCompression(file.bytes.subarray(range.offset, range.offset + range.length));
  const hasWord = complete && compression !== null && compression !== 'none' && range.length >= SIZE_WORD;
  return {
    ...range,
    compression,
    sizeWord: hasWord ? file.u32(range.offset + range.length - SIZE_WORD) : null,
    compressedLength: hasWord && compressionFormat(compression).sizeWord ? range.length - SIZE_WORD : range.length,
    foundBy: 'header',
  };
}

function readHeaderPayload(
  file: ByteView,
  setup: SetupHeader,
  protectedMode: FileRange,
  kernelEnd: number,
  problems: ProblemList,
): Payload | null {
  const { payload_offset = 0, payload_length = 0 } = setup.values;
  if (payload_offset === 0 && payload_length === 0) return null;
  const complain = (severity: 'error' | 'warning', id: string, message: string, name: SetupFieldName): void =>
    problems.add(severity, id, message, setupField(name).offset, name);
  const offset = protectedMode.offset + payload_offset;
  if (payload_offset === 0 || payload_length === 0) {
    const name = payload_offset === 0 ? 'payload_offset' : 'payload_length';
    complain('error', 'payload-unplaced', `${name} is 0: the header does not say where the kernel is`, name);
    return null;
  }
  if (offset >= file.length) {
    complain(
      'error',
      'payload-outside',
      `the payload begins at ${hex(offset)}, behind the end of the file`,
      'payload_offset',
    );
    return null;
  }
  const available = file.length - offset;
  const complete = payload_length <= available;
  if (!complete) {
    complain(
      'error',
      'payload-truncated',
      `the payload takes ${payload_length} bytes from ${hex(offset)} on; the file has ${available}`,
      'payload_length',
    );
  }
  if (complete && offset + payload_length > kernelEnd) {
    complain(
      'warning',
      'payload-behind-kernel',
      `the payload ends at ${hex(offset + payload_length)}, but syssize counts only up to ${hex(kernelEnd)}`,
      'payload_length',
    );
  }
  const payload = headerPayload(file, { offset, length: Math.min(payload_length, available) }, complete);
  if (payload.compression === null) {
    problems.add(
      'error',
      'payload-unknown',
      `no known compression and no ELF file begins at ${hex(offset)}, where payload_offset points`,
      offset,
      'payload_offset',
    );
  }
  return payload;
}

const scanned = (offset: number, end: number, compression: Compression): Payload => ({
  offset,
  // Where the stream ends shows only by decompressing it.
  length: end - offset,
  compression,
  sizeWord: null,
  compressedLength: end - offset,
  foundBy: 'scan',
});

export interface PayloadPlaces {
  readonly payload: Payload | null;
  readonly candidates: readonly Payload[];
}

const NOWHERE: PayloadPlaces = { payload: null, candidates: [] };

/**
 * The payload of an image with a setup header, or where a stage ELF's own note says it is (`noted`). Falls back to scanning [from, end) when the header does not say where it
 * is, or points at something that it cannot be.
 */
export function findPayload(
  file: ByteView,
  setup: SetupHeader,
  protectedMode: FileRange | null,
  scanRange: { readonly from: number; readonly end: number },
  noted: FileRange | null,
  problems: ProblemList,
): PayloadPlaces {
  if (protectedMode === null) return NOWHERE;
  if (noted !== null && (setup.values.payload_length ?? 0) === 0) {
    return { payload: headerPayload(file, noted, true), candidates: [] };
  }
  const byHeader = readHeaderPayload(file, setup, protectedMode, scanRange.end, problems);
  if (byHeader !== null && byHeader.compression !== null) return { payload: byHeader, candidates: [] };
  const { from, end } = scanRange;
  const hits = from < end ? scanForPayload(file.view(from, end - from)) : [];
  const [best, ...rest] = hits.map((hit) => scanned(from + hit.offset, end, hit.compression));
  if (best === undefined) return { payload: byHeader, candidates: [] };
  return { payload: best, candidates: rest };
}

/** A compressed file by itself (a vmlinux.gz, say): all of it is the payload, still to be proved. */
export function wholeFilePayload(file: ByteView): Payload {
  const payload = headerPayload(file, { offset: 0, length: file.length }, false);
  return { ...payload, foundBy: 'scan' };
}
