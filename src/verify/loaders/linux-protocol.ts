/** Loaders that follow the Linux boot protocol: QEMU, GRUB, SYSLINUX, iPXE, U-Boot, kexec, v86, EFI firmware. */
import type { Check, Loader } from '../loader.js';
import type { Subject } from '../subject.js';

/** What everybody needs who lets the guest's own decompressor run, checked or not. */
const GUEST_DECOMPRESSES: readonly Check[] = [
  unchecked('setup.sects-explicit', 'what stands behind four sectors is taken for the protected-mode part'),
  unchecked('setup.kernel-alignment', 'the decompressor aligns itself to an address where it cannot run'),
  unchecked('setup.entry-64', 'the decompressor jumps to its 64-bit entry'),
  unchecked('file.complete', 'the decompressor reads beyond what was loaded'),
  unchecked('payload.decompresses', 'the guest prints "decompression error" or hangs'),
  unchecked('payload.size-word', 'the decompressor looks for the relocations at the wrong place'),
  unchecked('setup.pref-address', 'the kernel is put where it cannot run'),
  unchecked('memory.pref-address', 'the kernel is put where it was not linked for'),
  unchecked('memory.init-size', 'the decompressor overwrites what it has not read yet'),
  unchecked('memory.segments-in-init-size', 'the kernel runs into what lies behind it'),
  unchecked('elf.phdr-table', 'the decompressor prints "Kernel is not a valid ELF file"'),
  unchecked('elf.segment-file-range', 'the decompressor copies what is not there'),
  unchecked('elf.align-2m', 'the decompressor prints "Alignment of LOAD segment isn\'t multiple of 2MB"'),
  unchecked('elf.entry', 'the first instruction of the kernel faults'),
  unchecked('relocations.parse', 'the decompressor prints "32-bit relocation outside of kernel!" or hangs'),
  unchecked('relocations.in-segments', 'the decompressor prints "32-bit relocation outside of kernel!"'),
];

/** What the real-mode entry needs besides. */
const REAL_MODE: readonly Check[] = [
  unchecked('setup.jump', 'the CPU runs whatever stands at the real-mode entry'),
  unchecked('setup.jump-target', 'the CPU runs into the middle of the setup code'),
  unchecked('setup.code32-start', 'setup jumps into the void'),
];

function unchecked(rule: string, says: string): Check {
  return { rule, where: 'the guest', says, unchecked: true };
}

const isFlat = (s: Subject): boolean => s.hasBootSector;

export const QEMU: Loader = {
  id: 'qemu',
  title: 'QEMU -kernel',
  source: 'QEMU 7.2, hw/i386/x86.c and include/hw/elf_ops.h',
  enters: 'setup (linux16) for a boot image, kernel (pvh) for an ELF file',
  routes: [
    {
      name: 'linuxboot',
      takes: (s) => s.hasMagic || (isFlat(s) && !s.isElfFile),
      checks: [
        { rule: 'setup.sects-in-file', where: 'hw/i386/x86.c: x86_load_linux', says: 'qemu: invalid kernel header' },
        {
          rule: 'setup.hdrs',
          where: 'hw/i386/x86.c: x86_load_linux',
          says: 'qemu: linux kernel too old to load a ram disk',
        },
        {
          rule: 'setup.protocol-2.00',
          where: 'hw/i386/x86.c: x86_load_linux',
          says: 'qemu: linux kernel too old to load a ram disk',
        },
        ...REAL_MODE,
        ...GUEST_DECOMPRESSES,
      ],
    },
    {
      name: 'elf',
      takes: (s) => s.isElfFile,
      checks: [
        { rule: 'elf.class', where: 'include/hw/elf_ops.h: load_elf', says: 'Error while loading elf kernel' },
        { rule: 'elf.little-endian', where: 'include/hw/elf_ops.h: load_elf', says: 'Error while loading elf kernel' },
        { rule: 'elf.phdr-table', where: 'include/hw/elf_ops.h: load_elf', says: 'Error while loading elf kernel' },
        {
          rule: 'elf.segment-file-range',
          where: 'include/hw/elf_ops.h: load_elf',
          says: 'Error while loading elf kernel',
        },
        {
          rule: 'notes.pvh',
          where: 'hw/i386/x86.c: load_elfboot',
          says: 'Error loading uncompressed kernel without PVH ELF Note',
        },
        {
          rule: 'notes.pvh-by-p-align',
          where: 'include/hw/elf_ops.h: get_elf_note_type',
          says: 'Error loading uncompressed kernel without PVH ELF Note',
        },
        unchecked('notes.pvh-entry', 'the first instruction faults'),
        unchecked('elf.filesz-memsz', 'the segment is cut'),
        unchecked('elf.overlap', 'QEMU: Some ROM regions are overlapping'),
        unchecked('memory.low', 'the kernel overwrites the zero page'),
      ],
    },
  ],
  refusal: { where: 'hw/i386/x86.c: x86_load_linux', says: 'Error while loading elf kernel' },
};

const grubHeader = (where: string): readonly Check[] => [
  { rule: 'setup.boot-flag', where, says: 'invalid magic number' },
  { rule: 'setup.sects-64', where, says: 'too many setup sectors' },
];

export const GRUB: Loader = {
  id: 'grub',
  title: 'GRUB linux',
  source: 'GRUB 2.14, grub-core/loader/i386/linux.c',
  enters: 'decompressor (linux32, or linux64 on 64-bit EFI)',
  routes: [
    {
      name: 'linux',
      takes: isFlat,
      checks: [
        ...grubHeader('grub-core/loader/i386/linux.c: grub_cmd_linux'),
        {
          rule: 'setup.hdrs',
          where: 'grub-core/loader/i386/linux.c: grub_cmd_linux',
          says: 'version too old for 32-bit boot',
        },
        {
          rule: 'setup.protocol-2.03',
          where: 'grub-core/loader/i386/linux.c: grub_cmd_linux',
          says: 'version too old for 32-bit boot',
        },
        {
          rule: 'setup.loaded-high',
          where: 'grub-core/loader/i386/linux.c: grub_cmd_linux',
          says: "zImage doesn't support 32-bit boot",
        },
        {
          rule: 'setup.header-end',
          where: 'grub-core/loader/i386/linux.c: grub_cmd_linux',
          says: 'Linux setup header too big',
        },
        {
          rule: 'setup.sects-in-file',
          where: 'grub-core/loader/i386/linux.c: grub_cmd_linux',
          says: 'premature end of file',
        },
        unchecked('setup.init-size-given', 'nothing is kept free for decompression'),
        unchecked('setup.code32-start', 'GRUB jumps into the void'),
        ...GUEST_DECOMPRESSES,
      ],
    },
  ],
  refusal: { where: 'grub-core/loader/i386/linux.c: grub_cmd_linux', says: 'invalid magic number' },
};

export const GRUB16: Loader = {
  id: 'grub16',
  title: 'GRUB linux16',
  source: 'GRUB 2.14, grub-core/loader/i386/pc/linux.c',
  enters: 'setup (linux16)',
  routes: [
    {
      name: 'linux16',
      takes: isFlat,
      checks: [
        ...grubHeader('grub-core/loader/i386/pc/linux.c: grub_cmd_linux'),
        {
          rule: 'setup.sects-in-file',
          where: 'grub-core/loader/i386/pc/linux.c: grub_cmd_linux',
          says: 'premature end of file',
        },
        {
          rule: 'setup.protocol-2.00',
          where: 'grub-core/loader/i386/pc/linux.c: grub_cmd_linux',
          says: 'too big zImage',
        },
        ...REAL_MODE,
        ...GUEST_DECOMPRESSES,
      ],
    },
  ],
  refusal: { where: 'grub-core/loader/i386/pc/linux.c: grub_cmd_linux', says: 'invalid magic number' },
};

export const SYSLINUX: Loader = {
  id: 'syslinux',
  title: 'SYSLINUX, ISOLINUX, PXELINUX',
  source: 'SYSLINUX 6.04, com32/lib/syslinux/load_linux.c',
  enters: 'setup (linux16)',
  routes: [
    {
      name: 'linux',
      takes: isFlat,
      checks: [
        {
          rule: 'setup.boot-flag',
          where: 'com32/lib/syslinux/load_linux.c: bios_boot_linux',
          says: 'Booting kernel failed: Invalid argument',
        },
        {
          rule: 'setup.sects-in-file',
          where: 'com32/lib/syslinux/load_linux.c: bios_boot_linux',
          says: 'Booting kernel failed: Invalid argument',
        },
        unchecked('setup.hdrs', 'it is taken for a kernel of protocol 1.00'),
        unchecked('setup.protocol-2.00', 'it is loaded like a zImage'),
        ...REAL_MODE,
        ...GUEST_DECOMPRESSES,
      ],
    },
  ],
  refusal: {
    where: 'com32/lib/syslinux/load_linux.c: bios_boot_linux',
    says: 'Booting kernel failed: Invalid argument',
  },
};

export const IPXE: Loader = {
  id: 'ipxe',
  title: 'iPXE',
  source: 'iPXE 1.21, src/arch/x86/image/bzimage.c',
  enters: 'setup (linux16)',
  routes: [
    {
      name: 'bzImage',
      takes: isFlat,
      checks: [
        {
          rule: 'setup.hdrs',
          where: 'src/arch/x86/image/bzimage.c: bzimage_parse_header',
          says: 'Exec format error: bad signature',
        },
        {
          rule: 'setup.protocol-2.00',
          where: 'src/arch/x86/image/bzimage.c: bzimage_parse_header',
          says: 'Exec format error: bad signature',
        },
        {
          rule: 'setup.sects-in-file',
          where: 'src/arch/x86/image/bzimage.c: bzimage_parse_header',
          says: 'Exec format error: too short for setup',
        },
        ...REAL_MODE,
        ...GUEST_DECOMPRESSES,
      ],
    },
  ],
  refusal: { where: 'src/arch/x86/image/bzimage.c: bzimage_probe', says: 'Exec format error' },
};

export const U_BOOT: Loader = {
  id: 'u-boot',
  title: 'U-Boot zboot',
  source: 'U-Boot 2023.01, arch/x86/lib/zimage.c',
  enters: 'decompressor (linux32) at the load address',
  routes: [
    {
      name: 'zboot',
      takes: isFlat,
      checks: [
        { rule: 'setup.boot-flag', where: 'arch/x86/lib/zimage.c: load_zimage', says: 'Error: Invalid Boot Flag' },
        { rule: 'setup.hdrs', where: 'arch/x86/lib/zimage.c: get_boot_protocol', says: 'Magic signature not found' },
        {
          rule: 'setup.protocol-2.00',
          where: 'arch/x86/lib/zimage.c: get_boot_protocol',
          says: 'Magic signature not found',
        },
        unchecked('setup.entry-at-load-address', 'U-Boot runs the ELF header as code'),
        unchecked('setup.sects-in-file', 'U-Boot copies what is not there'),
        ...GUEST_DECOMPRESSES,
      ],
    },
  ],
  refusal: { where: 'arch/x86/lib/zimage.c: load_zimage', says: 'Error: Invalid Boot Flag' },
};

export const V86: Loader = {
  id: 'v86',
  title: 'v86 bzimage option',
  source: 'v86 0.5.462, src/kernel.js',
  enters: 'setup (linux16)',
  routes: [
    {
      name: 'bzimage',
      takes: isFlat,
      checks: [
        { rule: 'setup.boot-flag', where: 'src/kernel.js: load_kernel', says: 'Bad bootsector magic: not a bzImage' },
        { rule: 'setup.hdrs', where: 'src/kernel.js: load_kernel', says: 'No HdrS: not a bzImage' },
        unchecked('setup.protocol-2.02', 'the command line is not found'),
        unchecked('setup.loaded-high', 'the kernel is loaded at the wrong address'),
        {
          rule: 'file.multiple-of-4',
          where: 'src/kernel.js: load_kernel',
          says: 'RangeError: byte length of Uint32Array should be a multiple of 4',
        },
        { rule: 'elf.class-32', where: 'the CPU', says: 'v86 has a 32-bit CPU', unchecked: true },
        ...REAL_MODE,
        ...GUEST_DECOMPRESSES,
      ],
    },
  ],
  refusal: { where: 'src/kernel.js: load_kernel', says: 'Bad bootsector magic: not a bzImage' },
};

export const KEXEC: Loader = {
  id: 'kexec',
  title: 'kexec -l (kexec_load)',
  source: 'kexec-tools 2.0.32, kexec/arch/x86_64/kexec-bzImage64.c, kexec/arch/i386/kexec-bzImage.c, kexec/kexec-elf.c',
  enters:
    'decompressor (linux64, or linux32 for what is no relocatable 64-bit image), kernel (linux32) for an ELF file',
  routes: [
    {
      name: 'bzImage64',
      takes: (s) => s.hasMagic && s.version >= 0x20c && s.flag('xloadflags', 3) && s.flag('loadflags', 1),
      checks: [
        {
          rule: 'setup.boot-flag',
          where: 'kexec/arch/x86_64/kexec-bzImage64.c: bzImage64_probe',
          says: 'No x86 boot sector present',
        },
        {
          rule: 'setup.sects-in-file',
          where: 'kexec/arch/x86_64/kexec-bzImage64.c: do_bzImage64_load',
          says: 'BzImage truncated?',
        },
        ...GUEST_DECOMPRESSES,
      ],
    },
    {
      name: 'bzImage',
      takes: isFlat,
      checks: [
        { rule: 'setup.hdrs', where: 'kexec/arch/i386/kexec-bzImage.c: bzImage_probe', says: 'Not a bzImage' },
        {
          rule: 'setup.boot-flag',
          where: 'kexec/arch/i386/kexec-bzImage.c: bzImage_probe',
          says: 'No x86 boot sector present',
        },
        {
          rule: 'setup.protocol-2.00',
          where: 'kexec/arch/i386/kexec-bzImage.c: bzImage_probe',
          says: 'Must be at least protocol version 2.00',
        },
        {
          rule: 'setup.loaded-high',
          where: 'kexec/arch/i386/kexec-bzImage.c: bzImage_probe',
          says: 'zImage not a bzImage',
        },
        {
          rule: 'setup.sects-in-file',
          where: 'kexec/arch/i386/kexec-bzImage.c: do_bzImage_load',
          says: 'BzImage truncated?',
        },
        {
          rule: 'setup.cmdline-size',
          where: 'kexec/arch/i386/kexec-bzImage.c: do_bzImage_load',
          says: 'Kernel command line too long for kernel!',
        },
        unchecked('setup.entry-at-load-address', 'kexec enters at the load address'),
        ...GUEST_DECOMPRESSES,
      ],
    },
    {
      name: 'elf',
      takes: (s) => s.isElfFile,
      checks: [
        {
          rule: 'elf.little-endian',
          where: 'kexec/kexec-elf.c: build_mem_ehdr',
          says: 'Not a supported ELF data format',
        },
        { rule: 'elf.sizes-exact', where: 'kexec/kexec-elf.c: build_mem_elf64_ehdr', says: 'Bad ELF header size' },
        { rule: 'elf.phdr-table', where: 'kexec/kexec-elf.c: build_mem_phdrs', says: 'ELF program headers truncated' },
        {
          rule: 'elf.segment-file-range',
          where: 'kexec/kexec-elf.c: build_mem_phdrs',
          says: 'ELF segment not in file',
        },
        { rule: 'elf.segment-wrap', where: 'kexec/kexec-elf.c: build_mem_phdrs', says: 'ELF address wrap around' },
        {
          rule: 'elf.type',
          where: 'kexec/kexec-elf-exec.c: build_elf_exec_info',
          says: 'Not ELF type ET_EXEC or ET_DYN',
        },
        {
          rule: 'elf.interpreter',
          where: 'kexec/kexec-elf-exec.c: build_elf_exec_info',
          says: 'Requires an ELF interpreter',
        },
        unchecked('elf.entry', 'kexec jumps into the void'),
      ],
    },
  ],
  refusal: { where: 'kexec/kexec.c: my_load', says: 'Cannot determine the file type of the kernel' },
};

export const KEXEC_FILE: Loader = {
  id: 'kexec-file',
  title: 'kexec -s (kexec_file_load)',
  source: 'Linux 6.1, arch/x86/kernel/kexec-bzimage64.c',
  enters: 'decompressor (linux64)',
  routes: [
    {
      name: 'bzImage64',
      takes: isFlat,
      checks: [
        {
          rule: 'setup.hdrs',
          where: 'arch/x86/kernel/kexec-bzimage64.c: bzImage64_probe',
          says: 'kexec-bzImage64: Not a bzImage',
        },
        {
          rule: 'setup.boot-flag',
          where: 'arch/x86/kernel/kexec-bzimage64.c: bzImage64_probe',
          says: 'kexec-bzImage64: No x86 boot sector present',
        },
        {
          rule: 'setup.protocol-2.12',
          where: 'arch/x86/kernel/kexec-bzimage64.c: bzImage64_probe',
          says: 'kexec-bzImage64: Must be at least protocol version 2.12',
        },
        {
          rule: 'setup.loaded-high',
          where: 'arch/x86/kernel/kexec-bzimage64.c: bzImage64_probe',
          says: 'kexec-bzImage64: zImage not a bzImage',
        },
        {
          rule: 'setup.kernel-64-flag',
          where: 'arch/x86/kernel/kexec-bzimage64.c: bzImage64_probe',
          says: 'kexec-bzImage64: Not a bzImage64. XLF_KERNEL_64 is not set.',
        },
        {
          rule: 'setup.xloadflags-above-4g',
          where: 'arch/x86/kernel/kexec-bzimage64.c: bzImage64_probe',
          says: 'kexec-bzImage64: XLF_CAN_BE_LOADED_ABOVE_4G is not set.',
        },
        {
          rule: 'setup.sects-in-file',
          where: 'arch/x86/kernel/kexec-bzimage64.c: bzImage64_load',
          says: 'kexec-bzImage64: bzImage truncated',
        },
        {
          rule: 'setup.cmdline-size',
          where: 'arch/x86/kernel/kexec-bzimage64.c: bzImage64_load',
          says: 'Kernel command line too long',
        },
        unchecked('setup.init-size-given', 'nothing is kept free for decompression'),
        ...GUEST_DECOMPRESSES,
      ],
    },
  ],
  refusal: { where: 'arch/x86/kernel/kexec-bzimage64.c: bzImage64_probe', says: 'kexec-bzImage64: Not a bzImage' },
};

export const EFI: Loader = {
  id: 'efi',
  title: 'UEFI firmware, systemd-boot, GRUB chainloader',
  source: 'UEFI specification 2.10, 7.4 LoadImage; EDK II, BasePeCoff.c',
  enters: 'the EFI stub',
  routes: [
    {
      name: 'PE',
      takes: (s) => s.image.pe !== null || s.image.kind === 'uki',
      checks: [
        { rule: 'pe.machine', where: 'MdePkg/Library/BasePeCoffLib: PeCoffLoaderGetImageInfo', says: 'Unsupported' },
        { rule: 'pe.headers', where: 'MdePkg/Library/BasePeCoffLib: PeCoffLoaderGetPeHeader', says: 'Load Error' },
        {
          rule: 'pe.sections-in-file',
          where: 'MdePkg/Library/BasePeCoffLib: PeCoffLoaderGetPeHeader',
          says: 'Load Error',
        },
        { rule: 'pe.entry', where: 'the firmware', says: 'the first instruction faults', unchecked: true },
        { rule: 'pe.certificates', where: 'SecurityPkg: DxeImageVerificationHandler', says: 'Access Denied' },
        unchecked('payload.decompresses', 'the stub prints a decompression error'),
        unchecked('memory.init-size', 'the decompressor overwrites what it has not read yet'),
      ],
    },
  ],
  refusal: { where: 'LoadImage', says: 'Unsupported: there is no PE header' },
};
