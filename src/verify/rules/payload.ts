import { hex } from '../../bytes/numbers.js';
import { finding, holds, type RuleTable } from '../finding.js';
import type { Compression } from '../../compression/formats.js';

/** A rule that a loader understands only some formats. */
function understands(id: string, formats: readonly (Compression | 'none')[], whose: string): RuleTable[number] {
  return {
    id,
    stage: 'payload',
    severity: 'note',
    checks: `The payload’s format is one that ${whose} decompresses: ${formats.join(', ')}.`,
    why: `${whose} has no other decompressor.`,
    cure: `Recompress: \`bzelf pack IMAGE --compress ${formats[0] ?? 'gzip'}\`.`,
    source: 'boot.rst, payload_offset',
    check: ({ image }) =>
      image.payload === null || (image.payload.compression !== null && formats.includes(image.payload.compression))
        ? holds
        : [
            finding(
              `the payload is ${image.payload.compression ?? 'of an unknown format'}`,
              'payload_offset',
              image.payload.offset,
            ),
          ],
  };
}

/** The compressed kernel. */
export const PAYLOAD_RULES: RuleTable = [
  {
    id: 'payload.range',
    stage: 'payload',
    severity: 'error',
    checks: 'payload_offset and payload_length describe a range inside the protected-mode part.',
    why: 'Loaders that decompress on the host read there, and not all of them check.',
    cure: 'Copy the file again; extract the kernel by scanning if the header alone is damaged.',
    source: 'boot.rst, payload_offset and payload_length',
    check: (s) => {
      const offset = s.number('payload_offset');
      const length = s.number('payload_length');
      const part = s.image.stages.protected_mode;
      if (offset === null || length === null || part === null) return holds;
      // Both zero: not announced, which is another rule's.
      return (length > 0 || offset === 0) && offset + length <= part.length
        ? holds
        : [
            finding(
              `payload ${hex(offset)} + ${hex(length)} does not fit into ${hex(part.length)} bytes`,
              'payload_length',
              s.offsetOf('payload_length'),
            ),
          ];
    },
  },
  {
    id: 'payload.announced',
    stage: 'payload',
    severity: 'note',
    checks: 'payload_offset and payload_length say where the kernel is.',
    why: 'Hosts that decompress the kernel themselves find it by them.',
    cure: 'Pack the image in the layout payload or both.',
    source: 'boot.rst, payload_offset and payload_length',
    check: (s) =>
      s.version < 0x208 || s.number('payload_length') !== 0 || s.number('payload_offset') !== 0
        ? holds
        : [finding('payload_offset and payload_length are 0', 'payload_length', s.offsetOf('payload_length'))],
  },
  {
    id: 'payload.format',
    stage: 'payload',
    severity: 'error',
    checks: 'The payload begins with the magic number of a known compression format or of an ELF file.',
    why: 'Nobody can decompress it on the host.',
    cure: 'Copy the file again.',
    source: 'boot.rst, payload_offset',
    check: ({ image, version }) =>
      version < 0x208 || (image.payload !== null && image.payload.compression !== null)
        ? holds
        : [finding('no known magic number stands at the payload', 'payload_offset', image.payload?.offset ?? null)],
  },
  {
    id: 'payload.decompresses',
    stage: 'payload',
    severity: 'error',
    checks: 'The payload decompresses without an error.',
    why: 'The kernel’s own decompressor stops with a message, or starts rubbish.',
    cure: 'Copy the file again.',
    source: 'the format’s own specification',
    check: ({ image, failure, trueSize }) =>
      failure === null ||
      trueSize !== null ||
      !['payload-corrupt', 'payload-truncated', 'payload-missing'].includes(failure.code)
        ? holds
        : [
            finding(
              failure.message,
              failure.field ?? 'payload_offset',
              failure.offset ?? image.payload?.offset ?? null,
            ),
          ],
  },
  {
    id: 'payload.size-limit',
    stage: 'payload',
    severity: 'error',
    checks: 'The decompressed kernel has at most 1 GiB.',
    why: 'No kernel is that large: this is a decompression bomb, and Xen’s toolstack refuses it.',
    cure: 'Do not start this image.',
    source: 'xg_dom.h, XC_DOM_DECOMPRESS_MAX',
    check: ({ image, failure }) =>
      failure?.code === 'payload-too-large' || (image.payload?.sizeWord ?? 0) > 2 ** 30
        ? [
            finding(
              failure?.message ?? `the size word promises ${image.payload?.sizeWord} bytes`,
              'payload_length',
              image.payload?.offset ?? null,
            ),
          ]
        : holds,
  },
  {
    id: 'payload.size-word',
    stage: 'payload',
    severity: 'error',
    checks: 'The size word behind the payload (for gzip: ISIZE) is the decompressed size.',
    why: 'Loaders allocate by it, and the kernel’s decompressor finds the relocations by it.',
    cure: 'Correct the four bytes at the payload’s end.',
    source: 'the kernel’s arch/x86/boot/compressed: size appended to the payload',
    check: ({ image, trueSize }) =>
      image.payload === null || trueSize === null
        ? holds
        : [
            finding(
              `the size word says ${image.payload.sizeWord}, the kernel has ${trueSize} bytes`,
              'payload_length',
              image.payload.offset + image.payload.length - 4,
            ),
          ],
  },
  {
    id: 'payload.length-6',
    stage: 'payload',
    severity: 'error',
    checks: 'The payload has more than a handful of bytes.',
    why: 'A magic number and a size word alone are no kernel.',
    cure: 'Correct payload_length.',
    source: 'boot.rst, payload_length',
    check: ({ image, version }) =>
      version < 0x208 || image.payload === null || image.payload.length >= 64
        ? holds
        : [finding(`the payload has ${image.payload.length} bytes`, 'payload_length', 0x24c)],
  },
  // An ELF payload is refused as a bzImage, but the next loader in line takes what that one left behind.
  understands(
    'payload.format-libxenguest',
    ['gzip', 'lzma', 'xz', 'lz4', 'zstd', 'none'],
    'Xen’s toolstack without optional libraries, as Debian builds it,',
  ),
  understands('payload.format-pvgrub', ['gzip', 'xz', 'lzo', 'none'], 'pvgrub'),
  {
    id: 'payload.checksum',
    stage: 'payload',
    severity: 'note',
    checks: 'The payload’s format carries a checksum.',
    why: 'A flipped byte in an LZ4 or plain payload goes unnoticed.',
    cure: 'Use gzip, xz or zstd where integrity matters.',
    source: 'the format’s own specification',
    check: ({ image }) =>
      image.payload?.compression === 'lz4' ||
      image.payload?.compression === 'none' ||
      image.payload?.compression === 'lzma'
        ? [finding(`${image.payload.compression} has no checksum`, 'payload_offset', image.payload.offset)]
        : holds,
  },
  {
    id: 'payload.dictionary',
    stage: 'payload',
    severity: 'note',
    checks: 'An xz or lzma payload needs a dictionary of at most 64 MiB.',
    why: 'Xen’s toolstack before October 2024 allows the decoder 128 MiB and fails with larger dictionaries: "Memory usage limit reached".',
    cure: 'Recompress with a smaller dictionary: `bzelf pack IMAGE --compress xz`.',
    source: 'Xen commit e6472d4668',
    check: (s) => {
      const { payload } = s.image;
      const size = payload === null ? null : s.dictionarySize;
      return payload === null || size === null || size <= 64 * 2 ** 20
        ? holds
        : [finding(`the dictionary has ${size / 2 ** 20} MiB`, 'payload_offset', payload.offset)];
    },
  },
  {
    id: 'payload.elf',
    stage: 'payload',
    severity: 'note',
    checks: 'The decompressed payload is an ELF file.',
    why: 'Kernels before 2.6.26 carry a raw binary: it can be decompressed by the guest, but not placed by program headers.',
    cure: 'Start it at the setup or decompressor stage.',
    source: 'boot.rst, payload_offset: "the payload ... ELF"',
    check: ({ failure, image }) =>
      failure?.code === 'payload-not-elf'
        ? [finding('the kernel inside is a raw binary', 'payload_offset', image.payload?.offset ?? null)]
        : holds,
  },
];
