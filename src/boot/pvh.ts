/**
 * The kernel stage by PVH: vmlinux in place, paging off, hvm_start_info in EBX, entry by the note
 * XEN_ELFNOTE_PHYS32_ENTRY (docs/misc/pvh.pandoc of Xen; Linux' arch/x86/platform/pvh).
 */
import { BootImageError } from '../bytes/error.js';
import { hex } from '../bytes/numbers.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { noteNumber, XEN_ELFNOTE_PHYS32_ENTRY } from '../kernel/notes.js';
import { linkedPhysicalBase, linkedPhysicalEnd, type Vmlinux } from '../kernel/vmlinux.js';
import { protectedModeState } from './cpu.js';
import { Draft } from './draft.js';
import { FLAT_CODE_32, FLAT_DATA } from './gdt.js';
import { kernelHeader } from './kernel-header.js';
import { placeKernelAndInitrd } from './kernel-place.js';
import { E820_TYPES } from './memory-map.js';
import { FOUR_GIB, LOADER_MEMORY } from './placement.js';
import type { BootPlan } from './plan.js';
import type { PlanRequest } from './request.js';
import { HVM_MEMMAP_ENTRY, HVM_MODLIST_ENTRY, HVM_START_INFO, START_INFO_MAGIC } from './start-info.js';

/** The entry as linked. @throws BootImageError `protocol-unavailable`, `note-malformed` */
function pvhEntry(vmlinux: Vmlinux): bigint {
  const entry = noteNumber(vmlinux.notes, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY);
  if (entry === null) {
    throw new BootImageError('protocol-unavailable', 'the kernel has no PVH entry (note XEN_ELFNOTE_PHYS32_ENTRY)', {
      field: 'XEN_ELFNOTE_PHYS32_ENTRY',
      hint: 'use linux32 or linux64, or a kernel with CONFIG_PVH',
    });
  }
  if (entry < linkedPhysicalBase(vmlinux) || entry >= linkedPhysicalEnd(vmlinux)) {
    throw new BootImageError('note-malformed', `the PVH entry ${hex(entry)} lies outside the kernel`, {
      field: 'XEN_ELFNOTE_PHYS32_ENTRY',
    });
  }
  return entry;
}

/** start_info, module list and memory map as one block, entry sizes being multiples of 8. */
function addStartInfo(draft: Draft): bigint {
  const { commandLine, initrd } = draft.facts;
  const modules = initrd === undefined ? 0 : 1;
  const modlist = HVM_START_INFO.size;
  const memmap = modlist + modules * HVM_MODLIST_ENTRY.size;
  const bytes = new Uint8Array(memmap + draft.memory.length * HVM_MEMMAP_ENTRY.size);
  const wanted = { size: BigInt(bytes.length), alignment: 8n, min: LOADER_MEMORY, max: FOUR_GIB };
  const address = draft.placement.takeLowest(wanted, 'hvm_start_info');
  HVM_START_INFO.write(bytes, 0, {
    magic: START_INFO_MAGIC,
    version: 1,
    nr_modules: modules,
    modlist_paddr: modules === 0 ? 0n : address + BigInt(modlist),
    cmdline_paddr: commandLine?.address ?? 0n,
    rsdp_paddr: draft.acpiRsdp,
    memmap_paddr: address + BigInt(memmap),
    memmap_entries: draft.memory.length,
  });
  if (initrd !== undefined) {
    HVM_MODLIST_ENTRY.write(bytes, modlist, { paddr: initrd.address, size: BigInt(initrd.size) });
  }
  draft.memory.forEach((entry, index) => {
    HVM_MEMMAP_ENTRY.write(bytes, memmap + index * HVM_MEMMAP_ENTRY.size, {
      addr: entry.address,
      size: entry.size,
      type: E820_TYPES[entry.type],
    });
  });
  draft.add({ address, size: bytes.length, bytes, purpose: 'start-info', label: 'hvm_start_info' });
  draft.facts.startInfo = address;
  return address;
}

/**
 * @throws BootImageError `protocol-unavailable` without the note, `note-malformed`, `does-not-fit`,
 * `not-relocatable`, `overlap`, `bad-argument`.
 */
export function planPvh(image: BootImage, vmlinux: Vmlinux, request: PlanRequest): BootPlan {
  const linkedEntry = pvhEntry(vmlinux);
  const draft = new Draft(request);
  draft.reserveFirmware();
  const header = kernelHeader(image, vmlinux);
  const gdt = draft.addGdt(FLAT_CODE_32, FLAT_DATA);
  draft.addCommandLine(header.commandLineSize, LOADER_MEMORY, FOUR_GIB);
  placeKernelAndInitrd(draft, vmlinux, header, 'pvh');
  const startInfo = addStartInfo(draft);
  const entry = linkedEntry + (draft.facts.physicalDelta ?? 0n);
  return draft.finish({
    stage: 'kernel',
    protocol: 'pvh',
    bits: vmlinux.bits,
    cpu: protectedModeState(entry, gdt, { rbx: startInfo }),
    firmware: 'none',
    hook: null,
  });
}
