/** The kernel stage by the 64-bit protocol: vmlinux in place, identity map, boot_params in RSI (boot.rst, "64-bit Boot Protocol"). */
import { BootImageError } from '../bytes/error.js';
import type { BootImage } from '../bzimage/boot-image.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { addBootParams, reserveBootParams } from './boot-params.js';
import { Draft } from './draft.js';
import { longModeState } from './cpu.js';
import { FLAT_CODE_64, FLAT_DATA } from './gdt.js';
import { kernelHeader } from './kernel-header.js';
import { kernelEntry, placeKernelAndInitrd } from './kernel-place.js';
import { regionRange } from './plan-check.js';
import type { BootPlan } from './plan.js';
import type { PlanRequest } from './request.js';

/**
 * @throws BootImageError `protocol-unavailable` for a 32-bit kernel; `does-not-fit`, `not-relocatable`, `overlap`,
 * `bad-argument`.
 */
export function planLinux64(image: BootImage, vmlinux: Vmlinux, request: PlanRequest): BootPlan {
  if (vmlinux.bits === 32) {
    throw new BootImageError('protocol-unavailable', 'a 32-bit kernel does not start in long mode', {
      field: 'e_machine',
      hint: 'use linux32',
    });
  }
  const draft = new Draft(request);
  draft.reserveFirmware();
  const header = kernelHeader(image, vmlinux);
  const gdt = draft.addGdt(FLAT_CODE_64, FLAT_DATA);
  const bootParams = reserveBootParams(draft, header);
  placeKernelAndInitrd(draft, vmlinux, header, 'linux64');
  addBootParams(draft, header);
  const cr3 = draft.addIdentityMap(draft.regions.filter(({ purpose }) => purpose !== 'initrd').map(regionRange));
  const entry = kernelEntry(vmlinux) + (draft.facts.physicalDelta ?? 0n);
  return draft.finish({
    stage: 'kernel',
    protocol: 'linux64',
    bits: 64,
    cpu: longModeState(entry, gdt, cr3, { rsi: bootParams }),
    firmware: 'none',
    hook: null,
  });
}
