/** From an image and a request to a plan. */
import { BootImageError } from '../bytes/error.js';
import type { BootImage } from '../bzimage/boot-image.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { planLinux32 } from './linux32.js';
import { planLinux64 } from './linux64.js';
import type { BootPlan, Protocol } from './plan.js';
import type { PlanRequest } from './request.js';

function requireVmlinux(vmlinux: Vmlinux | null): Vmlinux {
  if (vmlinux === null) {
    throw new BootImageError('payload-not-elf', 'the kernel stage needs the ELF kernel, and none was recovered', {
      hint: 'enter it at the setup or decompressor stage',
    });
  }
  return vmlinux;
}

function planKernel(image: BootImage, vmlinux: Vmlinux, protocol: Protocol, request: PlanRequest): BootPlan {
  switch (protocol) {
    case 'linux32':
      return planLinux32(image, vmlinux, request);
    case 'linux64':
      return planLinux64(image, vmlinux, request);
    default:
      throw new BootImageError('protocol-unavailable', `${protocol} does not enter the kernel stage`, {
        field: 'protocol',
        hint: 'choose linux32, linux64, pvh or xen-pv',
      });
  }
}

/**
 * Plans a start. Synchronous: whoever calls has decompressed already (`recoverVmlinux`).
 *
 * @param vmlinux the kernel inside; needed at the kernel stage only (a hook's guest asks for it later, see
 * `resumeAtKernel`).
 * @throws BootImageError for everything that cannot work: `does-not-fit`, `overlap`, `not-relocatable`,
 * `protocol-unavailable`, `unsupported`, `payload-not-elf`, `bad-field`, `bad-argument`.
 */
export function planBoot(image: BootImage, vmlinux: Vmlinux | null, request: PlanRequest): BootPlan {
  if (image.inner !== null) return planBoot(image.inner, vmlinux, request);
  const kernel = requireVmlinux(vmlinux);
  return planKernel(image, kernel, request.protocol ?? (kernel.bits === 64 ? 'linux64' : 'linux32'), request);
}
