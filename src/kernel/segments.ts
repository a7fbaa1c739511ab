/** The loadable segments of a kernel, checked before anybody relies on them. */
import { findOverlap } from '../bytes/ranges.js';
import { hex, safeNumber } from '../bytes/numbers.js';
import { PT_LOAD } from '../elf/definitions.js';
import type { ElfFile, ProgramHeader } from '../elf/elf-file.js';
import type { Problem } from '../bzimage/boot-image.js';
import type { KernelSegment } from './vmlinux.js';

/** What is wrong with a segment, as field and message; null if it can be loaded. */
function defect(elf: ElfFile, segment: ProgramHeader): readonly [field: string, message: string] | null {
  const { p_offset, p_filesz, p_memsz, p_paddr, p_vaddr } = segment;
  const offset = safeNumber(p_offset);
  const filesz = safeNumber(p_filesz);
  if (offset === null || filesz === null || !elf.view.has(offset, filesz)) {
    return ['p_offset', `its bytes (${hex(p_offset)} + ${hex(p_filesz)}) lie outside the file`];
  }
  if (p_memsz < p_filesz) return ['p_memsz', `it has more bytes in the file (${p_filesz}) than in memory (${p_memsz})`];
  const space = 1n << BigInt(elf.class);
  if (p_paddr + p_memsz > space) return ['p_paddr', `${hex(p_paddr)} + ${hex(p_memsz)} wraps around the address space`];
  if (p_vaddr + p_memsz > space) return ['p_vaddr', `${hex(p_vaddr)} + ${hex(p_memsz)} wraps around the address space`];
  if (safeNumber(p_memsz) === null) return ['p_memsz', `${hex(p_memsz)} bytes are no size of a kernel`];
  return null;
}

/** All PT_LOAD segments that can be loaded, and why the others (and the whole) cannot. Never throws. */
export function readSegments(elf: ElfFile): { segments: KernelSegment[]; problems: Problem[] } {
  const segments: KernelSegment[] = [];
  const problems: Problem[] = [];
  const report = (id: string, index: number, field: string, message: string): void => {
    const { e_phoff, e_phentsize } = elf.header;
    problems.push({ id, severity: 'error', offset: Number(e_phoff) + index * e_phentsize, field, message });
  };
  elf.programHeaders.forEach((segment, index) => {
    if (segment.p_type !== PT_LOAD || segment.p_memsz + segment.p_filesz === 0n) return;
    const wrong = defect(elf, segment);
    if (wrong !== null) {
      report('segment-malformed', index, wrong[0], `segment ${index}: ${wrong[1]}`);
      return;
    }
    segments.push({
      index,
      offset: Number(segment.p_offset),
      vaddr: segment.p_vaddr,
      paddr: segment.p_paddr,
      filesz: Number(segment.p_filesz),
      memsz: Number(segment.p_memsz),
      flags: segment.p_flags,
      align: segment.p_align,
    });
  });
  const overlap = findOverlap(
    segments.map(({ index, paddr, memsz }) => ({ index, start: paddr, end: paddr + BigInt(memsz) })),
  );
  if (overlap !== null) {
    const [a, b] = overlap;
    report('segments-overlap', b.index, 'p_paddr', `segments ${a.index} and ${b.index} overlap at ${hex(b.start)}`);
  }
  if (segments.length === 0 && problems.length === 0)
    report('no-segments', 0, 'e_phnum', 'nothing in it can be loaded');
  return { segments, problems };
}
