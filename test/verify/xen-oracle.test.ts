/** Verdicts for the hypervisor against the hypervisor: what Xen refuses is refused with Xen's reason, and nothing else is. */
import { describe, expect, it } from 'vitest';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { verifyFor } from '../../src/verify/judge.js';
import { createSubject } from '../../src/verify/subject.js';
import { corpusFile } from '../kernels/corpus.js';
import { bootXen, xenHypervisor } from '../oracles/xen.js';
import {
  all,
  editedImage,
  editedKernel,
  editedPlainImage,
  inPlace,
  quad,
  retypeNote,
  setEhdr,
  setField,
  setNote,
  setPhdr,
  setWord,
  type Edit,
} from './edit.js';

const V = 0xffffffff80000000n;
const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const image = (edit: Edit) => () => editedImage('k64-gzip', edit);
const plain = (edit: Edit) => () => editedPlainImage('k64-gzip', edit);
const bare = (edit: Edit) => () => editedKernel('k64-gzip', edit);

/** The rule that must be the first reason; null for images that Xen starts. */
const CASES: readonly (readonly [name: string, rule: string | null, make: () => BootImage | Promise<BootImage>])[] = [
  ['a bzImage', null, image(() => undefined)],
  ['a plain ELF payload', null, plain(() => undefined)],
  ['a bare ELF kernel', null, bare(() => undefined)],
  ['no boot flag: Xen does not look', null, image(setField('boot_flag', 0))],
  ['protocol 2.07', 'setup.protocol-2.08', image(setField('version', 0x207))],
  ['a payload of no known format', 'payload.format', image(setWord(21188, 0x12345678))],
  ['a damaged payload', 'payload.decompresses', image(inPlace((old) => old.fill(0, 900_000, 901_000)))],
  ['no ELF', 'file.recognised', () => readBootImage(new Uint8Array(1 << 20).fill(0x46))],
  ['program headers beyond the file', 'elf.phdr-table', bare(setEhdr({ e_phoff: 0x2000000n }))],
  ['section headers beyond the file', 'elf.shdr-table', bare(setEhdr({ e_shoff: 0x2000000n }))],
  ['another machine', 'elf.class', bare(setEhdr({ e_machine: 40 }))],
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
  ['PADDR_OFFSET without VIRT_BASE', 'notes.xen-paddr-offset', bare(retypeNote(3, 99))],
  ['entry below the kernel', 'notes.xen-bounds', bare(setNote(1, () => quad(V)))],
  ['entry beyond the kernel', 'notes.xen-bounds', bare(setNote(1, () => quad(V + 0x8000000n)))],
  ['p2m inside the kernel', 'notes.xen-p2m', bare(setNote(15, () => quad(V + 0x1100000n)))],
  ['SUPPORTED_FEATURES without dom0', 'notes.xen-dom0', bare(setNote(17, () => Uint8Array.of(1, 0x80, 0, 0)))],
  [
    'mapped over Xen',
    'memory.xen-private',
    bare(
      all(
        setNote(3, () => quad(0xffff800000000000n)),
        setNote(1, () => quad(0xffff8000018d0160n)),
      ),
    ),
  ],
  ['a segment beyond the file', 'elf.segment-file-range', bare(setPhdr(1, { p_offset: 0x2000000n }))],
  ['more file bytes than memory', 'elf.filesz-memsz', bare(setPhdr(1, { p_memsz: 1000n }))],
  [
    'a hypercall page outside',
    'notes.xen-hypercall-page',
    bare(
      all(
        retypeNote(14, 2),
        setNote(2, () => Uint8Array.of(0, 0, 0, 1)),
      ),
    ),
  ],
  ['no notes at all', 'notes.present', bare(all(setPhdr(4, { p_type: 0 }), setEhdr({ e_shnum: 0, e_shoff: 0n })))],
];

describe.skipIf(xenHypervisor === null || corpusFile('k64-gzip.bzImage') === null)('Xen agrees', () => {
  it.each(CASES)('%s', async (_name, rule, make) => {
    const made = await make();
    const [verdict] = verifyFor(await createSubject(made), ['xen-dom0']).verdicts;
    const real = await bootXen(made.file.bytes);
    const said = `${verdict?.reason?.rule ?? 'accepted'}; Xen: ${real.console.split('\n').slice(-12).join(' | ')}`;
    expect(verdict?.accepts, said).toBe(real.built);
    expect(verdict?.reason?.rule ?? null, said).toBe(rule);
    // Where Xen gives a reason on its console, it is the one that the verdict quotes.
    const quoted = verdict?.reason?.says ?? '';
    if (
      verdict?.reason?.checked === true &&
      rule !== 'file.recognised' &&
      /^(ERROR|ELF|Kernel|DOM0|Invalid|Mismatch|Cannot|Failed)/.test(quoted)
    ) {
      expect(real.console).toContain(quoted.slice(0, 19));
    }
  });
});
