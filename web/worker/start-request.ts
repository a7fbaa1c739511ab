/** From what the user chose to what the planner is asked. */
import { demoInitramfs, parseMemorySize, pcMemoryMap, type PlanRequest } from '../../src/index.js';
import type { StartChoice } from '../protocol.js';
import { readFile } from './files.js';

/** Makes the demo's init stay and take commands. */
const SHELL = 'bzelf.shell';

async function initrdOf(choice: StartChoice, bits: 32 | 64 | null): Promise<Uint8Array | null> {
  switch (choice.initrd) {
    case 'none':
      return null;
    case 'demo':
    case 'shell':
      return demoInitramfs(bits ?? 32);
    default:
      return readFile(choice.initrd);
  }
}

/**
 * @param bits the kernel's word size, which the demo initramfs must have, too.
 * @throws BootImageError `bad-argument`, `file-unreadable`
 */
export async function startRequest(choice: StartChoice, bits: 32 | 64 | null): Promise<PlanRequest> {
  const { stage, protocol, memory, commandLine, kaslrSeed, role } = choice;
  const initrd = await initrdOf(choice, bits);
  return {
    stage,
    memory: pcMemoryMap(parseMemorySize(memory)),
    commandLine: choice.initrd === 'shell' ? `${commandLine} ${SHELL}` : commandLine,
    ...(protocol === null ? {} : { protocol }),
    ...(protocol === 'xen-pv' ? { role } : {}),
    ...(initrd === null ? {} : { initrd }),
    ...(kaslrSeed === null ? {} : { kaslr: { seed: kaslrSeed === '' ? null : kaslrSeed } }),
  };
}
