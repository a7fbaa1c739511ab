/** From an image and a request to a plan. */
import { BootImageError } from '../bytes/error.js';
import type { BootImage } from '../bzimage/boot-image.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { planDecompressor } from './decompressor.js';
import { planHook } from './hook.js';
import { planLinux32 } from './linux32.js';
import { planLinux64 } from './linux64.js';
import { memorySize } from './memory-map.js';
import { checkPlan } from './plan-check.js';
import type { BootPlan } from './plan.js';
import { planPvh } from './pvh.js';
import type { PlanRequest } from './request.js';
import { planSetup } from './setup.js';
import { kernelBits } from './stage.js';
import { planXenPv } from './xen-pv.js';

function requireVmlinux(vmlinux: Vmlinux | null): Vmlinux {
  if (vmlinux === null) {
    throw new BootImageError('payload-not-elf', 'the kernel stage needs the ELF kernel, and none was recovered', {
      hint: 'enter it at the setup or decompressor stage',
    });
  }
  return vmlinux;
}

/** Whatever the image: a protocol hands over at certain stages only. */
function mismatch({ protocol, stage }: PlanRequest, protocols: string): never {
  throw new BootImageError('bad-argument', `${String(protocol)} does not enter the ${stage} stage`, {
    field: 'protocol',
    hint: `choose ${protocols}`,
  });
}

/** A Xen domain owns as much memory as the machine of the request has; the map's holes are not in it. */
function planXenDomain(
  vmlinux: Vmlinux,
  { role = 'domu', memory, initrd, commandLine = '', kaslr, at }: PlanRequest,
): BootPlan {
  if (kaslr !== undefined || at !== undefined) {
    throw new BootImageError('bad-argument', 'a Xen PV kernel runs at the addresses that its notes name', {
      field: 'kaslr',
    });
  }
  return checkPlan(planXenPv(vmlinux, { role, memory: memorySize(memory), initrd, commandLine }));
}

function planKernel(image: BootImage, vmlinux: Vmlinux, request: PlanRequest): BootPlan {
  switch (request.protocol ?? (vmlinux.bits === 64 ? 'linux64' : 'linux32')) {
    case 'linux32':
      return planLinux32(image, vmlinux, request);
    case 'linux64':
      return planLinux64(image, vmlinux, request);
    case 'pvh':
      return planPvh(image, vmlinux, request);
    case 'xen-pv':
      return planXenDomain(vmlinux, request);
    default:
      return mismatch(request, 'linux32, linux64, pvh or xen-pv');
  }
}

/**
 * Plans a start. Synchronous: whoever calls has decompressed already (`recoverVmlinux`).
 *
 * @param vmlinux the kernel inside; needed at the kernel stage only (a hook's guest asks for it later, see
 * `resumeAtKernel`).
 * @throws BootImageError for everything that cannot work: `does-not-fit`, `overlap`, `not-relocatable`,
 * `protocol-unavailable`, `unsupported`, `payload-not-elf`, `elf-malformed`, `bad-field`, `bad-argument`.
 */
export function planBoot(image: BootImage, vmlinux: Vmlinux | null, request: PlanRequest): BootPlan {
  if (image.inner !== null) return planBoot(image.inner, vmlinux, request);
  const { protocol } = request;
  switch (request.stage) {
    case 'kernel':
      return planKernel(image, requireVmlinux(vmlinux), request);
    case 'decompressor': {
      const entry = protocol ?? (kernelBits(image, vmlinux) === 64 ? 'linux64' : 'linux32');
      if (entry !== 'linux32' && entry !== 'linux64') return mismatch(request, 'linux32 or linux64');
      return planDecompressor(image, vmlinux, request, entry);
    }
    case 'setup':
      if (protocol !== undefined && protocol !== 'linux16') return mismatch(request, 'linux16');
      return planSetup(image, vmlinux, request);
    case 'hook':
      if (protocol !== undefined && protocol !== 'linux16') return mismatch(request, 'linux16');
      return planHook(image, vmlinux, request);
  }
}
