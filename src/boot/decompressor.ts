/**
 * The decompressor stage: the protected-mode part of an image, started by its 32-bit entry or, 0x200 bytes on, its
 * 64-bit one (boot.rst, "Loading The Rest of The Kernel", "32-bit Boot Protocol", "64-bit Boot Protocol").
 */
import { BootImageError } from '../bytes/error.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { XLOADFLAGS } from '../bzimage/setup-header.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { addBootParams, reserveBootParams } from './boot-params.js';
import { longModeState, protectedModeState } from './cpu.js';
import { Draft } from './draft.js';
import { FLAT_CODE_32, FLAT_CODE_64, FLAT_DATA } from './gdt.js';
import { LoaderHeader } from './loader-header.js';
import { regionRange } from './plan-check.js';
import type { BootPlan } from './plan.js';
import type { PlanRequest } from './request.js';
import { kernelBits, placeStage, requireSetup } from './stage.js';

/** Where the 64-bit entry lies, counted from the first byte of the protected-mode part. */
const ENTRY_64 = 0x200n;

/**
 * @param protocol `linux32` enters at the first byte of the stage (or at the stage ELF's entry), `linux64` at 0x200.
 * @throws BootImageError `protocol-unavailable`, `unsupported`, `does-not-fit`, `overlap`, `bad-field`, `bad-argument`.
 */
export function planDecompressor(
  image: BootImage,
  vmlinux: Vmlinux | null,
  request: PlanRequest,
  protocol: 'linux32' | 'linux64',
): BootPlan {
  const setup = requireSetup(image);
  const header = LoaderHeader.of(setup);
  const has64 = (header.number('xloadflags') & XLOADFLAGS.XLF_KERNEL_64) !== 0;
  if (protocol === 'linux64' && !has64) {
    throw new BootImageError('protocol-unavailable', 'this image has no 64-bit entry (XLF_KERNEL_64 is not set)', {
      field: 'xloadflags',
      offset: 0x236,
      hint: 'use linux32',
    });
  }
  const draft = new Draft(request);
  draft.refuseKernelOptions();
  draft.reserveFirmware();
  const long = protocol === 'linux64';
  const gdt = draft.addGdt(long ? FLAT_CODE_64 : FLAT_CODE_32, FLAT_DATA);
  const { load, entry } = placeStage(draft, image, header, 'preferred');
  const bootParams = reserveBootParams(draft, header);
  draft.addInitrd(header.initrdLimit, false);
  addBootParams(draft, header);
  const registers = { rsi: bootParams };
  return draft.finish({
    stage: 'decompressor',
    protocol,
    bits: kernelBits(image, vmlinux),
    cpu: long
      ? longModeState(load + ENTRY_64, gdt, draft.addIdentityMap(draft.regions.map(regionRange)), registers)
      : protectedModeState(entry, gdt, registers),
    firmware: 'none',
    hook: null,
  });
}
