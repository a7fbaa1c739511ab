/** Verdicts for Xen's toolstack against its own domain builder: the same images refused, for the same reasons. */
import { describe, expect, it } from 'vitest';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { verifyFor } from '../../src/verify/judge.js';
import { createSubject } from '../../src/verify/subject.js';
import { corpusFile } from '../kernels/corpus.js';
import { buildDomain, libxenguest } from '../oracles/libxenguest.js';
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
  type Edit,
} from './edit.js';

const V = 0xffffffff80000000n;
const PAYLOAD = 21188;
const PAYLOAD_LENGTH = 1927713;
const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const image =
  (edit: Edit, name = 'k64-gzip') =>
  () =>
    editedImage(name, edit);
const bare = (edit: Edit) => () => editedKernel('k64-gzip', edit);

/** The rule that must be the first reason; null for images that the toolstack builds a domain from. */
const CASES: readonly (readonly [name: string, rule: string | null, make: () => BootImage | Promise<BootImage>])[] = [
  ['a bzImage, gzip', null, image(() => undefined)],
  ['a bzImage, lzma', null, image(() => undefined, 'k64-lzma')],
  ['a bzImage, xz', null, image(() => undefined, 'k64-xz')],
  ['a bzImage, lz4', null, image(() => undefined, 'k64-lz4')],
  ['a bzImage, zstd', null, image(() => undefined, 'k64-zstd')],
  ['a bzImage, bzip2: Debian’s is built without', 'payload.format-libxenguest', image(() => undefined, 'k64-bzip2')],
  ['a bzImage, lzo: Debian’s is built without', 'payload.format-libxenguest', image(() => undefined, 'k64-lzo')],
  ['a bare ELF kernel', null, bare(() => undefined)],
  ['no boot flag: it does not look', null, image(setField('boot_flag', 0))],
  ['a payload that is plain ELF', null, () => editedPlainImage('k64-gzip', () => undefined)],
  ['protocol 2.07', 'setup.protocol-2.08', image(setField('version', 0x207))],
  ['no HdrS', 'file.recognised', image(setWord(0x202, 0))],
  ['setup_sects 0', 'setup.sects-explicit', image(setField('setup_sects', 0))],
  ['payload_offset beyond the file', 'payload.range', image(setField('payload_offset', 0x7fffffff))],
  ['payload_length beyond the file', 'payload.range', image(setField('payload_length', 0x7fffffff))],
  [
    'no payload announced',
    'payload.announced',
    image(all(setField('payload_length', 0), setField('payload_offset', 0))),
  ],
  ['a payload of no known format', 'payload.format', image(setWord(PAYLOAD, 0x12345678))],
  ['damaged gzip', 'payload.decompresses', image(inPlace((old) => old.fill(0, 900_000, 901_000)))],
  [
    'damaged xz',
    'payload.decompresses',
    image(
      inPlace((old) => old.fill(0, 900_000, 901_000)),
      'k64-xz',
    ),
  ],
  [
    'damaged lzma',
    'payload.decompresses',
    image(
      inPlace((old) => old.fill(0, 900_000, 901_000)),
      'k64-lzma',
    ),
  ],
  [
    'damaged lz4',
    'payload.decompresses',
    image(
      inPlace((old) => old.fill(0, 900_000, 901_000)),
      'k64-lz4',
    ),
  ],
  [
    'damaged zstd',
    'payload.decompresses',
    image(
      inPlace((old) => old.fill(0, 900_000, 901_000)),
      'k64-zstd',
    ),
  ],
  ['a size word beyond 1 GiB', 'payload.size-limit', image(setWord(PAYLOAD + PAYLOAD_LENGTH - 4, 0x7fffffff))],
  ['a size word too small', 'payload.decompresses', image(setWord(PAYLOAD + PAYLOAD_LENGTH - 4, 14_000_000))],
  ['a size word that is not the size', 'payload.size-word', image(setWord(PAYLOAD + 1538944 - 4, 14325860), 'k64-xz')],
  ['no ELF', 'file.recognised', () => readBootImage(new Uint8Array(1 << 20).fill(0x46))],
  ['nothing', 'file.recognised', () => readBootImage(new Uint8Array(64))],
  ['32 bits', 'notes.xen-loader', image(() => undefined, 'k32-gzip')],
  ['no Xen notes in it', 'notes.xen-loader', image(() => undefined, 'k64-noxen')],
  ['program headers beyond the file', 'elf.phdr-table', bare(setEhdr({ e_phoff: 0x2000000n }))],
  ['section headers beyond the file', 'elf.shdr-table', bare(setEhdr({ e_shoff: 0x2000000n }))],
  [
    'more section headers than fit',
    'elf.shnum-plausible',
    async () => {
      const small = (await plainKernel('k64-gzip')).slice(0, 1 << 21);
      setEhdr({ e_shnum: 65000, e_shoff: 0n, e_shentsize: 0 })(small);
      return readBootImage(small);
    },
  ],
  ['another machine', 'elf.class', bare(setEhdr({ e_machine: 40 }))],
  ['big-endian', 'elf.magic', bare(setByte(5, 2))],
  [
    'neither loader nor guest OS',
    'notes.xen-loader',
    bare(
      all(
        setNote(8, () => bytes('other\0')),
        setNote(6, () => bytes('plan9\0')),
      ),
    ),
  ],
  ['guest OS alone suffices', null, bare(setNote(8, () => bytes('other\0')))],
  ['another Xen version', 'notes.xen-version', bare(setNote(5, () => bytes('xen-4.0\0')))],
  ['an unknown required feature', 'notes.xen-feature-known', bare(setNote(10, () => bytes('!writable_page_tabler\0')))],
  ['an unknown feature that is not required', null, bare(setNote(10, () => bytes('writable_page_tabler\0')))],
  ['dom0 alone', 'notes.xen-not-dom0-only', bare(setNote(10, () => bytes('!dom0\0')))],
  ['PADDR_OFFSET without VIRT_BASE', 'notes.xen-paddr-offset', bare(retypeNote(3, 99))],
  ['entry below the kernel', 'notes.xen-bounds', bare(setNote(1, () => quad(V)))],
  ['entry beyond the kernel', 'notes.xen-bounds', bare(setNote(1, () => quad(V + 0x8000000n)))],
  ['p2m inside the kernel', 'notes.xen-p2m', bare(setNote(15, () => quad(V + 0x1100000n)))],
  ['p2m above the base is dropped', null, bare(setNote(15, () => quad(V + 0x8000000n)))],
  ['SUPPORTED_FEATURES without dom0', null, bare(setNote(17, () => Uint8Array.of(1, 0x80, 0, 0)))],
  ['a segment beyond the file', 'elf.segment-file-range', bare(setPhdr(1, { p_offset: 0x2000000n }))],
  ['more file bytes than memory', 'elf.filesz-memsz', bare(setPhdr(1, { p_memsz: 1000n }))],
  ['kernel not page aligned', 'memory.xen-page-aligned', bare(setPhdr(0, { p_paddr: 0xfff800n }))],
  ['no loadable segment', 'notes.xen-bounds', bare(all(...[0, 1, 2, 3].map((i) => setPhdr(i, { p_flags: 0 }))))],
  ['no notes at all', 'notes.present', bare(all(setPhdr(4, { p_type: 0 }), setEhdr({ e_shnum: 0, e_shoff: 0n })))],
];

describe.skipIf(libxenguest === null || corpusFile('k64-gzip.bzImage') === null)('libxenguest agrees', () => {
  it.each(CASES)('%s', async (_name, rule, make) => {
    const made = await make();
    const [verdict] = verifyFor(await createSubject(made), ['xen-domu']).verdicts;
    const real = buildDomain(made.file.bytes);
    const said = `${verdict?.reason?.rule ?? 'accepted'}; libxenguest: ${real.log.split('\n').slice(-12).join(' | ')}`;
    // What the builder does not check, and fails later, it may build.
    if (verdict?.accepts === true || verdict?.reason?.checked === true) {
      expect(verdict.accepts, said).toBe(real.built);
    }
    expect(verdict?.reason?.rule ?? null, said).toBe(rule);
    // What the verdict quotes is in the log; dots stand for what depends on the image.
    if (verdict?.reason?.checked === true) {
      for (const part of verdict.reason.says.split('...')) expect(real.log, said).toContain(part);
    }
  });
});
