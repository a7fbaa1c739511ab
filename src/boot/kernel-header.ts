/** The setup header for the kernel stage, where vmlinux may come without one. */
import type { BootImage } from '../bzimage/boot-image.js';
import { linkedPhysicalBase, linkedPhysicalEnd, type Vmlinux } from '../kernel/vmlinux.js';
import { LoaderHeader } from './loader-header.js';
import { XLOADFLAGS } from '../bzimage/setup-header.js';

/**
 * The image's header, or, for a bare vmlinux, one that says what can be known of it: where it was linked for, how large
 * it is, and that it moves if it brings relocations.
 */
export function kernelHeader(image: BootImage, vmlinux: Vmlinux): LoaderHeader {
  if (image.setup !== null) return LoaderHeader.of(image.setup);
  const base = linkedPhysicalBase(vmlinux);
  const size = linkedPhysicalEnd(vmlinux) - base;
  return LoaderHeader.synthetic({
    kernel_alignment: 0x200000,
    relocatable_kernel: vmlinux.relocations === null ? 0 : 1,
    xloadflags: vmlinux.bits === 64 ? XLOADFLAGS.XLF_KERNEL_64 | XLOADFLAGS.XLF_CAN_BE_LOADED_ABOVE_4G : 0,
    pref_address: base,
    init_size: Number(size > 0xffffffffn ? 0xffffffffn : size),
  });
}
