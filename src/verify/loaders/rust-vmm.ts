/** Virtual machine monitors on rust-vmm's linux-loader. */
import type { Check, Loader } from '../loader.js';

const BZ = 'linux-loader src/loader/bzimage/mod.rs: load';
const ELF = 'linux-loader src/loader/elf/mod.rs';

const ELF_CHECKS: readonly Check[] = [
  { rule: 'elf.magic', where: `${ELF}: validate_header`, says: 'Invalid Elf magic number' },
  {
    rule: 'elf.little-endian',
    where: `${ELF}: validate_header`,
    says: 'Trying to load big-endian binary on little-endian machine',
  },
  { rule: 'elf.class-64', where: `${ELF}: validate_header`, says: 'Invalid program header size' },
  { rule: 'elf.phdr-table', where: `${ELF}: validate_header`, says: 'Invalid program header offset' },
  { rule: 'elf.entry-physical', where: `${ELF}: load`, says: 'Invalid entry address' },
  { rule: 'elf.segment-file-range', where: `${ELF}: load`, says: 'Unable to read kernel image' },
  { rule: 'notes.pvh-size', where: `${ELF}: parse_elf_note`, says: 'Invalid PVH note header' },
  { rule: 'elf.segment-wrap', where: `${ELF}: load`, says: 'Invalid Program Header Address' },
];

const guest = (rule: string, says: string): Check => ({ rule, where: 'the guest', says, unchecked: true });

const BZ_CHECKS: readonly Check[] = [
  { rule: 'setup.hdrs', where: BZ, says: 'Invalid bzImage' },
  { rule: 'setup.protocol-2.00', where: BZ, says: 'Invalid bzImage' },
  { rule: 'setup.loaded-high', where: BZ, says: 'Invalid bzImage' },
  { rule: 'setup.sects-in-file', where: BZ, says: 'Underflow occurred during an arithmetic operation' },
  guest('setup.sects-explicit', 'what stands behind four sectors is taken for the protected-mode part'),
  guest('setup.kernel-alignment', 'the decompressor aligns itself to an address where it cannot run'),
  guest('setup.entry-64', 'there is no code at the 64-bit entry'),
  guest('file.complete', 'the decompressor reads beyond what was loaded'),
  guest('payload.decompresses', 'the guest hangs'),
  guest('payload.size-word', 'the decompressor looks for the relocations at the wrong place'),
  guest('memory.pref-address', 'the kernel is put where it was not linked for'),
  guest('memory.init-size', 'the decompressor overwrites what it has not read yet'),
  guest('memory.segments-in-init-size', 'the kernel runs into what lies behind it'),
  guest('elf.phdr-table', 'the decompressor prints "Kernel is not a valid ELF file"'),
  guest('elf.segment-file-range', 'the decompressor copies what is not there'),
  guest('elf.align-2m', 'the decompressor prints "Alignment of LOAD segment isn\'t multiple of 2MB"'),
  guest('elf.entry', 'the first instruction of the kernel faults'),
  guest('relocations.in-segments', 'the decompressor prints "32-bit relocation outside of kernel!"'),
];

export const FIRECRACKER: Loader = {
  id: 'firecracker',
  title: 'Firecracker',
  source: 'Firecracker 1.13 with linux-loader 0.13; bzImage since pull request 6037',
  enters: 'kernel (pvh when the note is there, else linux64) for an ELF file, decompressor (linux64) for a bzImage',
  routes: [
    {
      name: 'elf',
      takes: (s) => s.isElfFile,
      checks: [
        ...ELF_CHECKS,
        guest('elf.entry', 'the first instruction of the kernel faults'),
        guest('elf.bss-only', 'the bss is not counted and not cleared'),
      ],
    },
    {
      name: 'bzImage',
      takes: (s) => s.hasBootSector,
      checks: [
        ...BZ_CHECKS.slice(0, 4),
        {
          rule: 'setup.kernel-64-flag',
          where: 'the 64-bit entry',
          says: 'Firecracker enters at load address + 0x200',
          unchecked: true,
        },
        ...BZ_CHECKS.slice(4),
      ],
    },
  ],
  refusal: { where: `${ELF}: validate_header`, says: 'Invalid Elf magic number' },
};

export const CLOUD_HYPERVISOR: Loader = {
  id: 'cloud-hypervisor',
  title: 'Cloud Hypervisor',
  source: 'Cloud Hypervisor 48 with linux-loader 0.13',
  enters: 'kernel (pvh) for an ELF file, decompressor (linux32) for a bzImage',
  routes: [
    {
      name: 'elf',
      takes: (s) => s.isElfFile,
      checks: [
        ...ELF_CHECKS,
        { rule: 'notes.pvh', where: 'vmm/src/vm.rs: load_kernel', says: 'KernelMissingPvhHeader' },
        { rule: 'notes.pvh-in-last-segment', where: `${ELF}: parse_elf_note`, says: 'KernelMissingPvhHeader' },
        guest('notes.pvh-entry', 'the first instruction of the kernel faults'),
        guest('elf.bss-only', 'the bss is not counted and not cleared'),
      ],
    },
    {
      name: 'bzImage',
      takes: (s) => s.hasBootSector,
      checks: [
        ...BZ_CHECKS.slice(0, 4),
        guest('setup.entry-at-load-address', 'it enters at code32_start'),
        ...BZ_CHECKS.slice(4),
      ],
    },
  ],
  refusal: { where: 'vmm/src/vm.rs: load_kernel', says: 'KernelLoad(Elf(InvalidElfMagicNumber))' },
};
