/**
 * A stage ELF's headers against memory, at the moment when the image's own setup enters the protected-mode part:
 * every loader of the boot protocol has put the file's bytes there flat, without a look at the program headers.
 */
import { BootImageError } from '../bytes/error.js';
import { hexBytes } from '../bytes/numbers.js';
import { PF_X, PT_LOAD, PT_NOTE } from '../elf/definitions.js';
import type { ElfFile } from '../elf/elf-file.js';
import { type ElfNote, iterateNotes } from '../elf/notes.js';
import { segmentView } from '../elf/read-elf.js';
import type { BootImage, StageElf } from '../bzimage/boot-image.js';
import { STAGE_PAYLOAD_OWNER } from '../bzimage/stage-elf.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import {
  compareAlignment,
  compareNotes,
  compareSections,
  EVIDENCE,
  HeaderComparison,
  type HeaderProof,
  headersOf,
} from './prove-headers.js';
import type { PromisedRange } from './prove-payload.js';

/**
 * What the program headers promise to be in memory before the first instruction.
 * @param move from the addresses that the headers prefer to where the boot protocol has the stage: code32_start against
 * e_entry. One move for everything, so a header that lies about an address or an offset still shows.
 */
export function stageRanges({ elf }: StageElf, move: bigint): PromisedRange[] {
  return elf.programHeaders
    .filter(({ p_type, p_memsz }) => p_type === PT_LOAD && p_memsz > 0n)
    .map(({ p_paddr, p_offset, p_filesz, p_memsz }, index) => ({
      address: p_paddr + move,
      size: Number(p_memsz),
      bytes: elf.view.slice(Number(p_offset), Number(p_filesz), 'p_filesz'),
      what: `stage ELF, segment ${index}`,
    }));
}

/** "bzSP" begins the parameter table of a stage that `pack` made. */
const OWN_MAGIC = 'bzSP';
const OWN_MAGIC_OFFSET = 0x210;

/** What docs/format.md says of the stage ELFs that `pack` makes. */
function compareOwn(image: BootImage, elf: ElfFile, vmlinux: Vmlinux | null, comparison: HeaderComparison): void {
  if (!elf.view.startsWith(OWN_MAGIC, OWN_MAGIC_OFFSET) || image.setup === null) return;
  const { syssize, pref_address, kernel_alignment } = image.setup.values;
  for (const { index, p_offset, p_paddr, p_filesz, p_align } of headersOf(elf, PT_LOAD)) {
    comparison.compare(index, 'p_offset', 0n, p_offset, EVIDENCE.setup);
    comparison.compare(index, 'p_filesz', BigInt(syssize ?? 0) * 16n, p_filesz, EVIDENCE.setup);
    comparison.compare(index, 'p_paddr', pref_address ?? 0n, p_paddr, EVIDENCE.setup);
    comparison.compare(index, 'p_align', BigInt(kernel_alignment ?? 0), p_align, EVIDENCE.setup);
  }
  if (vmlinux === null) return;
  const found = headersOf(elf, PT_NOTE).flatMap((header) => notesIn(elf, header));
  const words = ({ owner, type, desc }: Pick<ElfNote, 'owner' | 'type' | 'desc'>): string =>
    `${owner}:${type}=${hexBytes(desc)}`;
  const repeated = found.filter(({ owner }) => owner !== STAGE_PAYLOAD_OWNER).map(words);
  const own = vmlinux.notes.filter(({ owner }) => owner !== STAGE_PAYLOAD_OWNER).map(words);
  comparison.require(
    ...([headersOf(elf, PT_NOTE)[0]?.index ?? null, 'p_offset', own.join() === repeated.join()] as const),
    ...([`the ${own.length} notes of the kernel`, `${repeated.length} notes, not the same`, EVIDENCE.notes] as const),
  );
}

function notesIn(elf: ElfFile, header: Parameters<typeof segmentView>[1]): ElfNote[] {
  try {
    return [...iterateNotes(segmentView(elf, header))];
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
    return [];
  }
}

/** Not so for kernels: Linux 7.2 is entered in a segment of flags rw-. */
function compareEntry(elf: ElfFile, comparison: HeaderComparison): void {
  const { e_entry } = elf.header;
  for (const { index, p_paddr, p_filesz, p_flags } of headersOf(elf, PT_LOAD)) {
    if (e_entry < p_paddr || e_entry >= p_paddr + p_filesz) continue;
    comparison.require(index, 'p_flags', (p_flags & PF_X) !== 0, 'PF_X', BigInt(p_flags), EVIDENCE.entry);
  }
}

export function proveStageHeaders(image: BootImage, { elf }: StageElf, vmlinux: Vmlinux | null): HeaderProof {
  const comparison = new HeaderComparison();
  const loads = headersOf(elf, PT_LOAD);
  comparison.require(null, 'p_type', loads.length > 0, 'a PT_LOAD', 'none', EVIDENCE.entry);
  compareSections(elf, comparison);
  compareOwn(image, elf, vmlinux, comparison);
  for (const { index, p_vaddr, p_paddr } of loads) {
    comparison.compare(index, 'p_vaddr', p_paddr, p_vaddr, EVIDENCE.run);
  }
  const initSize = BigInt(image.setup?.values.init_size ?? 0);
  const [first, ...others] = loads;
  if (first !== undefined && initSize > 0n) {
    const low = others.reduce((least, { p_paddr }) => (p_paddr < least ? p_paddr : least), first.p_paddr);
    const last = others.reduce((a, b) => (b.p_paddr + b.p_memsz > a.p_paddr + a.p_memsz ? b : a), first);
    comparison.compare(last.index, 'p_memsz', low + initSize - last.p_paddr, last.p_memsz, EVIDENCE.setup);
  }
  compareNotes(elf, 0n, comparison);
  compareAlignment(elf, comparison);
  compareEntry(elf, comparison);
  return comparison.result(elf);
}
