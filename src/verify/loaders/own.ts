/** Our own planner, for each place where a start can begin. `plan`, `boot` and `extract --kaslr` refuse by these rules. */
import type { Protocol, Stage } from '../../boot/plan.js';
import type { Check, Loader } from '../loader.js';

const own = (rule: string, says: string): Check => ({ rule, where: 'bzelf', says });

const KERNEL: readonly Check[] = [
  own('payload.range', 'the kernel cannot be found'),
  own('payload.format', 'the kernel cannot be decompressed'),
  own('payload.size-limit', 'the kernel would exceed the limit'),
  own('payload.size-word', 'the kernel’s size is not what the image says'),
  own('payload.decompresses', 'the kernel cannot be decompressed'),
  own('elf.magic', 'the kernel has no program headers to obey'),
  own('elf.little-endian', 'the kernel is none for x86'),
  own('elf.class', 'the kernel is none for x86'),
  own('elf.type', 'the kernel is not executable'),
  own('elf.phdr-table', 'the program headers cannot be read'),
  own('elf.interpreter', 'this is a user program'),
  own('elf.loadable', 'there is nothing to load'),
  own('elf.segment-file-range', 'a segment lies outside the file'),
  own('elf.filesz-memsz', 'a segment has more bytes than memory'),
  own('elf.segment-wrap', 'a segment wraps around'),
  own('elf.overlap', 'segments overlap'),
  own('elf.align', 'a segment’s alignment is no power of two'),
  own('memory.low', 'the kernel would lie below 1 MiB'),
  own('memory.kernel-size', 'the kernel claims more memory than it can map'),
];

const LINUX: readonly Check[] = [...KERNEL, own('elf.entry', 'the entry lies in no executable segment')];

const STAGE: readonly Check[] = [
  own('setup.present', 'there is no protected-mode part'),
  own('setup.sects-in-file', 'the protected-mode part lies outside the file'),
  own('file.complete', 'the protected-mode part is truncated'),
  own('setup.kernel-alignment', 'the address cannot be chosen'),
  own('setup.init-size-given', 'the memory for decompression is unknown'),
  own('setup.header-end', 'the header cannot be copied'),
  own('stage-elf.parse', 'the stage’s program headers cannot be obeyed'),
  own('stage-elf.entry', 'the stage’s entry lies outside it'),
];

/** The rules for one start. */
export function ownChecks(stage: Stage, protocol: Protocol): readonly Check[] {
  switch (stage) {
    case 'setup':
      return [
        own('setup.present', 'there is no setup part'),
        own('setup.boot-flag', 'there is no boot sector'),
        own('setup.sects-in-file', 'the setup part lies outside the file'),
        own('file.complete', 'the protected-mode part is truncated'),
        own('setup.code32-start', 'setup would jump into the void'),
      ];
    case 'hook':
      return [
        ...ownChecks('setup', 'linux16'),
        own('setup.protocol-2.00', 'there is no code32_start to hook'),
        ...LINUX,
      ];
    case 'decompressor':
      return protocol === 'linux64'
        ? [
            ...STAGE,
            own('setup.kernel-64-flag', 'there is no 64-bit entry'),
            own('setup.entry-64', 'there is no code at the 64-bit entry'),
          ]
        : [...STAGE, own('setup.code32-start', 'the 32-bit entry lies outside the image')];
    case 'kernel':
      switch (protocol) {
        case 'pvh':
          return [
            ...KERNEL,
            own('notes.pvh', 'there is no PVH entry'),
            own('notes.pvh-size', 'the PVH entry cannot be read'),
            own('notes.pvh-entry', 'the PVH entry lies in no executable segment'),
          ];
        case 'xen-pv':
          return [
            ...KERNEL,
            own('notes.xen-feature-known', 'Xen does not know a required feature'),
            own('notes.present', 'Not a Xen-ELF image'),
            own('notes.xen-loader', 'Xen builds PV domains for no other kernels'),
            own('notes.xen-version', 'Xen’s PV interface is version 3.0'),
            own('notes.xen-paddr-offset', 'ELF_PADDR_OFFSET set, VIRT_BASE unset'),
            own('notes.xen-bounds', 'ELF start or entries are out of bounds'),
            own('notes.xen-p2m', 'P->M table base is out of bounds'),
            own('notes.xen-hypercall-page', 'Invalid HYPERCALL_PAGE field in ELF notes.'),
            own('memory.xen-private', 'the kernel overlaps with Xen’s private area'),
          ];
        default:
          return LINUX;
      }
  }
}

export const OWN: Loader = {
  id: 'own',
  title: 'bzelf, at the kernel stage',
  source: 'src/boot',
  enters: 'kernel (linux32 or linux64)',
  routes: [
    {
      name: 'kernel',
      takes: ({ image }) => ['bzImage', 'zImage', 'vmlinux', 'elf', 'uki'].includes(image.kind),
      checks: LINUX,
    },
  ],
  refusal: { where: 'bzelf', says: 'this is no kernel' },
};
