/**
 * The hook stage: the guest runs the image's own setup, whose last jump goes to code32_start. There a stub waits
 * instead of the kernel (boot.rst, "Advanced Boot Loader Hooks"); the host decompresses, relocates and resumes at the
 * kernel, with the boot_params that setup filled in.
 */
import { BootImageError } from '../bytes/error.js';
import { ByteView } from '../bytes/byte-view.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { LOADFLAGS, setupField } from '../bzimage/setup-header.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { longModeState, protectedModeState } from './cpu.js';
import { Draft } from './draft.js';
import { readMemoryMap } from './e820.js';
import { FLAT_CODE_32, FLAT_CODE_64, FLAT_DATA } from './gdt.js';
import { kernelEntry, placeKernelAndInitrd } from './kernel-place.js';
import { LoaderHeader } from './loader-header.js';
import { HIGH_MEMORY_START } from './memory-map.js';
import { LOADER_MEMORY } from './placement.js';
import { regionRange } from './plan-check.js';
import type { BootPlan } from './plan.js';
import type { PlanRequest } from './request.js';
import { placeRealMode } from './setup.js';
import { holdRuntime, kernelBits, requireSetup } from './stage.js';
import { BOOT_PARAMS } from './zero-page.js';

/** A port that neither PC chipsets nor PCI cards as firmware places them (from 0xc000 on) decode. */
export const HOOK_PORT = 0x0b2e;

const LOADFLAGS_OFFSET = setupField('loadflags').offset;

/** mov eax, esi; mov dx, port; out dx, eax; then wait for the host to move the instruction pointer. */
function stub(port: number): Uint8Array {
  return Uint8Array.of(0x89, 0xf0, 0x66, 0xba, port & 0xff, port >>> 8, 0xef, 0xf4, 0xeb, 0xfd);
}

/**
 * The setup stage with the stub in place of the protected-mode part.
 * @throws BootImageError `unsupported` for a zImage, whose setup would move the stub away; else as `planSetup`.
 */
export function planHook(image: BootImage, vmlinux: Vmlinux | null, request: PlanRequest): BootPlan {
  // KASLR is the host's business here, when the guest has come to the hook.
  const { kaslr: _kaslr, at: _at, ...setupRequest } = request;
  const { draft, header, cpu, addSetupCode } = placeRealMode(image, setupRequest);
  if (!header.loadedHigh) {
    throw new BootImageError('unsupported', 'a zImage has no hook that stays in place', {
      field: 'loadflags',
      offset: 0x211,
      hint: 'enter it at the setup stage',
    });
  }
  const address = HIGH_MEMORY_START;
  const bytes = stub(HOOK_PORT);
  draft.placement.claim(address, BigInt(bytes.length), 'the hook');
  draft.add({ address, size: bytes.length, bytes, purpose: 'trampoline', label: 'hook at code32_start' });
  header.setAddress('code32_start', address);
  holdRuntime(draft, image, header);
  draft.addInitrd(header.initrdLimit, false);
  addSetupCode();
  return draft.finish({
    stage: 'hook',
    protocol: 'linux16',
    bits: kernelBits(image, vmlinux),
    cpu,
    firmware: 'bios',
    hook: { address, port: HOOK_PORT },
  });
}

/** Where setup left boot_params, and what it wrote there. */
export interface HookedGuest {
  /** ESI at the hook: guest physical. */
  readonly bootParams: bigint;
  /** The 4096 bytes there. */
  readonly page: Uint8Array;
}

/**
 * The plan to resume with: the kernel where the guest's own memory map has room for it, the guest's own boot_params
 * (only KASLR_FLAG changes), command line and initrd where the hook plan put them.
 * @param hook the plan that brought the guest to its hook.
 * @throws BootImageError `guest-failed` if the page tells no memory map; else as the planners of the kernel stage.
 */
export function resumeAtKernel(
  image: BootImage,
  vmlinux: Vmlinux,
  hook: BootPlan,
  guest: HookedGuest,
  options: Pick<PlanRequest, 'kaslr' | 'at' | 'consumeKernel'> = {},
): BootPlan {
  if (image.inner !== null) return resumeAtKernel(image.inner, vmlinux, hook, guest, options);
  const params = BOOT_PARAMS.read(new ByteView(guest.page));
  const memory = readMemoryMap(params.e820_table, params.e820_entries);
  if (memory.length === 0) {
    throw new BootImageError('guest-failed', "the guest's setup code found no memory map", { field: 'e820_entries' });
  }
  const { commandLine, initrd } = hook.facts;
  const draft = new Draft({ ...options, stage: 'kernel', memory, commandLine: commandLine?.text ?? '' });
  const size = BOOT_PARAMS.size;
  draft.placement.claim(guest.bootParams, BigInt(size), 'boot_params');
  draft.keepBiosData();
  for (const region of hook.regions) {
    if (region.purpose !== 'trampoline') draft.placement.keep(regionRange(region), region.label);
  }
  if (commandLine !== undefined) draft.facts.commandLine = commandLine;
  if (initrd !== undefined) draft.facts.initrd = initrd;
  draft.facts.bootParams = guest.bootParams;

  const header = LoaderHeader.of(requireSetup(image));
  const long = vmlinux.bits === 64;
  const gdt = draft.addGdt(long ? FLAT_CODE_64 : FLAT_CODE_32, FLAT_DATA, LOADER_MEMORY);
  placeKernelAndInitrd(draft, vmlinux, header, long ? 'linux64' : 'linux32');
  const bytes = guest.page.slice(0, size);
  const { KASLR_FLAG } = LOADFLAGS;
  const flags = LOADFLAGS_OFFSET;
  bytes[flags] = ((bytes[flags] ?? 0) & ~KASLR_FLAG) | (draft.facts.kaslr === undefined ? 0 : KASLR_FLAG);
  draft.add({
    address: guest.bootParams,
    size,
    bytes,
    purpose: 'boot-params',
    label: "the guest's zero page (boot_params)",
  });
  const entry = kernelEntry(vmlinux) + (draft.facts.physicalDelta ?? 0n);
  const registers = { rsi: guest.bootParams };
  return draft.finish({
    stage: 'kernel',
    protocol: long ? 'linux64' : 'linux32',
    bits: vmlinux.bits,
    cpu: long
      ? longModeState(entry, gdt, draft.addIdentityMap(draft.regions.map(regionRange)), registers)
      : protectedModeState(entry, gdt, registers),
    firmware: 'none',
    hook: null,
  });
}
