/**
 * Every rule has an image, made from a real kernel by one change, on which exactly this rule fires and what follows
 * from it, and a real kernel on which it does not.
 */
import { describe, expect, it } from 'vitest';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { verify } from '../../src/verify/judge.js';
import { LOADERS } from '../../src/verify/loaders/index.js';
import { ownChecks } from '../../src/verify/loaders/own.js';
import { XEN_REFUSAL_RULES } from '../../src/kernel/xen-parameters.js';
import { RULES } from '../../src/verify/rules/index.js';
import { createSubject } from '../../src/verify/subject.js';
import { ELF32_PHDR, ELF64_EHDR, ELF64_PHDR } from '../../src/elf/definitions.js';
import { gzipSync } from 'node:zlib';
import { corpusFile } from '../kernels/corpus.js';
import {
  all,
  editedImage,
  editedKernel,
  editedPlainImage,
  inPlace,
  plainKernel,
  quad,
  retypeNote,
  setByte,
  setEhdr,
  setField,
  setNote,
  setPhdr,
  setWord,
  withPayload,
  type Edit,
} from './edit.js';
import { stageElfImage, STAGE_OFFSET } from './stage-elf-image.js';

interface Case {
  /** The image before the change; the rule must hold there. */
  readonly from: () => Promise<BootImage> | BootImage;
  readonly image: () => Promise<BootImage> | BootImage;
  /** What else fires, because it follows. */
  readonly also: readonly string[];
}

const unchanged: Edit = () => undefined;

/** A change to a bzImage. Any change breaks the checksum over the file, which so needs no mention. */
const boot = (edit: Edit, also: readonly string[] = [], name = 'k64-gzip'): Case => ({
  from: () => editedImage(name, unchanged),
  image: () => editedImage(name, edit),
  also: ['file.crc32', ...also],
});

/** A change to the ELF kernel inside, as a plain payload. */
const kernel = (edit: Edit, also: readonly string[] = []): Case => ({
  from: () => editedPlainImage('k64-gzip', unchanged),
  image: () => editedPlainImage('k64-gzip', edit),
  also,
});

/** A real kernel that lacks what another one has. */
const instead = (from: string, name: string, also: readonly string[]): Case => ({
  from: () => editedImage(from, unchanged),
  image: () => editedImage(name, unchanged),
  also,
});

const stage = (edit: Edit, also: readonly string[] = []): Case => ({
  from: () => stageElfImage(unchanged),
  image: () => stageElfImage(edit),
  also: ['file.crc32', ...also],
});

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');

/** File offsets in k64-gzip: manifest.json and the PE header at 0x40. */
const PROTECTED_MODE = 20480;
const PAYLOAD = 21188;
const PAYLOAD_LENGTH = 1927713;
const PE = 0x40;
const ELF_SIZE = 14186384;
const XZ_LENGTH = 1538944;
const V = 0xffffffff80000000n;
/** Without section headers the ELF file’s end is not known, and what follows it cannot be told from the file. */
const NO_SECTIONS = ['relocations.parse', 'relocations.present'];

const CASES: Readonly<Record<string, Case>> = {
  'file.recognised': {
    from: () => editedImage('k64-gzip', unchanged),
    image: () => editedImage('k64-gzip', (old) => new Uint8Array(old.length)),
    also: ['setup.present', 'pe.present', 'payload.decompresses'],
  },
  'file.complete': boot((old) => old.subarray(0, old.length - 4096), ['pe.sections-in-file']),
  'file.trailing-data': boot((old) => Buffer.concat([old, new Uint8Array(1024).fill(0x5a)])),
  'file.multiple-of-4': boot((old) => Buffer.concat([old, new Uint8Array(2)])),
  'file.crc32': boot(setByte(0x3ff, 0x77)),
  'setup.present': {
    from: () => editedImage('k64-gzip', unchanged),
    image: () => editedKernel('k64-gzip', unchanged),
    also: ['pe.present'],
  },
  'setup.boot-flag': boot(setField('boot_flag', 0x55aa)),
  // Without it nothing tells the file from any other boot sector.
  'setup.hdrs': boot(setWord(0x202, 0), ['file.recognised', 'setup.present', 'payload.decompresses']),
  ...protocolCases(),
  'setup.version-known': boot(setField('version', 0x0210)),
  'setup.sects-in-file': boot(
    (old) => old.subarray(0, 8192),
    [
      'pe.sections-in-file',
      'payload.decompresses',
      'payload.format',
      'setup.kernel-version',
      'setup.handover-offset',
      'setup.kernel-info',
    ],
  ),
  'setup.sects-64': boot(setField('setup_sects', 65), [
    'file.complete',
    'setup.entry-64',
    'payload.format',
    'payload.decompresses',
    'setup.kernel-info',
    'payload.format-libxenguest',
    'payload.format-pvgrub',
  ]),
  'setup.sects-explicit': boot(setField('setup_sects', 0), [
    'file.trailing-data',
    'payload.format',
    'payload.decompresses',
    'setup.kernel-info',
    'setup.kernel-version',
  ]),
  'setup.jump': boot(setByte(0x200, 0x90)),
  'setup.jump-target': boot(setByte(0x201, 0x7f)),
  'setup.header-end': boot(setByte(0x201, 0x20), ['setup.kernel-64-flag', 'payload.decompresses']),
  'setup.loaded-high': boot(setField('loadflags', 0), ['setup.code32-start', 'setup.entry-at-load-address']),
  'setup.kernel-version': boot(setField('kernel_version', 0xfff0)),
  'setup.code32-start': boot(setField('code32_start', 0x90000), ['setup.entry-at-load-address']),
  'setup.entry-at-load-address': boot(setField('code32_start', 0x100100), ['setup.code32-start']),
  'setup.kernel-alignment': boot(setField('kernel_alignment', 0x300000), ['setup.pref-address']),
  'setup.min-alignment': boot(setField('min_alignment', 30)),
  'setup.pref-address': boot(setField('pref_address', 0x1000001n), ['memory.pref-address']),
  'setup.init-size-given': boot(setField('init_size', 0), ['memory.init-size', 'memory.segments-in-init-size']),
  'setup.xloadflags-64': boot(setField('xloadflags', 0x2), [
    'setup.kernel-64-flag',
    'setup.xloadflags-consistent',
    'pe.machine',
  ]),
  'setup.kernel-64-flag': instead('k64-gzip', 'k32-gzip', [
    'setup.xloadflags-above-4g',
    'elf.class-64',
    'notes.xen-loader',
    'notes.xen-loader-exact',
  ]),
  'setup.entry-64': boot(inPlace((old) => old.fill(0, PROTECTED_MODE + 0x200, PROTECTED_MODE + 0x210))),
  'setup.xloadflags-above-4g': boot(setField('xloadflags', 0x1)),
  'setup.xloadflags-consistent': boot(setField('xloadflags', 0x5f)),
  'setup.handover-offset': boot(setField('handover_offset', 0x7fffffff)),
  'setup.relocatable': boot(setField('relocatable_kernel', 0), ['setup.xloadflags-consistent']),
  'setup.cmdline-size': boot(setField('cmdline_size', 10)),
  'setup.initrd-addr-max': boot(setField('initrd_addr_max', 0x10000)),
  'setup.kernel-info': boot(setField('kernel_info_offset', 0x1000)),
  'setup.runtime-fields-zero': boot(setField('setup_data', 0x1234n)),
  'pe.present': instead('k64-gzip', 'k64-noreloc', [
    'setup.xloadflags-above-4g',
    'setup.relocatable',
    'relocations.present',
  ]),
  'pe.headers': boot(setByte(PE + 24 + 68, 3)),
  'pe.machine': boot(inPlace((_, view) => view.setUint16(PE + 4, 0x14c, true))),
  // The .text section's SizeOfRawData: third entry of the section table behind the optional header of 160 bytes.
  'pe.sections-in-file': boot(setWord(PE + 24 + 160 + 2 * 40 + 16, 0x7fff0000)),
  'pe.sections-in-image': boot(setWord(PE + 24 + 56, 0x10000), ['pe.size-of-image']),
  'pe.entry': boot(setWord(PE + 24 + 16, 0x7fff0000)),
  'pe.size-of-image': boot(setWord(PE + 24 + 56, 0x10000), ['pe.sections-in-image']),
  // Data directory 4.
  'pe.certificates': boot(all(setWord(PE + 24 + 112 + 32, 0x7fff0004), setWord(PE + 24 + 112 + 36, 64))),
  'pe.initrd-protocol': boot(inPlace((_, view) => view.setUint16(PE + 24 + 44, 0, true))),
  'pe.nx-compatible': {
    from: () =>
      editedImage(
        'k64-gzip',
        inPlace((_, view) => view.setUint16(PE + 24 + 70, 0x100, true)),
      ),
    image: () => editedImage('k64-gzip', unchanged),
    also: [],
  },
  'stage-elf.parse': stage(setEhdrAt({ e_phoff: 0x7fff0000n }), ['stage-elf.notes']),
  'stage-elf.entry': stage(setEhdrAt({ e_entry: 0x10n }), ['stage-elf.code32-start']),
  'stage-elf.init-size': stage(setField('init_size', 0x2000000)),
  'stage-elf.code32-start': stage(setField('code32_start', 0x100010)),
  'stage-elf.notes': stage(setStagePhdrType(1, 0)),
  'payload.range': boot(setField('payload_length', 0x7fffffff), ['payload.decompresses']),
  'payload.announced': boot(all(setField('payload_length', 0), setField('payload_offset', 0)), ['payload.size-word']),
  'payload.format': boot(setWord(PAYLOAD, 0x12345678), [
    'payload.decompresses',
    'payload.format-libxenguest',
    'payload.format-pvgrub',
  ]),
  'payload.decompresses': boot(inPlace((old) => old.fill(0, PAYLOAD + 500_000, PAYLOAD + 501_000))),
  'payload.size-limit': boot(setWord(PAYLOAD + PAYLOAD_LENGTH - 4, 0x7fffffff)),
  'payload.size-word': boot(setWord(PAYLOAD + XZ_LENGTH - 4, 14325860), [], 'k64-xz'),
  'payload.length-6': boot(setField('payload_length', 20), ['payload.decompresses', 'payload.size-limit']),
  'payload.format-libxenguest': instead('k64-gzip', 'k64-lzo', []),
  'payload.format-pvgrub': instead('k64-gzip', 'k64-zstd', []),
  'payload.checksum': instead('k64-gzip', 'k64-lz4', ['payload.format-pvgrub']),
  // k64-lzma: the dictionary size stands behind the property byte.
  'payload.dictionary': boot(setWord(PAYLOAD + 1, 128 << 20), [], 'k64-lzma'),
  'payload.elf': rawBinary(),
  'elf.magic': rawBinary(),
  'elf.little-endian': kernel(setByte(5, 2), ['elf.magic', 'elf.class', 'notes.xen-loader-exact', 'notes.xen-loader']),
  'elf.class': kernel(setEhdr({ e_machine: 3 })),
  'elf.class-64': instead('k64-gzip', 'k32-gzip', [
    'setup.kernel-64-flag',
    'setup.xloadflags-above-4g',
    'notes.xen-loader',
    'notes.xen-loader-exact',
  ]),
  'elf.class-32': instead('k32-gzip', 'k64-gzip', ['elf.write-execute', 'notes.string-terminated']),
  'elf.type': kernel(setEhdr({ e_type: 4 })),
  'elf.sizes-exact': kernel(setEhdr({ e_ehsize: 60 })),
  'elf.phdr-table': kernel(setEhdr({ e_phoff: BigInt(ELF_SIZE * 2) }), [
    'elf.loadable',
    'notes.xen-loader-exact',
    'notes.pvh-entry',
    'notes.pvh-by-p-align',
    'relocations.in-segments',
  ]),
  'elf.shdr-table': kernel(setEhdr({ e_shoff: BigInt(ELF_SIZE * 2) }), [...NO_SECTIONS, 'notes.xen-loader-exact']),
  'elf.shnum-plausible': {
    from: () => editedKernel('k64-gzip', unchanged),
    // A file so small that 26 section headers are too many: ELF header and program headers of the kernel alone.
    image: () => editedKernel('k64-gzip', (old) => old.slice(0, 1024)),
    also: [
      'elf.shdr-table',
      'elf.segment-file-range',
      'notes.parse',
      'notes.xen-any',
      'notes.xen-loader-exact',
      'notes.pvh',
      'relocations.parse',
    ],
  },
  'elf.loadable': kernel(
    all(setPhdr(0, { p_type: 0 }), setPhdr(1, { p_type: 0 }), setPhdr(2, { p_type: 0 }), setPhdr(3, { p_type: 0 })),
    ['notes.xen-bounds', 'notes.pvh-entry', 'notes.segment-in-load', 'relocations.in-segments'],
  ),
  'elf.segment-file-range': kernel(setPhdr(1, { p_offset: 0x2000000n }), ['relocations.in-segments']),
  'elf.filesz-memsz': kernel(setPhdr(1, { p_memsz: 1000n }), ['relocations.in-segments']),
  'elf.segment-wrap': kernel(setPhdr(1, { p_memsz: 0xffffffffffffff00n }), ['elf.overlap', 'relocations.in-segments']),
  'elf.overlap': kernel(setPhdr(1, { p_paddr: 0x1200000n }), ['elf.linear-mapping', 'relocations.in-segments']),
  'elf.sorted': kernel(
    inPlace((old) => {
      const first = old.slice(64, 64 + 56);
      old.copyWithin(64, 64 + 56, 64 + 112);
      old.set(first, 64 + 56);
    }),
  ),
  'elf.entry': kernel(setEhdr({ e_entry: 0x1a20000n })),
  // The text segment, which holds the entry, loses the flag x.
  'elf.entry-executable': kernel(setPhdr(0, { p_flags: 4 })),
  'elf.entry-physical': kernel(setEhdr({ e_entry: V + 0x1000000n })),
  'elf.align': kernel(setPhdr(1, { p_align: 0x600000n })),
  'elf.align-2m': kernel(setPhdr(1, { p_align: 0x1000n })),
  'elf.congruent': kernel(setPhdr(1, { p_vaddr: V + 0x1800800n }), ['elf.linear-mapping']),
  'elf.linear-mapping': kernel(setPhdr(1, { p_vaddr: V + 0x5800000n })),
  'elf.write-execute': {
    from: () => editedPlainImage('k64-gzip', setPhdr(3, { p_flags: 6 })),
    image: () => editedPlainImage('k64-gzip', unchanged),
    also: [],
  },
  'elf.flags': kernel(setPhdr(2, { p_flags: 0 })),
  'elf.bss-only': kernel(setPhdr(2, { p_filesz: 0n }), ['relocations.in-segments']),
  'elf.interpreter': kernel(setPhdr(4, { p_type: 3 }), ['notes.pvh-by-p-align']),
  'elf.copy-limit': kernel(
    all(
      setPhdr(1, { p_memsz: 0xa00000n }),
      setPhdr(2, { p_memsz: 0x1000000n }),
      setPhdr(3, { p_memsz: 0x1200000n }),
      setPhdr(0, { p_memsz: 0x2000000n }),
    ),
    ['elf.overlap', 'memory.segments-in-init-size'],
  ),
  'notes.parse': kernel(
    inPlace((old) => {
      const view = new DataView(old.buffer, old.byteOffset);
      view.setUint32(9364296 + 4, 0x7fffffff, true);
    }),
    [
      'notes.xen-any',
      'notes.xen-version',
      'notes.xen-loader',
      'notes.xen-loader-exact',
      'notes.pvh',
      'notes.xen-broken',
    ],
  ),
  'notes.alignment': kernel(setPhdr(4, { p_align: 8n }), ['notes.pvh-by-p-align']),
  'notes.string-terminated': {
    from: () =>
      editedPlainImage(
        'k64-gzip',
        setNote(10, () => bytes('!writable_page_tables|pae_pgdir_above_4gb\0')),
      ),
    image: () => editedPlainImage('k64-gzip', unchanged),
    also: [],
  },
  'notes.string-runs-on': kernel(
    setNote(8, () => bytes('generic!')),
    ['notes.xen-loader-exact'],
  ),
  'notes.integer-size': kernel(setNote(14, () => new Uint8Array(3))),
  'notes.xen-any': instead('k64-gzip', 'k64-noxen', ['notes.xen-loader', 'notes.xen-loader-exact', 'notes.pvh']),
  'notes.present': kernel(all(setPhdr(4, { p_type: 0 }), setEhdr({ e_shnum: 0, e_shoff: 0n })), [
    ...NO_SECTIONS,
    'notes.xen-any',
    'notes.pvh',
    'notes.xen-loader-exact',
  ]),
  'notes.xen-loader': kernel(
    all(
      setNote(8, () => bytes('other\0\0')),
      setNote(6, () => bytes('plan9\0')),
    ),
    ['notes.xen-loader-exact'],
  ),
  'notes.xen-version': kernel(setNote(5, () => bytes('xen-4.0\0'))),
  'notes.xen-feature-known': kernel(
    setNote(10, () => bytes('!writable_page_tabler\0')),
    ['notes.xen-loader-exact'],
  ),
  'notes.xen-paddr-offset': kernel(retypeNote(3, 99)),
  'notes.xen-bounds': kernel(setNote(1, () => quad(V))),
  'notes.xen-p2m': kernel(setNote(15, () => quad(V + 0x1100000n))),
  'notes.xen-broken': kernel(setPhdr(4, { p_filesz: 0x7fffffffn }), [
    'notes.parse',
    'notes.xen-any',
    'notes.pvh',
    'notes.segment-in-load',
  ]),
  'notes.xen-dom0': kernel(setNote(17, () => Uint8Array.of(0x01, 0x80, 0, 0))),
  'notes.xen-not-dom0-only': kernel(setNote(10, () => bytes('!dom0\0'))),
  'notes.xen-hypercall-page': kernel(all(retypeNote(15, 2))),
  'notes.xen-p2m-usable': kernel(setNote(15, () => quad(0x8000000800n))),
  'notes.xen-virt-base-aligned': kernel(setNote(3, () => quad(V + 0x800n))),
  'notes.xen-loader-exact': kernel(setNote(8, () => bytes('generi\0'))),
  'notes.xen-32-pae': {
    from: () => editedPlainImage('k32-noreloc', unchanged),
    image: () => editedPlainImage('k32-noreloc', pvNotes32),
    also: ['elf.class-64', 'notes.segment-in-load'],
  },
  'notes.pvh': kernel(retypeNote(18, 99)),
  'notes.pvh-entry': kernel(setNote(18, () => quad(0x1a20000n))),
  'notes.pvh-size': kernel(
    setNote(18, () => Uint8Array.of(0x90, 0x05, 0x00)),
    ['notes.integer-size'],
  ),
  'notes.pvh-by-p-align': kernel(setPhdr(4, { p_align: 8n }), ['notes.alignment']),
  'notes.pvh-in-last-segment': kernel(
    inPlace((old) => {
      // A further PT_NOTE segment, empty but for the build ID, in place of nothing: the table has room behind it.
      setEhdr({ e_phnum: 6 })(old);
      setPhdr(5, {
        p_type: 4,
        p_flags: 4,
        p_offset: 9364296n + 460n,
        p_vaddr: 0n,
        p_paddr: 0n,
        p_filesz: 0n,
        p_memsz: 0n,
        p_align: 4n,
      })(old);
    }),
  ),
  'notes.phys32-reloc': kernel(
    all(
      retypeNote(14, 19),
      setNote(19, () => Uint8Array.of(0, 0, 0x30, 0)),
    ),
  ),
  'notes.segment-in-load': kernel(notesAtTheEnd, ['file.crc32']),
  'relocations.parse': kernel(inPlace((old) => old.set([1, 2, 3, 4], ELF_SIZE))),
  'relocations.in-segments': kernel(setWord(ELF_SIZE + 4, 0x80000000)),
  'relocations.sorted': kernel(
    inPlace((old) => {
      const first = old.slice(ELF_SIZE + 4, ELF_SIZE + 8);
      old.copyWithin(ELF_SIZE + 4, ELF_SIZE + 8, ELF_SIZE + 12);
      old.set(first, ELF_SIZE + 8);
    }),
  ),
  'relocations.present': instead('k64-gzip', 'k64-nokaslr', []),
  'memory.kernel-size': kernel(setPhdr(3, { p_memsz: 0x60000000n }), [
    'memory.bss-plausible',
    'memory.segments-in-init-size',
  ]),
  'memory.bss-plausible': kernel(setPhdr(3, { p_memsz: 0x20000000n }), ['memory.segments-in-init-size']),
  'memory.segments-in-init-size': boot(setField('init_size', 0x900000), ['memory.init-size']),
  'memory.init-size': boot(setField('init_size', 0xc00000)),
  'memory.pref-address': boot(setField('pref_address', 0x2000000n)),
  'memory.low': kernel(setPhdr(2, { p_paddr: 0x80000n }), [
    'elf.sorted',
    'relocations.in-segments',
    'memory.pref-address',
    'memory.segments-in-init-size',
  ]),
  'memory.xen-page-aligned': kernel(setPhdr(0, { p_paddr: 0xfff800n }), [
    'elf.linear-mapping',
    'relocations.in-segments',
    'memory.pref-address',
  ]),
  'memory.xen-private': kernel(
    all(
      setNote(3, () => quad(0xffff800000000000n)),
      setNote(1, () => quad(0xffff8000018d0160n)),
    ),
  ),
};

function setEhdrAt(values: Parameters<typeof ELF64_EHDR.write>[2]): Edit {
  return inPlace((old) => ELF64_EHDR.write(old, STAGE_OFFSET, values));
}

function setStagePhdrType(index: number, type: number): Edit {
  return inPlace((old) => ELF64_PHDR.write(old, STAGE_OFFSET + 64 + index * 56, { p_type: type }));
}

/** A payload that decompresses to a raw binary, as before 2.6.26. */
function rawBinary(): Case {
  return {
    from: () => editedImage('k64-gzip', unchanged),
    image: async () => {
      const raw = new Uint8Array((await plainKernel('k64-gzip')).subarray(0, 4 << 20));
      raw.fill(0x90, 0, 4096);
      return editedImage('k64-gzip', (old) => withPayload(old, gzipSync(raw, { level: 1 })));
    },
    also: [
      'file.crc32',
      'payload.elf',
      'elf.magic',
      'pe.sections-in-file',
      'setup.handover-offset',
      'setup.kernel-info',
      'notes.xen-loader-exact',
    ],
  };
}

/** The notes move behind the section header table, outside of every loadable segment. */
function notesAtTheEnd(old: Uint8Array): Uint8Array {
  const grown = new Uint8Array(ELF_SIZE + 512 + old.length - ELF_SIZE);
  grown.set(old.subarray(0, ELF_SIZE));
  grown.set(old.subarray(9364296, 9364296 + 500), ELF_SIZE);
  grown.set(old.subarray(ELF_SIZE), ELF_SIZE + 500);
  setPhdr(4, { p_offset: BigInt(ELF_SIZE) })(grown);
  return grown.subarray(0, old.length + 500);
}

function note(type: number, desc: Uint8Array): Uint8Array {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(4, 0);
  header.writeUInt32LE(desc.length, 4);
  header.writeUInt32LE(type, 8);
  header.write('Xen\0', 12, 'latin1');
  return Buffer.concat([header, desc, Buffer.alloc((4 - (desc.length % 4)) % 4)]);
}

/** A 32-bit kernel with the notes of a PV guest, but without PAE_MODE. */
function pvNotes32(old: Uint8Array): Uint8Array {
  const words = (value: number): Uint8Array => Uint8Array.of(value, value >> 8, value >> 16, value >>> 24);
  const notes = Buffer.concat([
    note(6, bytes('linux\0')),
    note(5, bytes('xen-3.0\0')),
    note(8, bytes('generic\0')),
    note(3, words(0xc0000000)),
    note(1, words(0xc1000000)),
    note(18, words(0x1000000)),
  ]);
  const view = new DataView(old.buffer, old.byteOffset);
  const count = view.getUint16(44, true);
  for (let i = 0; i < count; i++) {
    const at = 52 + i * 32;
    if (view.getUint32(at, true) === 4)
      ELF32_PHDR.write(old, at, { p_offset: old.length, p_filesz: notes.length, p_memsz: notes.length });
  }
  return Buffer.concat([old, notes]);
}

/** An image whose version field says something older, with what that takes away. */
function protocolCases(): Record<string, Case> {
  const steps = [0x1ff, 0x201, 0x202, 0x204, 0x205, 0x207, 0x209, 0x20b];
  const names = ['2.00', '2.02', '2.03', '2.05', '2.06', '2.08', '2.10', '2.12'];
  return Object.fromEntries(
    names.map((name, i) => [
      `setup.protocol-${name}`,
      boot(setField('version', steps[i] ?? 0), [
        ...names.slice(i + 1).map((later) => `setup.protocol-${later}`),
        'setup.kernel-64-flag',
        'setup.version-known',
        'file.trailing-data',
        'file.complete',
      ]),
    ]),
  );
}

describe.skipIf(corpusFile('k64-gzip.bzImage') === null)('every rule', () => {
  it.each(RULES.map(({ id }) => id))('%s', async (id) => {
    const test = CASES[id];
    if (test === undefined) throw new Error('no test image');
    const before = new Set(verify(await createSubject(await test.from())).violations.map(({ rule }) => rule));
    const after = new Set(verify(await createSubject(await test.image())).violations.map(({ rule }) => rule));
    const fresh = [...after].filter((rule) => !before.has(rule) && (rule === id || !test.also.includes(rule)));
    expect(before.has(id), 'fires on the unchanged kernel').toBe(false);
    expect(fresh).toEqual([id]);
  });
});

it('every check of every loader names a rule that exists', () => {
  const ids = new Set(RULES.map(({ id }) => id));
  const own = (['setup', 'decompressor', 'hook', 'kernel'] as const).flatMap((stage) =>
    (['linux16', 'linux32', 'linux64', 'pvh', 'xen-pv'] as const).flatMap((protocol) => ownChecks(stage, protocol)),
  );
  const named = [...LOADERS.flatMap(({ routes }) => routes.flatMap(({ checks }) => checks)), ...own].map(
    ({ rule }) => rule,
  );
  expect(named.filter((rule) => !ids.has(rule))).toEqual([]);
  expect(Object.values(XEN_REFUSAL_RULES).filter((rule) => !ids.has(rule))).toEqual([]);
});

it('no rule stands twice, and ids begin with their stage', () => {
  expect(new Set(RULES.map(({ id }) => id)).size).toBe(RULES.length);
  for (const { id, stage } of RULES) expect(id.startsWith(`${stage}.`)).toBe(true);
});
