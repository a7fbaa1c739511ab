import { hex, isPowerOfTwo } from '../../bytes/numbers.js';
import { findOverlap } from '../../bytes/ranges.js';
import {
  ELF_STRUCTS,
  EM_386,
  EM_X86_64,
  ET_CORE,
  ET_DYN,
  ET_EXEC,
  EV_CURRENT,
  PF_W,
  PF_X,
  PT_INTERP,
  PT_LOAD,
} from '../../elf/definitions.js';
import type { ElfFile, ProgramHeader } from '../../elf/elf-file.js';
import { entryFacts, type EntryFacts } from '../entry.js';
import { finding, holds, type RuleTable } from '../finding.js';
import type { Finding } from '../rule.js';
import type { Subject } from '../subject.js';

const GABI = 'System V ABI, chapters 4 and 5';
const U64 = 1n << 64n;

interface Load extends ProgramHeader {
  readonly index: number;
}

/** PT_LOAD segments with their index; null without an ELF file. */
function loads(s: Subject): readonly Load[] {
  return s.elf === null
    ? []
    : s.elf.programHeaders.flatMap((header, index) => (header.p_type === PT_LOAD ? [{ ...header, index }] : []));
}

function each(s: Subject, field: string, bad: (segment: Load) => string | null): readonly Finding[] {
  return loads(s).flatMap((segment) => {
    const message = bad(segment);
    return message === null ? [] : [finding(`segment ${segment.index} ${message}`, field)];
  });
}

const atEntry = (elf: ElfFile): EntryFacts => entryFacts(elf, elf.header.e_entry, true);

const end = (segment: Load): bigint => segment.p_paddr + segment.p_memsz;

/** The ELF file inside. */
export const ELF_RULES: RuleTable = [
  {
    id: 'elf.magic',
    stage: 'elf',
    severity: 'note',
    checks: 'The kernel inside is an ELF file.',
    why: 'Only an ELF file says where its parts belong.',
    cure: 'Start it at the setup or decompressor stage.',
    source: `${GABI}: e_ident`,
    check: (s) => (s.raw === null || s.elf !== null ? holds : [finding('there is no ELF file', 'e_ident')]),
  },
  {
    id: 'elf.little-endian',
    stage: 'elf',
    severity: 'error',
    checks: 'EI_DATA is ELFDATA2LSB.',
    why: 'x86 is little-endian.',
    cure: 'Use a kernel for x86.',
    source: `${GABI}: EI_DATA`,
    check: (s) =>
      s.identity === null || s.identity.data === 1 ? holds : [finding(`EI_DATA is ${s.identity.data}`, 'EI_DATA')],
  },
  {
    id: 'elf.class',
    stage: 'elf',
    severity: 'error',
    checks: 'EI_CLASS and e_machine agree: ELFCLASS64 with EM_X86_64, ELFCLASS32 with EM_386.',
    why: 'Loaders choose the CPU mode by one or the other.',
    cure: 'Use a kernel for x86.',
    source: `${GABI}: EI_CLASS, e_machine`,
    check: (s) => {
      if (s.identity === null) return holds;
      const { cls, machine } = s.identity;
      return (cls === 2 && machine === EM_X86_64) || (cls === 1 && machine === EM_386)
        ? holds
        : [finding(`class ${cls === 2 ? '64' : cls === 1 ? '32' : String(cls)} with machine ${machine}`, 'e_machine')];
    },
  },
  {
    id: 'elf.class-64',
    stage: 'elf',
    severity: 'note',
    checks: 'The kernel is a 64-bit ELF file.',
    why: 'Loaders that know only the 64-bit structures read a 32-bit kernel wrongly.',
    cure: 'Use a 64-bit kernel.',
    source: `${GABI}: EI_CLASS`,
    check: (s) =>
      s.elf === null || s.elf.class === 64 ? holds : [finding('the kernel is a 32-bit ELF file', 'EI_CLASS')],
  },
  {
    id: 'elf.class-32',
    stage: 'elf',
    severity: 'note',
    checks: 'The kernel is a 32-bit one.',
    why: 'A 32-bit CPU cannot run a 64-bit kernel.',
    cure: 'Use a 32-bit kernel, or another machine.',
    source: `${GABI}: EI_CLASS`,
    check: (s) => (s.bits !== 64 ? holds : [finding('the kernel is a 64-bit one', 'EI_CLASS')]),
  },
  {
    id: 'elf.type',
    stage: 'elf',
    severity: 'error',
    checks: 'e_type is ET_EXEC, or ET_DYN for a position-independent kernel.',
    why: 'Relocatable objects and core files cannot be started.',
    cure: 'Link the kernel.',
    source: `${GABI}: e_type`,
    check: (s) => {
      const type = s.elf?.header.e_type;
      return type === undefined || type === ET_EXEC || type === ET_DYN
        ? holds
        : [finding(`e_type is ${type === ET_CORE ? 'ET_CORE' : String(type)}`, 'e_type')];
    },
  },
  {
    id: 'elf.sizes-exact',
    stage: 'elf',
    severity: 'warning',
    checks:
      'e_ehsize, e_phentsize and e_shentsize are exactly the structures’ sizes, e_version and EI_VERSION are EV_CURRENT.',
    why: 'kexec and linux-loader refuse other sizes.',
    cure: 'Correct the header fields.',
    source: `${GABI}: ELF header`,
    check: (s) => {
      if (s.elf === null) return holds;
      const { header } = s.elf;
      const sizes = ELF_STRUCTS[s.elf.class];
      const found: Finding[] = [];
      if (header.e_ehsize !== sizes.ehdr.size) found.push(finding(`e_ehsize is ${header.e_ehsize}`, 'e_ehsize'));
      if (header.e_phentsize !== sizes.phdr.size)
        found.push(finding(`e_phentsize is ${header.e_phentsize}`, 'e_phentsize'));
      if (header.e_shnum > 0 && header.e_shentsize !== sizes.shdr.size)
        found.push(finding(`e_shentsize is ${header.e_shentsize}`, 'e_shentsize'));
      if (header.e_version !== EV_CURRENT) found.push(finding(`e_version is ${header.e_version}`, 'e_version'));
      return found;
    },
  },
  {
    id: 'elf.phdr-table',
    stage: 'elf',
    severity: 'error',
    checks: 'The program header table lies inside the file and behind the ELF header.',
    why: 'Without it nobody knows what to load.',
    cure: 'Copy the file again.',
    source: `${GABI}: e_phoff, e_phnum`,
    check: (s) => {
      if (s.elf === null) return holds;
      const { header, view } = s.elf;
      const size = BigInt(header.e_phnum * header.e_phentsize);
      if (header.e_phnum === 0) return [finding('there are no program headers', 'e_phnum')];
      return header.e_phoff >= BigInt(ELF_STRUCTS[s.elf.class].ehdr.size) &&
        header.e_phoff + size <= BigInt(view.length)
        ? holds
        : [
            finding(
              `${header.e_phnum} program headers at ${hex(header.e_phoff)} do not fit into ${hex(view.length)} bytes`,
              'e_phoff',
            ),
          ];
    },
  },
  {
    id: 'elf.shdr-table',
    stage: 'elf',
    severity: 'error',
    checks: 'The section header table lies inside the file.',
    why: 'Xen refuses the file otherwise, and the end of the ELF file is computed from it.',
    cure: 'Copy the file again, or set e_shoff and e_shnum to 0.',
    source: `${GABI}: e_shoff, e_shnum`,
    check: (s) => {
      if (s.elf === null || s.elf.header.e_shnum === 0) return holds;
      const { header, view } = s.elf;
      const size = BigInt(header.e_shnum * header.e_shentsize);
      return header.e_shoff + size <= BigInt(view.length)
        ? holds
        : [
            finding(
              `${header.e_shnum} section headers at ${hex(header.e_shoff)} do not fit into ${hex(view.length)} bytes`,
              'e_shoff',
            ),
          ];
    },
  },
  {
    id: 'elf.shnum-plausible',
    stage: 'elf',
    severity: 'warning',
    checks: 'e_shnum is at most the file’s size divided by 40.',
    why: 'Xen marks such a file as broken: "far too many section headers".',
    cure: 'Correct e_shnum.',
    source: 'xen/common/libelf/libelf-tools.c: elf_shdr_count',
    check: (s) => {
      if (s.elf === null) return holds;
      const most = Math.floor(s.elf.view.length / 40);
      return s.elf.header.e_shnum <= most ? holds : [finding(`e_shnum is ${s.elf.header.e_shnum}`, 'e_shnum')];
    },
  },
  {
    id: 'elf.loadable',
    stage: 'elf',
    severity: 'error',
    checks: 'There is a loadable segment.',
    why: 'Otherwise there is nothing to start.',
    cure: 'Link the kernel with program headers.',
    source: `${GABI}: PT_LOAD`,
    check: (s) => (s.elf === null || loads(s).length > 0 ? holds : [finding('there is no PT_LOAD segment', 'p_type')]),
  },
  {
    id: 'elf.segment-file-range',
    stage: 'elf',
    severity: 'error',
    checks: 'Each segment’s file bytes lie inside the file.',
    why: 'Loaders that do not check read beyond the buffer; those that do refuse.',
    cure: 'Copy the file again.',
    source: `${GABI}: p_offset, p_filesz`,
    check: (s) =>
      each(s, 'p_offset', ({ p_offset, p_filesz }) =>
        p_filesz === 0n || p_offset + p_filesz <= BigInt(s.elf?.view.length ?? 0)
          ? null
          : `takes ${hex(p_filesz)} bytes at ${hex(p_offset)}, beyond the file`,
      ),
  },
  {
    id: 'elf.filesz-memsz',
    stage: 'elf',
    severity: 'error',
    checks: 'p_filesz is at most p_memsz.',
    why: 'More bytes than memory: Xen computes a negative length, others write into the next segment.',
    cure: 'Correct the program header.',
    source: `${GABI}: p_filesz, p_memsz`,
    check: (s) =>
      each(s, 'p_filesz', ({ p_filesz, p_memsz }) =>
        p_filesz <= p_memsz ? null : `has p_filesz ${hex(p_filesz)} above p_memsz ${hex(p_memsz)}`,
      ),
  },
  {
    id: 'elf.segment-wrap',
    stage: 'elf',
    severity: 'error',
    checks: 'No segment’s physical addresses wrap around.',
    why: 'kexec refuses it; Xen’s arithmetic yields a kernel that ends before it begins.',
    cure: 'Correct the program header.',
    source: `${GABI}: p_paddr, p_memsz`,
    check: (s) => {
      const limit = s.elf?.class === 32 ? 1n << 32n : U64;
      return each(s, 'p_paddr', (segment) =>
        end(segment) <= limit ? null : `wraps around at ${hex(segment.p_paddr)} + ${hex(segment.p_memsz)}`,
      );
    },
  },
  {
    id: 'elf.overlap',
    stage: 'elf',
    severity: 'error',
    checks: 'Segments do not overlap in physical memory.',
    why: 'What is loaded last wins: the result depends on the loader.',
    cure: 'Correct the program headers.',
    source: `${GABI}: PT_LOAD`,
    check: (s) => {
      const pair = findOverlap(
        loads(s).map((segment) => ({ start: segment.p_paddr, end: end(segment), index: segment.index })),
      );
      return pair === null
        ? holds
        : [finding(`segments ${pair[0].index} and ${pair[1].index} overlap at ${hex(pair[1].start)}`, 'p_paddr')];
    },
  },
  {
    id: 'elf.sorted',
    stage: 'elf',
    severity: 'note',
    checks: 'Segments stand in ascending order of p_paddr.',
    why: 'Some loaders take the first segment for the lowest.',
    cure: 'Sort the program headers.',
    source: `${GABI}: PT_LOAD (which sorts by p_vaddr)`,
    check: (s) => {
      const all = loads(s);
      return each(s, 'p_paddr', (segment) => {
        const before = all[all.findIndex(({ index }) => index === segment.index) - 1];
        return before === undefined || before.p_paddr <= segment.p_paddr ? null : `lies below the one before it`;
      });
    },
  },
  {
    id: 'elf.entry',
    stage: 'elf',
    severity: 'error',
    checks: 'e_entry (a physical or a virtual address) lies inside a segment’s file bytes, and there is code.',
    why: 'The first instruction would be zeroes or nothing.',
    cure: 'Correct e_entry.',
    source: `${GABI}: e_entry`,
    check: ({ elf }) =>
      elf === null || elf.programHeaders.every(({ p_type }) => p_type !== PT_LOAD) || atEntry(elf).code
        ? holds
        : [finding(`there is no code at e_entry ${hex(elf.header.e_entry)}`, 'e_entry')],
  },
  {
    id: 'elf.entry-executable',
    stage: 'elf',
    severity: 'note',
    checks: 'The segment that e_entry lies in is executable.',
    why: 'A host that maps segments by their flags faults at the first instruction; loaders of kernels do not look.',
    cure: 'None: newer kernels (7.2) link their init code into a writable segment without the flag x.',
    source: `${GABI}: p_flags`,
    check: ({ elf }) =>
      elf === null || !atEntry(elf).code || atEntry(elf).executable
        ? holds
        : [finding(`e_entry ${hex(elf.header.e_entry)} lies in no executable segment`, 'p_flags')],
  },
  {
    id: 'elf.entry-physical',
    stage: 'elf',
    severity: 'note',
    checks: 'e_entry is a physical address of at least 1 MiB.',
    why: 'Loaders jump there with paging off or identity-mapped.',
    cure: 'Set e_entry to the entry’s physical address.',
    source: 'the kernel’s arch/x86/kernel/vmlinux.lds.S: phys_startup',
    check: (s) => {
      const entry = s.elf?.header.e_entry;
      return entry === undefined || (entry >= 0x100000n && entry < 1n << 52n)
        ? holds
        : [finding(`e_entry is ${hex(entry)}`, 'e_entry')];
    },
  },
  {
    id: 'elf.align',
    stage: 'elf',
    severity: 'error',
    checks: 'p_align is 0, 1 or a power of two.',
    why: 'Loaders align by it with bit masks.',
    cure: 'Correct the program header.',
    source: `${GABI}: p_align`,
    check: (s) =>
      each(s, 'p_align', ({ p_align }) =>
        p_align === 0n || isPowerOfTwo(p_align) ? null : `has p_align ${hex(p_align)}`,
      ),
  },
  {
    id: 'elf.align-2m',
    stage: 'elf',
    severity: 'error',
    checks: 'In a 64-bit kernel each segment’s p_align is a multiple of 2 MiB.',
    why: 'The kernel’s own decompressor stops otherwise: "Alignment of LOAD segment isn’t multiple of 2MB".',
    cure: 'Link with 2 MiB pages.',
    source: 'arch/x86/boot/compressed/misc.c: parse_elf',
    check: (s) =>
      s.elf?.class === 64
        ? each(s, 'p_align', ({ p_align }) => (p_align % 0x200000n === 0n ? null : `has p_align ${hex(p_align)}`))
        : holds,
  },
  {
    id: 'elf.congruent',
    stage: 'elf',
    severity: 'note',
    checks: 'p_offset and p_vaddr are congruent modulo p_align.',
    why: 'A loader that maps the file instead of copying it needs that.',
    cure: 'Link with aligned file offsets.',
    source: `${GABI}: p_align`,
    check: (s) =>
      each(s, 'p_offset', ({ p_align, p_offset, p_vaddr }) =>
        p_align <= 1n || !isPowerOfTwo(p_align) || (p_offset - p_vaddr) % p_align === 0n
          ? null
          : `has p_offset ${hex(p_offset)} and p_vaddr ${hex(p_vaddr)}`,
      ),
  },
  {
    id: 'elf.linear-mapping',
    stage: 'elf',
    severity: 'note',
    checks: 'p_vaddr - p_paddr is the same in every segment (but the per-CPU segment, whose p_vaddr is 0).',
    why: 'Loaders compute physical addresses from virtual ones with one offset.',
    cure: 'Check the linker script.',
    source: 'arch/x86/kernel/vmlinux.lds.S',
    check: (s) => {
      const [first] = loads(s);
      if (first === undefined) return holds;
      const offset = first.p_vaddr - first.p_paddr;
      return each(s, 'p_vaddr', ({ p_vaddr, p_paddr }) =>
        p_vaddr === 0n || p_vaddr - p_paddr === offset ? null : `is mapped at ${hex(p_vaddr)} for ${hex(p_paddr)}`,
      );
    },
  },
  {
    id: 'elf.write-execute',
    stage: 'elf',
    severity: 'note',
    checks: 'No segment is writable and executable.',
    why: 'A host that maps segments by their flags grants more than needed.',
    cure: 'None: the kernel’s init segment is linked so.',
    source: `${GABI}: p_flags`,
    check: (s) =>
      each(s, 'p_flags', ({ p_flags }) =>
        (p_flags & (PF_W | PF_X)) === (PF_W | PF_X) ? 'is writable and executable' : null,
      ),
  },
  {
    id: 'elf.flags',
    stage: 'elf',
    severity: 'warning',
    checks: 'Each loadable segment has at least one of the flags r, w and x.',
    why: 'Xen does not load a segment without any.',
    cure: 'Set p_flags.',
    source: 'xen/common/libelf/libelf-tools.c: elf_phdr_is_loadable',
    check: (s) => each(s, 'p_flags', ({ p_flags }) => ((p_flags & 7) !== 0 ? null : 'has no flags')),
  },
  {
    id: 'elf.bss-only',
    stage: 'elf',
    severity: 'note',
    checks: 'No loadable segment consists of zeroes only (p_filesz 0).',
    why: 'linux-loader skips it: its memory is not counted and not cleared.',
    cure: 'Merge it with the segment before.',
    source: 'rust-vmm linux-loader, src/loader/elf/mod.rs',
    check: (s) =>
      each(s, 'p_filesz', ({ p_filesz, p_memsz }) => (p_filesz === 0n && p_memsz > 0n ? 'has no file bytes' : null)),
  },
  {
    id: 'elf.interpreter',
    stage: 'elf',
    severity: 'error',
    checks: 'There is no PT_INTERP.',
    why: 'This is a user program.',
    cure: 'Give a kernel.',
    source: `${GABI}: PT_INTERP; kexec-tools, kexec/kexec-elf.c`,
    check: (s) =>
      s.elf?.programHeaders.some(({ p_type }) => p_type === PT_INTERP) === true
        ? [finding('there is a PT_INTERP segment', 'p_type')]
        : holds,
  },
  {
    id: 'elf.copy-limit',
    stage: 'elf',
    severity: 'warning',
    checks: 'The segments’ sizes add up to at most twice the memory that they span.',
    why: 'Xen stops copying: "program segments total to more than the input image size".',
    cure: 'Correct the program headers.',
    source: 'xen/common/libelf/libelf-loader.c: elf_load_binary',
    check: (s) => {
      const all = loads(s);
      if (all.length === 0) return holds;
      const low = all.reduce((least, { p_paddr }) => (p_paddr < least ? p_paddr : least), U64);
      const high = all.reduce((most, segment) => (end(segment) > most ? end(segment) : most), 0n);
      const total = all.reduce((sum, { p_memsz }) => sum + p_memsz, 0n);
      return total <= 2n * (high - low)
        ? holds
        : [finding(`${hex(total)} bytes of segments in a span of ${hex(high - low)}`, 'p_memsz')];
    },
  },
];
