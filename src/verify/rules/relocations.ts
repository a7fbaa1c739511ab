import { finding, holds, type RuleTable } from '../finding.js';

const SOURCE = 'arch/x86/boot/compressed/misc.c: handle_relocations; arch/x86/tools/relocs.c';

/** The relocation table behind the ELF file. */
export const RELOCATION_RULES: RuleTable = [
  {
    id: 'relocations.parse',
    stage: 'relocations',
    severity: 'error',
    checks: 'What follows the ELF file is a relocation table: groups of 32-bit words, each led by a zero.',
    why: 'The decompressor reads it backwards from the end and stops at the zeroes.',
    cure: 'Copy the file again.',
    source: SOURCE,
    check: (s) => {
      const problem = s.vmlinux?.problems.find(({ id }) => id.startsWith('relocations'));
      return problem === undefined ? holds : [finding(problem.message, problem.field, problem.offset)];
    },
  },
  {
    id: 'relocations.in-segments',
    stage: 'relocations',
    severity: 'error',
    checks: 'Each relocated address lies inside the file bytes of a segment.',
    why: 'The decompressor stops: "32-bit relocation outside of kernel!".',
    cure: 'Take the table from the same build as the kernel.',
    source: SOURCE,
    check: (s) => {
      const { outside } = s.relocationFacts;
      return outside === null
        ? holds
        : [finding(`the relocation at ${outside} points outside the kernel`, 'relocations')];
    },
  },
  {
    id: 'relocations.sorted',
    stage: 'relocations',
    severity: 'warning',
    checks: 'The addresses of each group ascend.',
    why: 'The kernel’s tool sorts them; a table out of order comes from somewhere else, and applying one twice shifts twice.',
    cure: 'Take the table from the same build as the kernel.',
    source: SOURCE,
    check: (s) => {
      const { unsorted } = s.relocationFacts;
      return unsorted === null
        ? holds
        : [finding(`the relocation at ${unsorted} is not above the one before it`, 'relocations')];
    },
  },
  {
    id: 'relocations.present',
    stage: 'relocations',
    severity: 'note',
    checks: 'There is a relocation table.',
    why: 'A 32-bit kernel cannot move without one, a 64-bit kernel cannot have its virtual address randomised.',
    cure: 'Build with CONFIG_RANDOMIZE_BASE (64-bit) or CONFIG_RELOCATABLE (32-bit).',
    source: SOURCE,
    check: (s) =>
      s.vmlinux === null || s.vmlinux.elfBytes.length < s.vmlinux.raw.length
        ? holds
        : [finding('there is no relocation table')],
  },
];
