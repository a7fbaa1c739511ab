import { alignUp, hex } from '../../bytes/numbers.js';
import { linkedPhysicalBase, linkedPhysicalEnd } from '../../kernel/vmlinux.js';
import { finding, holds, type RuleTable } from '../finding.js';

/** KERNEL_IMAGE_SIZE: 1 GiB of virtual addresses for a 64-bit kernel, 512 MiB for a 32-bit one. */
const KERNEL_IMAGE_SIZE = { 64: 1n << 30n, 32: 512n << 20n } as const;
/** A segment that needs more zeroes than this has no counterpart in any real kernel. */
const LARGEST_BSS = 256n << 20n;

/** The memory that the image claims. */
export const MEMORY_RULES: RuleTable = [
  {
    id: 'memory.kernel-size',
    stage: 'memory',
    severity: 'error',
    checks: 'The segments span at most KERNEL_IMAGE_SIZE (64-bit: 1 GiB, 32-bit: 512 MiB).',
    why: 'The kernel’s own mapping ends there: this is overmapping, or a damaged program header.',
    cure: 'Correct the program headers.',
    source: 'arch/x86/include/asm/page_64_types.h and page_32_types.h',
    check: ({ vmlinux }) => {
      if (vmlinux === null) return holds;
      const span = linkedPhysicalEnd(vmlinux) - linkedPhysicalBase(vmlinux);
      return span <= KERNEL_IMAGE_SIZE[vmlinux.bits]
        ? holds
        : [finding(`the segments span ${hex(span)} bytes`, 'p_memsz')];
    },
  },
  {
    id: 'memory.bss-plausible',
    stage: 'memory',
    severity: 'warning',
    checks: 'No segment claims more than 256 MiB beyond its file bytes.',
    why: 'Hosts allocate by p_memsz; a lie makes a small file cost gigabytes.',
    cure: 'Correct p_memsz.',
    source: 'System V ABI: p_memsz',
    check: ({ vmlinux }) =>
      vmlinux === null
        ? holds
        : vmlinux.segments
            .filter(({ memsz, filesz }) => BigInt(memsz) - BigInt(filesz) > LARGEST_BSS)
            .map(({ index, memsz, filesz }) =>
              finding(`segment ${index} has ${hex(filesz)} file bytes and claims ${hex(memsz)}`, 'p_memsz'),
            ),
  },
  {
    id: 'memory.segments-in-init-size',
    stage: 'memory',
    severity: 'error',
    checks: 'The segments span at most init_size.',
    why: 'Loaders keep only init_size bytes free: the kernel would run into the initrd.',
    cure: 'Raise init_size.',
    source: 'boot.rst, init_size',
    check: (s) => {
      const size = s.number('init_size');
      if (size === null || s.vmlinux === null) return holds;
      const span = linkedPhysicalEnd(s.vmlinux) - linkedPhysicalBase(s.vmlinux);
      return span <= BigInt(size)
        ? holds
        : [finding(`the segments span ${hex(span)}, init_size is ${hex(size)}`, 'init_size', s.offsetOf('init_size'))];
    },
  },
  {
    id: 'memory.init-size',
    stage: 'memory',
    severity: 'error',
    checks:
      'init_size has room for decompressing in place: the decompressed size, and the protected-mode part with the margin of its compression behind it.',
    why: 'The decompressor moves the payload to the end of the buffer and would overwrite what it has not read yet.',
    cure: 'Raise init_size as the kernel’s header.S computes it.',
    source: 'arch/x86/boot/header.S: ZO_INIT_SIZE, extract_offset',
    check: (s) => {
      const size = s.number('init_size');
      const { payload } = s.image;
      if (size === null || payload === null || s.raw === null || payload.compression === 'none') return holds;
      // The margin of every decompressor: 1/256 of the output and 64 KiB for a last block (header.S, "extra_bytes").
      const output = s.raw.length;
      const needed = alignUp(BigInt(output), 4096n);
      return BigInt(size) >= needed
        ? holds
        : [
            finding(
              `the kernel decompresses to ${hex(output)} bytes, init_size is ${hex(size)}`,
              'init_size',
              s.offsetOf('init_size'),
            ),
          ];
    },
  },
  {
    id: 'memory.pref-address',
    stage: 'memory',
    severity: 'error',
    checks: 'pref_address is the lowest p_paddr of the kernel.',
    why: 'The decompressor puts the kernel there; if it was linked for another address and cannot move, it does not run.',
    cure: 'Correct pref_address.',
    source: 'boot.rst, pref_address; arch/x86/boot/header.S: LOAD_PHYSICAL_ADDR',
    check: (s) => {
      const address = s.big('pref_address');
      if (address === null || s.vmlinux === null || s.vmlinux.segments.length === 0) return holds;
      const base = linkedPhysicalBase(s.vmlinux);
      return address === base
        ? holds
        : [
            finding(
              `pref_address is ${hex(address)}, the kernel is linked for ${hex(base)}`,
              'pref_address',
              s.offsetOf('pref_address'),
            ),
          ];
    },
  },
  {
    id: 'memory.low',
    stage: 'memory',
    severity: 'error',
    checks: 'No segment lies below 1 MiB.',
    why: 'The BIOS, VGA memory and boot_params are there.',
    cure: 'Link the kernel at 1 MiB or above.',
    source: 'boot.rst, "Memory Layout"',
    check: ({ vmlinux }) =>
      vmlinux === null
        ? holds
        : vmlinux.segments
            .filter(({ paddr, memsz }) => memsz > 0 && paddr < 0x100000n)
            .map(({ index, paddr }) => finding(`segment ${index} lies at ${hex(paddr)}`, 'p_paddr')),
  },
  {
    id: 'memory.xen-page-aligned',
    stage: 'memory',
    severity: 'note',
    checks: 'The kernel’s lowest address is page aligned.',
    why: 'Xen’s toolstack refuses: "segment boundary isn’t page aligned".',
    cure: 'Link the kernel at a page boundary.',
    source: 'tools/libs/guest/xg_dom_core.c: xc_dom_alloc_pad',
    check: ({ vmlinux }) => {
      if (vmlinux === null) return holds;
      const base = linkedPhysicalBase(vmlinux);
      return base % 4096n === 0n ? holds : [finding(`the kernel begins at ${hex(base)}`, 'p_paddr')];
    },
  },
  {
    id: 'memory.xen-private',
    stage: 'memory',
    severity: 'note',
    checks: 'The initial domain stays outside Xen’s own addresses.',
    why: 'The hypervisor refuses: "DOM0 image overlaps with Xen private area."',
    cure: 'Correct XEN_ELFNOTE_VIRT_BASE.',
    source: 'xen/arch/x86/pv/dom0_build.c: dom0_construct',
    check: (s) => {
      const xen = s.xen(false);
      if (xen === null || xen.refusal !== null || xen.bits === 32) return holds;
      return xen.virtBaseUsed < 0xffff880000000000n && xen.virtKend > 0xffff800000000000n
        ? [finding(`the kernel is mapped at ${hex(xen.virtKstart)}`, 'XEN_ELFNOTE_VIRT_BASE')]
        : holds;
    },
  },
];
