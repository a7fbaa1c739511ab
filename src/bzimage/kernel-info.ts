/** kernel_info: facts about the image in the uncompressed part of the protected-mode stage, protocol 2.15 and newer. */
import type { ByteView } from '../bytes/byte-view.js';
import { hex } from '../bytes/numbers.js';
import { defineStruct, type StructOf } from '../bytes/struct.js';
import type { FileRange } from './boot-image.js';
import type { ProblemList } from './problems.js';
import type { SetupHeader } from './setup-header.js';

/** "LToP", Linux top structure. */
export const KERNEL_INFO_MAGIC = 0x506f544c;

export const KERNEL_INFO = defineStruct('kernel_info', 16, 'boot.rst, "The kernel_info"', [
  { name: 'header', offset: 0, type: 'u32', shown: 'hex', doc: 'the magic number "LToP", 0x506f544c' },
  { name: 'size', offset: 4, type: 'u32', doc: 'bytes of the fixed fields, with header' },
  { name: 'size_total', offset: 8, type: 'u32', doc: 'bytes with the variable data behind the fixed fields' },
  {
    name: 'setup_type_max',
    offset: 12,
    type: 'u32',
    shown: 'hex',
    doc: 'highest setup_data type that the kernel knows',
  },
]);

/** A chunk of kernel_info's variable data: a four-character magic, a length with both, and bytes. */
export interface KernelInfoChunk extends FileRange {
  readonly magic: string;
}

export interface KernelInfo extends StructOf<typeof KERNEL_INFO.fields>, FileRange {
  /** Variable data behind the fixed fields; empty in every kernel up to 7.2. */
  readonly chunks: readonly KernelInfoChunk[];
}

const SETUP_OFFSET = 0x268;
const CHUNK_HEADER = 8;

function readChunks(file: ByteView, from: number, end: number, problems: ProblemList): KernelInfoChunk[] {
  const chunks: KernelInfoChunk[] = [];
  let at = from;
  while (at < end) {
    const length = file.has(at, CHUNK_HEADER) ? file.u32(at + 4) : 0;
    if (length < CHUNK_HEADER || at + length > end) {
      problems.add(
        'warning',
        'kernel-info-chunk',
        'kernel_info holds variable data that does not parse',
        at,
        'kernel_info',
      );
      break;
    }
    chunks.push({ magic: String.fromCharCode(...file.slice(at, 4)), offset: at, length });
    at += length;
  }
  return chunks;
}

/** kernel_info of an image; null if its protocol has none, or if there is none where kernel_info_offset points. */
export function readKernelInfo(
  file: ByteView,
  setup: SetupHeader,
  protectedMode: FileRange,
  problems: ProblemList,
): KernelInfo | null {
  const relative = setup.values.kernel_info_offset;
  if (relative === undefined || relative === 0) return null;
  const offset = protectedMode.offset + relative;
  const complain = (message: string): null => {
    problems.add('warning', 'kernel-info', message, SETUP_OFFSET, 'kernel_info_offset');
    return null;
  };
  if (!file.has(offset, KERNEL_INFO.size)) return complain(`kernel_info at ${hex(offset)} lies outside the file`);
  const values = KERNEL_INFO.read(file, offset);
  if (values.header !== KERNEL_INFO_MAGIC) return complain(`there is no "LToP" at ${hex(offset)}`);
  const { size, size_total } = values;
  if (size < 12 || size_total < size || !file.has(offset, size_total)) {
    complain(`kernel_info gives itself ${size} of ${size_total} bytes`);
    return { ...values, offset, length: KERNEL_INFO.size, chunks: [] };
  }
  return {
    ...values,
    offset,
    length: size_total,
    chunks: readChunks(file, offset + size, offset + size_total, problems),
  };
}
