/** Images made from a good one by one change, for bulk comparison with real loaders. */
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import {
  inPlace,
  plainKernel,
  quad,
  retypeNote,
  setByte,
  setEhdr,
  setField,
  setNote,
  setPhdr,
  type Edit,
} from '../verify/edit.js';
import { readCorpus } from '../kernels/corpus.js';

export interface Mutation {
  readonly name: string;
  readonly edit: Edit;
}

const at = (offset: (bytes: Uint8Array) => number, length: number, value: number): Edit =>
  inPlace((bytes) => bytes.fill(value, offset(bytes), offset(bytes) + length));
const payload = (bytes: Uint8Array): number => readBootImage(bytes).payload?.offset ?? 0;
const protectedMode = (bytes: Uint8Array): number => readBootImage(bytes).stages.protected_mode?.offset ?? 0;

/** Changes to a bzImage, whatever its width. */
export const BOOT_MUTATIONS: readonly Mutation[] = [
  { name: 'as it is', edit: () => undefined },
  { name: 'boot_flag 0', edit: setField('boot_flag', 0) },
  { name: 'header "HdrX"', edit: setByte(0x205, 0x58) },
  { name: 'version 1.00', edit: setField('version', 0x100) },
  { name: 'version 2.02', edit: setField('version', 0x202) },
  { name: 'version 2.11', edit: setField('version', 0x20b) },
  { name: 'version 2.16', edit: setField('version', 0x210) },
  { name: 'setup_sects 0', edit: setField('setup_sects', 0) },
  { name: 'setup_sects 65', edit: setField('setup_sects', 65) },
  { name: 'setup_sects 255', edit: setField('setup_sects', 255) },
  { name: 'jump a nop', edit: setByte(0x200, 0x90) },
  { name: 'header 0x7f long', edit: setByte(0x201, 0x7f) },
  { name: 'loadflags 0', edit: setField('loadflags', 0) },
  { name: 'code32_start low', edit: setField('code32_start', 0x90000) },
  { name: 'code32_start +256', edit: setField('code32_start', 0x100100) },
  { name: 'kernel_alignment 3M', edit: setField('kernel_alignment', 0x300000) },
  { name: 'kernel_alignment 0', edit: setField('kernel_alignment', 0) },
  { name: 'not relocatable', edit: setField('relocatable_kernel', 0) },
  { name: 'init_size 0', edit: setField('init_size', 0) },
  { name: 'pref_address +1', edit: setField('pref_address', 0x1000001n) },
  { name: 'xloadflags 0', edit: setField('xloadflags', 0) },
  { name: 'cmdline_size 10', edit: setField('cmdline_size', 10) },
  { name: 'no code at +0x200', edit: at((bytes) => protectedMode(bytes) + 0x200, 64, 0) },
  { name: 'payload damaged', edit: at((bytes) => payload(bytes) + 500_000, 1000, 0) },
  { name: 'payload no magic', edit: at(payload, 4, 0x5a) },
  { name: 'truncated by 64 KiB', edit: (bytes) => bytes.subarray(0, bytes.length - 65_536) },
  { name: 'truncated to setup', edit: (bytes) => bytes.subarray(0, 8192) },
  { name: '2 bytes appended', edit: (bytes) => Buffer.concat([bytes, new Uint8Array(2)]) },
];

const PHYS32_ENTRY = 18;

/** Changes to a bare 64-bit ELF kernel, for loaders that take one. */
export const ELF_MUTATIONS: readonly Mutation[] = [
  { name: 'as it is', edit: () => undefined },
  { name: 'no PVH note', edit: retypeNote(PHYS32_ENTRY, 99) },
  { name: 'PVH entry in the bss', edit: setNote(PHYS32_ENTRY, () => quad(0x1a20000n)) },
  { name: 'note p_align 64', edit: setPhdr(4, { p_align: 64n }) },
  { name: 'no note segment', edit: setPhdr(4, { p_type: 0 }) },
  { name: 'e_machine ARM', edit: setEhdr({ e_machine: 40 }) },
  { name: 'EI_DATA big-endian', edit: setByte(5, 2) },
  { name: 'EI_CLASS 0', edit: setByte(4, 0) },
  { name: 'e_phoff beyond', edit: setEhdr({ e_phoff: 0x2000000n }) },
  { name: 'e_phnum 0', edit: setEhdr({ e_phnum: 0 }) },
  { name: 'e_entry in the bss', edit: setEhdr({ e_entry: 0x1a20000n }) },
  { name: 'segment beyond file', edit: setPhdr(1, { p_offset: 0x2000000n }) },
  { name: 'filesz over memsz', edit: setPhdr(1, { p_memsz: 4096n }) },
  { name: 'segments overlap', edit: setPhdr(1, { p_paddr: 0x1400000n }) },
  { name: 'flags 0', edit: setPhdr(0, { p_flags: 0 }) },
  { name: 'text not executable', edit: setPhdr(0, { p_flags: 4 }) },
];

export async function mutated(name: string, { edit }: Mutation, bare: boolean): Promise<Uint8Array> {
  const copy = new Uint8Array(bare ? await plainKernel(name) : readCorpus(`${name}.bzImage`));
  return edit(copy) ?? copy;
}
