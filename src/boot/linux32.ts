/** The kernel stage by the 32-bit protocol: vmlinux in place, boot_params in ESI (boot.rst, "32-bit Boot Protocol"). */
import { BootImageError } from '../bytes/error.js';
import type { BootImage } from '../bzimage/boot-image.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { addBootParams, reserveBootParams } from './boot-params.js';
import { Draft } from './draft.js';
import { protectedModeState } from './cpu.js';
import { FLAT_CODE_32, FLAT_DATA } from './gdt.js';
import { kernelHeader } from './kernel-header.js';
import { kernelEntry, placeKernelAndInitrd } from './kernel-place.js';
import type { BootPlan } from './plan.js';
import type { PlanRequest } from './request.js';

/**
 * @throws BootImageError `protocol-unavailable` for a 64-bit kernel: its own entry point expects long mode;
 * `does-not-fit`, `not-relocatable`, `overlap`, `bad-argument`.
 */
export function planLinux32(image: BootImage, vmlinux: Vmlinux, request: PlanRequest): BootPlan {
  if (vmlinux.bits === 64) {
    throw new BootImageError('protocol-unavailable', 'a 64-bit kernel starts in long mode', {
      field: 'e_machine',
      hint: 'use linux64 or pvh, or enter it at the decompressor stage',
    });
  }
  const draft = new Draft(request);
  draft.reserveFirmware();
  const header = kernelHeader(image, vmlinux);
  const gdt = draft.addGdt(FLAT_CODE_32, FLAT_DATA);
  const bootParams = reserveBootParams(draft, header);
  placeKernelAndInitrd(draft, vmlinux, header, 'linux32');
  addBootParams(draft, header);
  const entry = kernelEntry(vmlinux) + (draft.facts.physicalDelta ?? 0n);
  return draft.finish({
    stage: 'kernel',
    protocol: 'linux32',
    bits: 32,
    cpu: protectedModeState(entry, gdt, { rsi: bootParams }),
    firmware: 'none',
    hook: null,
  });
}
