import type { ByteView } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { isElf, readElf } from '../elf/read-elf.js';
import type { FileRange, StageElf } from './boot-image.js';
import type { ProblemList } from './problems.js';

/**
 * The layout that boot protocol 2.07's proposal described: behind the setup sectors follows an ELF file whose program
 * headers describe the protected-mode stage. Null if there is none; damage in it becomes a problem.
 */
export function readStageElf(file: ByteView, protectedMode: FileRange | null, problems: ProblemList): StageElf | null {
  if (protectedMode === null) return null;
  const { offset, length } = protectedMode;
  if (!isElf(file, offset)) return null;
  try {
    const elf = readElf(file.view(offset, length), { tolerant: true });
    for (const defect of elf.defects) problems.addError('warning', 'stage-elf', defect);
    return { offset, elf };
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
    problems.addError('warning', 'stage-elf', error);
    return null;
  }
}
