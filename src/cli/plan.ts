/** The `plan` command: what goes where, and how the CPU starts. */
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

export async function runPlan(path: string, options: PlanCommandOptions, io: CliIo): Promise<number> {
  const { plan } = await preparePlan(path, options, '');
  if (options.elf !== undefined) {
    writeFileAtomically(options.elf, wrapPlan(plan));
    io.note(`${options.elf}: for multiboot and PVH loaders, on a machine with the same memory`);
  }
  if (options.ram !== undefined) {
    await writeRamImage(plan, options.ram);
    io.note(`${options.ram}: memory, ${options.ram}.json: everything else`);
  }
  if (io.asJson) io.json(planToJson(plan));
  else io.out(`${drawPlan(plan, io.width, io).join('\n')}\n`);
  return 0;
}
