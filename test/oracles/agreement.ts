/** Verdicts against real behaviour: what a loader really does with an image, beside what verification says. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { demoInitramfs } from '../../src/cpio/initramfs.js';
import { verifyFor } from '../../src/verify/judge.js';
import type { LoaderId } from '../../src/verify/loader.js';
import { createSubject } from '../../src/verify/subject.js';
import { bootAndWatch } from '../matrix/boot.js';
import { ROWS, type Bench } from '../matrix/rows.js';
import { missingPackages, TOOLS } from '../matrix/tools.js';
import { cachedKernel } from '../../scripts/debian-kernel.mjs';
import { corpusFile } from '../kernels/corpus.js';
import { BOOT_MUTATIONS, ELF_MUTATIONS, mutated, type Mutation } from './mutations.js';

const COMMAND_LINE = 'console=ttyS0,115200 earlyprintk=serial,ttyS0,115200 panic=-1';

/** How many times longer an image gets that is said to start. */
const PATIENCE = 5;

type Prepare = (bench: Bench) => { readonly program: string; readonly args: readonly string[] };

export interface Oracle {
  readonly name: string;
  /** Whose verdict is compared. */
  readonly loader: LoaderId;
  /** The corpus kernel that is changed. */
  readonly kernel: string;
  /** True if it gets the ELF kernel alone. */
  readonly bare: boolean;
  readonly mutations: readonly Mutation[];
  /** Seconds after which a guest that is said not to start is given up. */
  readonly limit: number;
  readonly prepare: Prepare;
  /** Packages, or something else, that is missing here. */
  readonly missing: readonly string[];
}

function fromRow(row: string): Pick<Oracle, 'prepare' | 'missing'> {
  const found = ROWS.find(({ name }) => name === row);
  if (found === undefined) throw new Error(`the matrix has no row ${row}`);
  return { prepare: found.prepare, missing: missingPackages(found.tools) };
}

const v86: Prepare = ({ subject, initrd }) => ({
  program: process.execPath,
  args: [join(import.meta.dirname, 'v86-bzimage.mjs'), subject.path, initrd, COMMAND_LINE],
});

const kexec = fromRow('kexec-file');
const boot64 = { kernel: 'k64-gzip', bare: false, mutations: BOOT_MUTATIONS, limit: 20 } as const;

export const ORACLES: readonly Oracle[] = [
  { name: 'qemu', loader: 'qemu', ...boot64, ...fromRow('qemu-kernel') },
  { name: 'grub', loader: 'grub', ...boot64, ...fromRow('grub-linux') },
  { name: 'grub16', loader: 'grub16', ...boot64, ...fromRow('grub-linux16') },
  { name: 'isolinux', loader: 'syslinux', ...boot64, ...fromRow('isolinux') },
  {
    name: 'kexec-file',
    loader: 'kexec-file',
    ...boot64,
    limit: 35,
    ...kexec,
    missing: cachedKernel('cloud-amd64') === null ? [...kexec.missing, 'a Debian kernel'] : kexec.missing,
  },
  {
    name: 'v86',
    loader: 'v86',
    ...boot64,
    kernel: 'k32-gzip',
    prepare: v86,
    missing: missingPackages([TOOLS.seabios]),
  },
  {
    name: 'qemu-elf',
    loader: 'qemu',
    kernel: 'k64-gzip',
    bare: true,
    mutations: ELF_MUTATIONS,
    limit: 20,
    ...fromRow('qemu-kernel'),
  },
];

/** True if this oracle can be asked here. */
export function available(oracle: Oracle): boolean {
  return oracle.missing.length === 0 && corpusFile(`${oracle.kernel}.bzImage`) !== null;
}

export interface Comparison {
  readonly accepts: boolean;
  /** The first reason, if it does not accept. */
  readonly rule: string | null;
  /** True if user space was reached. */
  readonly boots: boolean;
  readonly note: string;
}

export async function compare(oracle: Oracle, mutation: Mutation): Promise<Comparison> {
  const bytes = await mutated(oracle.kernel, mutation, oracle.bare);
  const [verdict] = verifyFor(await createSubject(readBootImage(bytes)), [oracle.loader]).verdicts;
  if (verdict === undefined) throw new Error(`no verdict for ${oracle.loader}`);
  const work = mkdtempSync(join(tmpdir(), 'bzelf-oracle-'));
  try {
    const bits = oracle.kernel.startsWith('k32') ? 32 : 64;
    const path = join(work, 'kernel');
    const initrd = join(work, 'initrd');
    writeFileSync(path, bytes);
    writeFileSync(initrd, demoInitramfs(bits));
    const place = join(work, 'row');
    if (!existsSync(place)) mkdirSync(place);
    const subject = { path, bits, hasXenNote: () => true } as const;
    const command = oracle.prepare({ subject, initrd, work: place, install: false });
    let outcome = await bootAndWatch(command, oracle.limit);
    // A busy host (slow, or late with the guest's timer) is no reason to call an image dead that should live.
    for (let again = 0; verdict.accepts && !outcome.passed && again < 2; again++) {
      outcome = await bootAndWatch(command, oracle.limit * PATIENCE);
    }
    return {
      accepts: verdict.accepts,
      rule: verdict.reason?.rule ?? null,
      boots: outcome.passed,
      note: outcome.note,
    };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
