/** The zero page of one plan: the image's header with the loader's fields, and what setup would have found out. */
import { BootImageError } from '../bytes/error.js';
import { encodeE820 } from './e820.js';
import type { Draft } from './draft.js';
import { type LoaderHeader, UNDEFINED_LOADER } from './loader-header.js';
import { FOUR_GIB, LOADER_MEMORY, PAGE_SIZE } from './placement.js';
import { buildSetupData } from './setup-data.js';
import { buildBootParams, E820_MAX_ENTRIES_ZEROPAGE, machineFields } from './zero-page.js';

const MASK_32 = 0xffffffffn;

/** The e820 entries that the zero page has no room for, as setup_data; its address, or 0. */
function addExtendedMap(draft: Draft, header: LoaderHeader): bigint {
  const rest = draft.memory.slice(E820_MAX_ENTRIES_ZEROPAGE);
  if (rest.length === 0) return 0n;
  if (!header.has('setup_data')) {
    throw new BootImageError(
      'does-not-fit',
      `the memory map has ${String(draft.memory.length)} entries; before boot protocol 2.09 a kernel takes ${String(E820_MAX_ENTRIES_ZEROPAGE)}`,
      { field: 'e820_table', hint: 'merge entries' },
    );
  }
  const bytes = buildSetupData('SETUP_E820_EXT', encodeE820(rest));
  const address = draft.placement.takeLowest(
    { size: BigInt(bytes.length), alignment: 16n, min: LOADER_MEMORY, max: FOUR_GIB },
    'the memory map beyond the zero page',
  );
  const label = `setup_data: ${rest.length} more e820 entries`;
  draft.add({ address, size: bytes.length, bytes, purpose: 'setup-data', label });
  return address;
}

/**
 * Claims the zero page and the command line, before the kernel and the initrd are placed.
 * @returns the zero page's address
 * @throws BootImageError `protocol-unavailable`, `bad-field`, `does-not-fit`, `bad-argument`
 */
export function reserveBootParams(draft: Draft, header: LoaderHeader): bigint {
  header.require('cmd_line_ptr', 'a start from the zero page');
  const address = draft.placement.takeLowest(
    { size: PAGE_SIZE, alignment: PAGE_SIZE, min: LOADER_MEMORY, max: FOUR_GIB },
    'the zero page',
  );
  draft.facts.bootParams = address;
  draft.addCommandLine(header.commandLineSize, address + PAGE_SIZE, FOUR_GIB);
  return address;
}

/** The loader's obligatory fields that every protocol from 2.00 on has. */
export function fillHeader(draft: Draft, header: LoaderHeader): void {
  const { initrd, commandLine } = draft.facts;
  header.set('type_of_loader', UNDEFINED_LOADER);
  header.set('ext_loader_type', 0);
  header.set('ext_loader_ver', 0);
  header.set('ramdisk_image', Number((initrd?.address ?? 0n) & MASK_32));
  header.set('ramdisk_size', initrd?.size ?? 0);
  if (commandLine !== undefined) header.setAddress('cmd_line_ptr', commandLine.address);
}

/** Fills in the zero page that `reserveBootParams` claimed, when everything has its place. */
export function addBootParams(draft: Draft, header: LoaderHeader): void {
  const address = draft.facts.bootParams ?? 0n;
  const extended = addExtendedMap(draft, header);
  fillHeader(draft, header);
  header.set('setup_data', extended);
  const bytes = buildBootParams(header.bytes, {
    ...machineFields(draft.memory, header.version),
    acpi_rsdp_addr: draft.acpiRsdp,
    ext_ramdisk_image: Number((draft.facts.initrd?.address ?? 0n) >> 32n),
  });
  header.writeTo(bytes);
  draft.add({ address, size: bytes.length, bytes, purpose: 'boot-params', label: 'zero page (boot_params)' });
}
