import { hex } from '../../bytes/numbers.js';
import { PF_X, PT_LOAD, PT_NOTE } from '../../elf/definitions.js';
import { finding, holds, type RuleTable } from '../finding.js';
import type { StageElf } from '../../bzimage/boot-image.js';
import type { ProgramHeader } from '../../elf/elf-file.js';

const SOURCE = 'docs/format.md, "Stage ELF"';

const loads = (stage: StageElf): readonly ProgramHeader[] =>
  stage.elf.programHeaders.filter(({ p_type }) => p_type === PT_LOAD);

/** An ELF file around the protected-mode stage. */
export const STAGE_ELF_RULES: RuleTable = [
  {
    id: 'stage-elf.parse',
    stage: 'stage-elf',
    severity: 'error',
    checks:
      'The ELF file around the protected-mode stage parses and has a loadable segment whose bytes lie inside the file.',
    why: 'Nobody can obey its program headers.',
    cure: 'Pack the image again.',
    source: SOURCE,
    check: ({ image }) => {
      const stage = image.stageElf;
      if (stage === null) return holds;
      const [defect] = stage.elf.defects;
      if (defect !== undefined) return [finding(defect.message, defect.field ?? null, defect.offset ?? stage.offset)];
      const all = loads(stage);
      if (all.length === 0) return [finding('there is no PT_LOAD segment', 'p_type', stage.offset)];
      return all
        .filter(
          ({ p_offset, p_filesz, p_memsz }) =>
            p_offset + p_filesz > BigInt(stage.elf.view.length) || p_filesz > p_memsz,
        )
        .map(({ p_offset, p_filesz }) =>
          finding(`a segment takes ${hex(p_filesz)} bytes at ${hex(p_offset)}`, 'p_offset', stage.offset),
        );
    },
  },
  {
    id: 'stage-elf.entry',
    stage: 'stage-elf',
    severity: 'error',
    checks: 'e_entry lies inside the file bytes of an executable segment.',
    why: 'It is the 32-bit entry.',
    cure: 'Pack the image again.',
    source: SOURCE,
    check: ({ image }) => {
      const stage = image.stageElf;
      if (stage === null || loads(stage).length === 0) return holds;
      const entry = stage.elf.header.e_entry;
      return loads(stage).some(
        ({ p_flags, p_paddr, p_filesz }) => (p_flags & PF_X) !== 0 && entry >= p_paddr && entry < p_paddr + p_filesz,
      )
        ? holds
        : [finding(`e_entry ${hex(entry)} lies in no executable segment`, 'e_entry', stage.offset + 24)];
    },
  },
  {
    id: 'stage-elf.init-size',
    stage: 'stage-elf',
    severity: 'error',
    checks: 'The segments claim exactly init_size bytes.',
    why: 'They promise the memory that decompression needs; less is overwritten, more is overmapping.',
    cure: 'Pack the image again.',
    source: SOURCE,
    check: (s) => {
      const stage = s.image.stageElf;
      const size = s.number('init_size');
      if (stage === null || size === null || loads(stage).length === 0) return holds;
      const low = loads(stage).reduce((least, { p_paddr }) => (p_paddr < least ? p_paddr : least), 1n << 64n);
      const high = loads(stage).reduce(
        (most, { p_paddr, p_memsz }) => (p_paddr + p_memsz > most ? p_paddr + p_memsz : most),
        0n,
      );
      return high - low === BigInt(size)
        ? holds
        : [finding(`the segments claim ${hex(high - low)}, init_size is ${hex(size)}`, 'p_memsz', stage.offset)];
    },
  },
  {
    id: 'stage-elf.code32-start',
    stage: 'stage-elf',
    severity: 'error',
    checks: 'code32_start points past the ELF headers, at e_entry.',
    why: 'The native path would run the ELF header as code.',
    cure: 'Pack the image again.',
    source: SOURCE,
    check: (s) => {
      const stage = s.image.stageElf;
      const start = s.number('code32_start');
      const [first] = stage === null ? [] : loads(stage);
      if (stage === null || start === null || first === undefined) return holds;
      const { header } = stage.elf;
      const headers = header.e_phoff + BigInt(header.e_phnum * header.e_phentsize);
      const offset = BigInt(start) - 0x100000n;
      return offset >= headers && header.e_entry - first.p_paddr + first.p_offset === offset
        ? holds
        : [
            finding(
              `code32_start is ${hex(start)}, the headers end at ${hex(headers)}, e_entry is ${hex(header.e_entry)}`,
              'code32_start',
              s.offsetOf('code32_start'),
            ),
          ];
    },
  },
  {
    id: 'stage-elf.notes',
    stage: 'stage-elf',
    severity: 'note',
    checks: 'A PT_NOTE repeats the kernel’s notes.',
    why: 'A loader can judge by them without decompressing.',
    cure: 'Pack the image again.',
    source: SOURCE,
    check: ({ image, vmlinux }) =>
      image.stageElf === null ||
      vmlinux === null ||
      vmlinux.notes.length === 0 ||
      image.stageElf.elf.programHeaders.some(({ p_type }) => p_type === PT_NOTE)
        ? holds
        : [finding('there is no PT_NOTE', 'p_type', image.stageElf.offset)],
  },
];
