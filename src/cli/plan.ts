/** The `plan` command: what goes where, and how the CPU starts. */
import { BootImageError } from '../bytes/error.js';
import { ramEnd } from '../boot/memory-map.js';
import type { BootPlan } from '../boot/plan.js';
import { planToJson } from '../boot/plan-json.js';
import { writeRegionsInTurns } from '../machines/ram-file/write-regions.js';
import { wrapPlan } from '../machines/wrapper/elf-wrapper.js';
import { writeFileAtomically, writeSparseFileAtomically } from '../node/files.js';
import { toJson, type CliIo, type CommonOptions } from './io.js';
import type { PlanOptions } from './options.js';
import { drawPlan } from './plan-drawing.js';
import { preparePlan } from './prepare-plan.js';

export interface PlanCommandOptions extends CommonOptions, PlanOptions {
  readonly ram?: string;
  readonly elf?: string;
}

/** RAM from address 0 to its end, holes where the plan has nothing; the CPU's state and the rest beside it as JSON. */
async function writeRamImage(plan: BootPlan, path: string): Promise<void> {
  await writeSparseFileAtomically(path, Number(ramEnd(plan.memory)), (fd) => writeRegionsInTurns(fd, plan.regions));
  writeFileAtomically(`${path}.json`, new TextEncoder().encode(`${toJson(planToJson(plan))}\n`));
}

function checkOptions({ ram, elf }: PlanCommandOptions, io: CliIo): void {
  const refuse = (field: string, message: string, hint: string): never => {
    throw new BootImageError('bad-argument', message, { field, hint });
  };
  if (ram === '-') refuse('--ram', 'a RAM image needs a file name', 'use --ram FILE');
  if (elf !== '-') return;
  if (io.asJson) refuse('--json', 'standard output cannot take both JSON and the ELF file', 'use --elf FILE');
  if (process.stdout.isTTY)
    refuse('--elf', 'the ELF file is binary and standard output is a terminal', 'use --elf FILE, or --elf - | ...');
}

export async function runPlan(path: string, options: PlanCommandOptions, io: CliIo): Promise<number> {
  checkOptions(options, io);
  const { ram, elf } = options;
  const { plan } = await preparePlan(path, options, '');
  if (elf !== undefined) {
    writeFileAtomically(elf, wrapPlan(plan));
    if (elf !== '-') io.note(`${elf}: for multiboot and PVH loaders, on a machine with the same memory`);
  }
  if (ram !== undefined) {
    await writeRamImage(plan, ram);
    io.note(`${ram}: memory, ${ram}.json: everything else`);
  }
  if (elf === '-') return 0;
  if (io.asJson) io.json(planToJson(plan));
  else io.out(`${drawPlan(plan, io.width, io).join('\n')}\n`);
  return 0;
}
