/**
 * A stage ELF's headers against memory, at the moment when the image's own setup enters the protected-mode part:
 * every loader of the boot protocol has put the file's bytes there flat, without a look at the program headers.
 */
import { PT_LOAD } from '../elf/definitions.js';
import type { StageElf } from '../bzimage/boot-image.js';
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
