import type { ByteView } from '../bytes/byte-view.js';
import { hex } from '../bytes/numbers.js';
import type { FileRange } from './boot-image.js';
import type { ProblemList } from './problems.js';
import { setupField, type SetupHeader } from './setup-header.js';

export const SECTOR = 512;
export const PARAGRAPH = 16;
const SYSSIZE_KNOWN = 0x0204;

/** The two stages that every image with a setup header has. */
export interface SetupStages {
  readonly setup: FileRange;
  /**
   * To the end of the file, which is what loaders load; syssize says how much of it is the kernel's. Null if the file
   * ends within the setup part.
   */
  readonly protected_mode: FileRange | null;
}

/**
 * One past the last byte that belongs to the kernel: what syssize says, or the file's end where it cannot say it
 * (before 2.04 the field has 16 bits) or says too much. What follows is a signature, or was appended by someone.
 */
export function kernelEnd(file: ByteView, setup: SetupHeader, protectedMode: FileRange): number {
  const { syssize } = setup.values;
  const end = protectedMode.offset + (syssize ?? 0) * PARAGRAPH;
  return setup.version < SYSSIZE_KNOWN || syssize === undefined || syssize === 0
    ? file.length
    : Math.min(end, file.length);
}

/** Divides the file by setup_sects and holds syssize against what is there. */
export function readStages(file: ByteView, setup: SetupHeader, problems: ProblemList): SetupStages {
  const setupLength = (setup.setupSects + 1) * SECTOR;
  if (setupLength >= file.length) {
    problems.add(
      'error',
      'setup-truncated',
      `the setup part takes ${setupLength} bytes, and the kernel follows it, but the file has ${file.length}`,
      setupField('setup_sects').offset,
      'setup_sects',
    );
    return { setup: { offset: 0, length: Math.min(setupLength, file.length) }, protected_mode: null };
  }
  const protectedMode = { offset: setupLength, length: file.length - setupLength };
  const { syssize = 0 } = setup.values;
  const complain = (severity: 'error' | 'warning', id: string, message: string): void =>
    problems.add(severity, id, message, setupField('syssize').offset, 'syssize');
  if (setup.version < SYSSIZE_KNOWN) {
    // Only the low 16 bits are known: they must agree with the file's length, which may not be a multiple of 16.
    const paragraphs = Math.ceil(protectedMode.length / PARAGRAPH);
    if (syssize !== 0 && ((syssize - paragraphs) & 0xffff) !== 0) {
      complain(
        'warning',
        'syssize-mismatch',
        `syssize is ${syssize}; the file has ${paragraphs} paragraphs behind the setup part (${paragraphs & 0xffff} in 16 bits)`,
      );
    }
  } else if (syssize === 0) {
    complain('warning', 'syssize-zero', 'syssize is 0: loaders that go by it load nothing');
  } else if (syssize * PARAGRAPH >= protectedMode.length + PARAGRAPH) {
    complain(
      'error',
      'file-truncated',
      `syssize promises ${syssize * PARAGRAPH} bytes behind the setup part (up to ${hex(setupLength + syssize * PARAGRAPH)}); the file has ${protectedMode.length}`,
    );
  }
  return { setup: { offset: 0, length: setupLength }, protected_mode: protectedMode };
}
