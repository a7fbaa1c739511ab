import { ByteView } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { isElf, readElf } from '../elf/read-elf.js';
import { iterateNotes, noteViews } from '../elf/notes.js';
import { defineStruct } from '../bytes/struct.js';
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

/** The note of a stage ELF that says where its payload lies, when payload_offset and payload_length do not. */
export const STAGE_PAYLOAD_OWNER = 'bzelf';
export const STAGE_PAYLOAD_TYPE = 1;

/** Its descriptor. */
export const STAGE_PAYLOAD_NOTE = defineStruct('stage payload note', 8, 'docs/format.md, "Stage ELF"', [
  { name: 'offset', offset: 0, type: 'u32', shown: 'hex', doc: 'of the payload, from the start of the stage' },
  { name: 'length', offset: 4, type: 'u32', doc: 'bytes, with the size word' },
]);

/** The payload that a stage ELF's own note names, as a file range; null if there is no such note or it does not parse. */
export function stagePayload(stage: StageElf): FileRange | null {
  try {
    for (const view of noteViews(stage.elf)) {
      for (const { owner, type, desc } of iterateNotes(view)) {
        if (owner !== STAGE_PAYLOAD_OWNER || type !== STAGE_PAYLOAD_TYPE) continue;
        const { offset, length } = STAGE_PAYLOAD_NOTE.read(new ByteView(desc));
        return stage.elf.view.has(offset, length) ? { offset: stage.offset + offset, length } : null;
      }
    }
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
  }
  return null;
}
