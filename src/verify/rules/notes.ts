import { hex, isPowerOfTwo } from '../../bytes/numbers.js';
import { PT_LOAD, PT_NOTE } from '../../elf/definitions.js';
import { XEN_ELFNOTE_PHYS32_ENTRY, XEN_ELFNOTE_PHYS32_RELOC, findNote, noteNumber } from '../../kernel/notes.js';
import { XEN_FEATURES, XEN_REFUSAL_RULES, type XenRefusalKind } from '../../kernel/xen-parameters.js';
import { entryFacts } from '../entry.js';
import { finding, holds, type RuleTable } from '../finding.js';
import { pvhEntryByAlignment } from '../pvh-note.js';
import type { Severity } from '../rule.js';

const ELFNOTE = 'xen/include/public/elfnote.h';
const DOMINFO = 'xen/common/libelf/libelf-dominfo.c';

/** A refusal of Xen's ELF library as a rule. A kernel without any Xen note breaks none of them: it never wanted to. */
function xenRule(
  kind: XenRefusalKind,
  severity: Severity,
  text: Pick<RuleTable[number], 'checks' | 'why' | 'cure' | 'source'>,
): RuleTable[number] {
  return {
    id: XEN_REFUSAL_RULES[kind],
    stage: 'notes',
    severity,
    ...text,
    check: (s) => {
      const xen = s.xen(false);
      if (xen?.refusal?.kind !== kind) return holds;
      return [finding(xen.refusal.says, xen.refusal.field)];
    },
  };
}

/** Required features that neither PV nor PVH of today's Xen offers would stand here; dom0 is the role's. */
const DOM0 = 1 << XEN_FEATURES.dom0;

/** ELF notes. */
export const NOTE_RULES: RuleTable = [
  {
    id: 'notes.parse',
    stage: 'notes',
    severity: 'error',
    checks: 'Notes parse: each one’s name and descriptor lie inside its segment, padded to 4 bytes.',
    why: 'A loader stops at the first note that does not, and misses those behind it.',
    cure: 'Rewrite the notes: `bzelf pack --note`.',
    source: 'System V ABI, chapter 5, "Note Section"',
    check: (s) => s.noteErrors.map((error) => finding(error.message, error.field ?? 'PT_NOTE')),
  },
  {
    id: 'notes.alignment',
    stage: 'notes',
    severity: 'warning',
    checks: 'PT_NOTE segments are aligned to 4 bytes.',
    why: 'Loaders that pad notes by p_align walk past the ones they look for: QEMU reports "Error loading uncompressed kernel without PVH ELF Note".',
    cure: 'Remove the 8-aligned note: `objcopy --remove-section .note.gnu.property`.',
    source: 'System V ABI, chapter 5; QEMU hw/i386/x86-common.c',
    check: (s) =>
      s.elf === null
        ? holds
        : s.elf.programHeaders
            .filter(({ p_type, p_align }) => p_type === PT_NOTE && p_align > 4n)
            .map(({ p_align }) => finding(`a PT_NOTE segment has p_align ${hex(p_align)}`, 'p_align')),
  },
  {
    id: 'notes.string-terminated',
    stage: 'notes',
    severity: 'note',
    checks: 'String descriptors end with a NUL inside the descriptor.',
    why: 'Xen reads up to a NUL wherever it stands; Linux writes FEATURES without one, and only the padding ends it.',
    cure: 'Rewrite the note with a NUL.',
    source: `${ELFNOTE}; ${DOMINFO}: elf_xen_parse_note`,
    check: ({ vmlinux }) =>
      (vmlinux?.notes ?? [])
        .filter(({ owner, value, desc }) => owner === 'Xen' && typeof value === 'string' && !desc.includes(0))
        .map(({ name, type, desc }) =>
          finding(
            `${name ?? `type ${type}`} has no NUL${desc.length % 4 === 0 ? ' and no padding behind it: Xen reads on into the next note' : ''}`,
            name ?? 'PT_NOTE',
          ),
        ),
  },
  {
    id: 'notes.string-runs-on',
    stage: 'notes',
    severity: 'error',
    checks: 'No string descriptor fills its padding without a NUL.',
    why: 'Xen reads the next note’s header as part of the string: a feature name becomes another one, and "!" makes it required.',
    cure: 'Rewrite the note with a NUL.',
    source: `${DOMINFO}: elf_xen_parse_note, elf_strval`,
    check: ({ vmlinux }) =>
      (vmlinux?.notes ?? [])
        .filter(
          ({ owner, value, desc }) =>
            owner === 'Xen' &&
            typeof value === 'string' &&
            desc.length > 0 &&
            desc.length % 4 === 0 &&
            !desc.includes(0),
        )
        .map(({ name }) => finding(`${name ?? 'a Xen note'} fills its padding without a NUL`, name ?? 'PT_NOTE')),
  },
  {
    id: 'notes.integer-size',
    stage: 'notes',
    severity: 'warning',
    checks: 'Integer descriptors have 1, 2, 4 or 8 bytes.',
    why: 'Xen takes any other size as zero.',
    cure: 'Rewrite the note.',
    source: 'xen/common/libelf/libelf-tools.c: elf_note_numeric',
    check: ({ vmlinux }) =>
      (vmlinux?.notes ?? [])
        .filter(
          ({ owner, type, desc }) =>
            owner === 'Xen' &&
            [1, 2, 3, 4, 12, 14, 15, 16, 17, 18].includes(type) &&
            ![1, 2, 4, 8].includes(desc.length),
        )
        .map(({ name, desc }) => finding(`${name ?? 'a Xen note'} has ${desc.length} bytes`, name ?? 'PT_NOTE')),
  },
  {
    id: 'notes.xen-any',
    stage: 'notes',
    severity: 'note',
    checks: 'There are notes named "Xen".',
    why: 'Without them the kernel is none for Xen.',
    cure: 'Build with CONFIG_XEN_PV or CONFIG_PVH.',
    source: ELFNOTE,
    check: ({ vmlinux }) =>
      vmlinux === null || vmlinux.notes.some(({ owner }) => owner === 'Xen')
        ? holds
        : [finding('there are no Xen notes', 'PT_NOTE')],
  },
  xenRule('no-notes', 'note', {
    checks: 'An x86 kernel has ELF notes or a __xen_guest section.',
    why: 'Xen: "Not a Xen-ELF image".',
    cure: 'Build with CONFIG_XEN_PV or CONFIG_PVH.',
    source: `${DOMINFO}: elf_xen_note_check`,
  }),
  xenRule('loader', 'note', {
    checks: 'LOADER begins with "generic" or GUEST_OS with "linux".',
    why: 'Xen builds PV domains for no other kernels.',
    cure: 'Build with CONFIG_XEN_PV.',
    source: `${DOMINFO}: elf_xen_note_check`,
  }),
  xenRule('version', 'note', {
    checks: 'XEN_VERSION begins with "xen-3.0".',
    why: 'Xen’s PV interface has had no other version since.',
    cure: 'Correct the note.',
    source: `${DOMINFO}: elf_xen_note_check`,
  }),
  xenRule('feature-unknown', 'error', {
    checks: 'Every required feature ("!name" in FEATURES) is one that Xen knows.',
    why: 'Xen rejects the kernel.',
    cure: 'Correct the note.',
    source: `${DOMINFO}: elf_xen_parse_features; xen/include/public/features.h`,
  }),
  xenRule('paddr-offset-without-virt-base', 'error', {
    checks: 'PADDR_OFFSET comes with VIRT_BASE.',
    why: 'Xen: "ELF_PADDR_OFFSET set, VIRT_BASE unset".',
    cure: 'Add the note VIRT_BASE.',
    source: `${DOMINFO}: elf_xen_addr_calc_check`,
  }),
  xenRule('bounds', 'error', {
    checks: 'virt_base <= kernel start <= entry <= kernel end, by ENTRY, VIRT_BASE and PADDR_OFFSET.',
    why: 'Xen: "ELF start or entries are out of bounds".',
    cure: 'Correct the notes ENTRY, VIRT_BASE and PADDR_OFFSET.',
    source: `${DOMINFO}: elf_xen_addr_calc_check`,
  }),
  xenRule('p2m-bounds', 'error', {
    checks: 'INIT_P2M lies outside the kernel.',
    why: 'Xen: "P->M table base is out of bounds".',
    cure: 'Correct the note INIT_P2M.',
    source: `${DOMINFO}: elf_xen_addr_calc_check`,
  }),
  {
    id: 'notes.xen-broken',
    stage: 'notes',
    severity: 'error',
    checks: 'Xen’s ELF library reads nothing outside the file.',
    why: 'The first such access marks the file as broken and the domain is not built.',
    cure: 'Copy the file again.',
    source: 'xen/common/libelf/libelf-tools.c: elf_access_ok (XSA-55)',
    check: (s) => {
      const xen = s.xen(false);
      return xen === null || xen.broken === null || xen.refusal !== null
        ? holds
        : [finding(`Xen calls the file broken: ${xen.broken}`, 'PT_NOTE')];
    },
  },
  {
    id: 'notes.xen-dom0',
    stage: 'notes',
    severity: 'note',
    checks: 'SUPPORTED_FEATURES, if given, has the bit dom0.',
    why: 'Xen: "Kernel does not support Dom0 operation".',
    cure: 'Build with CONFIG_XEN_DOM0.',
    source: 'xen/arch/x86/dom0_build.c',
    check: (s) => {
      const xen = s.xen(false);
      return xen?.supportedFeaturesNote === true && (xen.supported & DOM0) === 0
        ? [finding(`SUPPORTED_FEATURES is ${hex(xen.supported)}, without dom0`, 'XEN_ELFNOTE_SUPPORTED_FEATURES')]
        : holds;
    },
  },
  {
    id: 'notes.xen-not-dom0-only',
    stage: 'notes',
    severity: 'note',
    checks: 'FEATURES does not require dom0.',
    why: 'Xen’s toolstack refuses such a kernel for a domU.',
    cure: 'Remove "!dom0" from FEATURES.',
    source: 'tools/libs/guest/xg_dom_elfloader.c: xc_dom_parse_elf_kernel',
    check: (s) =>
      ((s.xen(false)?.required ?? 0) & DOM0) !== 0
        ? [finding('FEATURES requires dom0', 'XEN_ELFNOTE_FEATURES')]
        : holds,
  },
  {
    id: 'notes.xen-hypercall-page',
    stage: 'notes',
    severity: 'error',
    checks: 'HYPERCALL_PAGE, if given, lies inside the kernel.',
    why: 'Xen writes a page of code there: "Invalid HYPERCALL_PAGE field in ELF notes."',
    cure: 'Correct or remove the note; kernels since 2024 do without it.',
    source: 'xen/arch/x86/pv/dom0_build.c: dom0_construct',
    check: (s) => {
      const xen = s.xen(false);
      if (xen === null || xen.hypercallPage === null || xen.refusal !== null) return holds;
      // The region ends at least 512 KiB behind the kernel; what lies inside the kernel is inside the region.
      return xen.hypercallPage >= xen.virtBaseUsed && xen.hypercallPage < xen.virtKend
        ? holds
        : [finding(`HYPERCALL_PAGE is ${hex(xen.hypercallPage)}`, 'XEN_ELFNOTE_HYPERCALL_PAGE')];
    },
  },
  {
    id: 'notes.xen-p2m-usable',
    stage: 'notes',
    severity: 'warning',
    checks: 'INIT_P2M lies below VIRT_BASE and is page aligned.',
    why: 'Xen’s toolstack drops it silently and maps the list behind the kernel.',
    cure: 'Correct the note INIT_P2M.',
    source: 'tools/libs/guest/xg_dom_core.c: xc_dom_build_image',
    check: (s) => {
      const xen = s.xen(false);
      if (xen === null || xen.initP2m === null || xen.refusal !== null) return holds;
      return xen.initP2m < xen.virtBaseUsed && xen.initP2m % 4096n === 0n
        ? holds
        : [finding(`INIT_P2M is ${hex(xen.initP2m)}`, 'XEN_ELFNOTE_INIT_P2M')];
    },
  },
  {
    id: 'notes.xen-virt-base-aligned',
    stage: 'notes',
    severity: 'warning',
    checks: 'VIRT_BASE is page aligned.',
    why: 'pvgrub refuses another one.',
    cure: 'Correct the note VIRT_BASE.',
    source: 'GRUB, grub-core/loader/i386/xen_fileXX.c',
    check: (s) => {
      const base = s.xen(false)?.virtBase ?? null;
      return base === null || base % 4096n === 0n
        ? holds
        : [finding(`VIRT_BASE is ${hex(base)}`, 'XEN_ELFNOTE_VIRT_BASE')];
    },
  },
  {
    id: 'notes.xen-loader-exact',
    stage: 'notes',
    severity: 'note',
    checks: 'LOADER is exactly "generic".',
    why: 'pvgrub compares the whole word.',
    cure: 'Correct the note LOADER.',
    source: 'GRUB, grub-core/loader/i386/xen_fileXX.c',
    check: (s) => {
      const xen = s.xen(false);
      return xen === null || xen.loader === 'generic'
        ? holds
        : [finding(`LOADER is "${xen.loader}"`, 'XEN_ELFNOTE_LOADER')];
    },
  },
  {
    id: 'notes.xen-32-pae',
    stage: 'notes',
    severity: 'note',
    checks: 'A 32-bit kernel with Xen PV notes has a PAE_MODE other than "no".',
    why: 'Xen has had no other 32-bit PV interface since 2010.',
    cure: 'Build with CONFIG_X86_PAE.',
    source: 'xen/arch/x86/pv/dom0_build.c: dom0_construct',
    check: (s) => {
      const xen = s.xen(false);
      return xen === null || xen.bits === 64 || xen.refusal !== null || xen.pae !== 'no'
        ? holds
        : [finding('PAE_MODE is missing or "no"', 'XEN_ELFNOTE_PAE_MODE')];
    },
  },
  {
    id: 'notes.pvh',
    stage: 'notes',
    severity: 'note',
    checks: 'There is a PHYS32_ENTRY note.',
    why: 'Hypervisors start an ELF kernel by it (PVH).',
    cure: 'Build with CONFIG_PVH.',
    source: `${ELFNOTE}: XEN_ELFNOTE_PHYS32_ENTRY`,
    check: ({ vmlinux }) =>
      vmlinux === null || findNote(vmlinux.notes, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY) !== null
        ? holds
        : [finding('there is no PHYS32_ENTRY note', 'XEN_ELFNOTE_PHYS32_ENTRY')],
  },
  {
    id: 'notes.pvh-entry',
    stage: 'notes',
    severity: 'error',
    checks: 'PHYS32_ENTRY (a physical address) points into a segment’s file bytes, and there is code.',
    why: 'The first instruction would be zeroes or nothing.',
    cure: 'Correct the note PHYS32_ENTRY.',
    source: `${ELFNOTE}: XEN_ELFNOTE_PHYS32_ENTRY`,
    check: ({ vmlinux }) => {
      const entry = vmlinux === null ? null : noteNumber(vmlinux.notes, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY);
      return vmlinux === null || entry === null || entryFacts(vmlinux.elf, entry, false).code
        ? holds
        : [finding(`there is no code at PHYS32_ENTRY ${hex(entry)}`, 'XEN_ELFNOTE_PHYS32_ENTRY')];
    },
  },
  {
    id: 'notes.pvh-size',
    stage: 'notes',
    severity: 'error',
    checks: 'PHYS32_ENTRY has 4 or 8 bytes.',
    why: 'linux-loader refuses fewer than 4 ("invalid PVH note"), Xen takes other sizes as zero.',
    cure: 'Rewrite the note.',
    source: `${ELFNOTE}: XEN_ELFNOTE_PHYS32_ENTRY`,
    check: ({ vmlinux }) => {
      const note = vmlinux === null ? null : findNote(vmlinux.notes, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY);
      return note === null || note.desc.length === 4 || note.desc.length === 8
        ? holds
        : [finding(`PHYS32_ENTRY has ${note.desc.length} bytes`, 'XEN_ELFNOTE_PHYS32_ENTRY')];
    },
  },
  {
    id: 'notes.pvh-by-p-align',
    stage: 'notes',
    severity: 'note',
    checks: 'Walking the notes with p_align as padding finds PHYS32_ENTRY too.',
    why: 'QEMU walks so; it then misses the note: "Error loading uncompressed kernel without PVH ELF Note".',
    cure: 'Remove the 8-aligned note: `objcopy --remove-section .note.gnu.property`.',
    source: 'QEMU include/hw/elf_ops.h: get_elf_note_type',
    check: (s) => {
      if (s.vmlinux === null || findNote(s.vmlinux.notes, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY) === null || s.elf === null)
        return holds;
      return pvhEntryByAlignment(s.elf) !== null
        ? holds
        : [finding('padding by p_align hides PHYS32_ENTRY', 'p_align')];
    },
  },
  {
    id: 'notes.pvh-in-last-segment',
    stage: 'notes',
    severity: 'note',
    checks: 'The last PT_NOTE segment holds PHYS32_ENTRY.',
    why: 'linux-loader forgets what an earlier PT_NOTE segment said.',
    cure: 'Merge the note segments.',
    source: 'rust-vmm linux-loader, src/loader/elf/mod.rs: parse_elf_note',
    check: (s) => {
      if (s.elf === null || s.vmlinux === null || findNote(s.vmlinux.notes, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY) === null)
        return holds;
      const last = s.elf.programHeaders.findLast(({ p_type }) => p_type === PT_NOTE);
      const note = findNote(s.vmlinux.notes, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY);
      if (last === undefined || note === null) return holds;
      const at = BigInt(note.offset);
      return at >= last.p_offset && at < last.p_offset + last.p_filesz
        ? holds
        : [finding('a later PT_NOTE segment hides PHYS32_ENTRY', 'PT_NOTE')];
    },
  },
  {
    id: 'notes.phys32-reloc',
    stage: 'notes',
    severity: 'error',
    checks:
      'PHYS32_RELOC has 0, 4, 8 or 12 bytes, a power-of-two alignment and a lowest address not above the highest.',
    why: 'Xen moves the kernel by it and checks nothing: a zero alignment divides by nothing.',
    cure: 'Correct the note PHYS32_RELOC.',
    source: 'xen/arch/x86/hvm/dom0_build.c: find_kernel_memory',
    check: ({ vmlinux }) => {
      const note = vmlinux === null ? null : findNote(vmlinux.notes, 'Xen', XEN_ELFNOTE_PHYS32_RELOC);
      if (note === null) return holds;
      const { desc, value } = note;
      const [align, low, high] = Array.isArray(value) ? (value as readonly bigint[]) : [];
      const sized = desc.length <= 12 && desc.length % 4 === 0;
      const ordered = low === undefined || high === undefined || low <= high;
      return sized && ordered && (align === undefined || (isPowerOfTwo(align) && align >= 4096n))
        ? holds
        : [
            finding(
              `PHYS32_RELOC is ${desc.length} bytes${align === undefined ? '' : `, alignment ${hex(align)}`}`,
              'XEN_ELFNOTE_PHYS32_RELOC',
            ),
          ];
    },
  },
  {
    id: 'notes.segment-in-load',
    stage: 'notes',
    severity: 'note',
    checks: 'Note segments lie inside a loadable segment.',
    why: 'A running kernel shows its notes in /sys/kernel/notes only then.',
    cure: 'Link the notes into a loadable segment.',
    source: 'arch/x86/kernel/vmlinux.lds.S',
    check: (s) => {
      if (s.elf === null) return holds;
      const { programHeaders } = s.elf;
      return programHeaders
        .filter(({ p_type, p_filesz }) => p_type === PT_NOTE && p_filesz > 0n)
        .filter(
          (note) =>
            !programHeaders.some(
              (load) =>
                load.p_type === PT_LOAD &&
                load.p_offset <= note.p_offset &&
                note.p_offset + note.p_filesz <= load.p_offset + load.p_filesz,
            ),
        )
        .map(() => finding('a PT_NOTE segment lies outside the loadable ones', 'PT_NOTE'));
    },
  },
];
