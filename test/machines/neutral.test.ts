/** One plan, three machines that have nothing in common: v86, QEMU, and a multiboot loader that gets it as an ELF file. */
import { describe, expect, it } from 'vitest';
import { wrapPlan } from '../../src/machines/wrapper/elf-wrapper.js';
import { createNodeV86Machine } from '../../src/machines/v86/node.js';
import { runQemu } from '../guest/qemu.js';
import { corpusFile, readCorpus } from '../kernels/corpus.js';
import { boot, haveQemu, openKernel, planFor, QUIET } from './guests.js';

/** What the guest says of itself, without what its clock says. */
function saidBy(console: string): string[] {
  const lines = console.replaceAll('\r', '').split('\n');
  return lines.filter((line) => /^(INIT-OK|cmdline|INIT-END)/.test(line));
}

/** The kernel's view of what the plan told it: its own version, command line, memory map, initrd and place. */
function toldBy(console: string): string[] {
  const told = /(Linux version .*|BIOS-e820: .*|Command line: .*|RAMDISK: .*|Kernel Offset.*)/;
  return console
    .replaceAll('\r', '')
    .split('\n')
    .flatMap((line) => told.exec(line)?.[1] ?? []);
}

describe.runIf(haveQemu && corpusFile('k32-gzip.bzImage') !== null)('one plan', () => {
  it('starts the same guest on v86, in QEMU and through the ELF wrapper', async () => {
    const kernel = await openKernel(readCorpus('k32-gzip.bzImage'));
    const plan = planFor(kernel, { kaslr: { seed: 'neutral' }, commandLine: `earlyprintk=serial,ttyS0 ${QUIET}` });
    const consoles = {
      v86: (await boot(plan, createNodeV86Machine())).text,
      qemu: (await boot(plan)).text,
      elf: await runQemu({ kernel: wrapPlan(plan) }, /INIT-END/),
    };
    const said = saidBy(consoles.v86);
    expect(said).toHaveLength(3);
    expect(saidBy(consoles.qemu)).toEqual(said);
    expect(saidBy(consoles.elf)).toEqual(said);
    const told = toldBy(consoles.v86);
    expect(told.length).toBeGreaterThan(6);
    expect(toldBy(consoles.qemu)).toEqual(told);
    expect(toldBy(consoles.elf)).toEqual(told);
  });
});
