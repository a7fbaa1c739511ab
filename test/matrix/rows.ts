/** The loaders of the harness, one row each. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { artifactBytes } from '../../guest/artifact.js';
import { kexec64 } from '../../guest/built/kexec64.js';
import { cachedKernel, fetchKernel } from '../../scripts/debian-kernel.mjs';
import { writeCpio } from '../../src/cpio/newc.js';
import type { Command } from './boot.js';
import { grubIso, isolinuxIso } from './media.js';
import { XEN_ELFNOTE, type Subject } from './subject.js';
import { findXen, TOOLS, type Tool } from './tools.js';

export interface Bench {
  readonly subject: Subject;
  readonly initrd: string;
  /** A directory of this row's own. */
  readonly work: string;
  /** Whether something may be fetched from Debian. */
  readonly install: boolean;
}

/** The row cannot be run here; the message says why. */
export class Skipped extends Error {}

export interface Row {
  readonly name: string;
  /** How the image is entered. */
  readonly protocol: string;
  readonly tools: readonly Tool[];
  /** Why this row says nothing about such an image; null if it does. */
  readonly notFor?: (subject: Subject) => string | null;
  readonly prepare: (bench: Bench) => Command;
}

const COMMAND_LINE = 'console=ttyS0,115200 earlyprintk=serial,ttyS0,115200 panic=-1';
const BZELF = join(import.meta.dirname, '../../bin/bzelf');

function qemu(memory: number, ...args: readonly string[]): Command {
  return {
    program: 'qemu-system-x86_64',
    args: [
      ...['-accel', 'tcg', '-cpu', 'qemu64', '-m', String(memory), '-nic', 'none', '-no-user-config', '-no-reboot'],
      ...['-display', 'none', '-monitor', 'none', '-serial', 'stdio', ...args],
    ],
  };
}

const only64 = ({ bits }: Subject): string | null => (bits === 64 ? null : 'a 32-bit kernel');

function needsNote(type: number, name: string): (subject: Subject) => string | null {
  return (subject) => (subject.hasXenNote(type) ? null : `the kernel has no ${name} note`);
}

const GRUB_TOOLS = [TOOLS.qemu, TOOLS.seabios, TOOLS.grub, TOOLS.grubBios, TOOLS.xorriso];

/** QEMU wants commas in a list of modules doubled. */
const comma = (text: string): string => text.replaceAll(',', ',,');

function kexec({ subject, initrd, work, install }: Bench): Command {
  const helper = install ? fetchKernel('cloud-amd64') : cachedKernel('cloud-amd64');
  if (helper === null) throw new Skipped('needs a running kernel to start from: npm run kernels -- cloud-amd64');
  const archive = join(work, 'kexec.cpio');
  writeFileSync(
    archive,
    writeCpio([
      { name: 'dev', type: 'directory' },
      { name: 'dev/console', type: 'character', mode: 0o600, device: [5, 1] },
      { name: 'kexec', type: 'directory' },
      { name: 'kexec/kernel', type: 'file', data: readFileSync(subject.path) },
      { name: 'kexec/initrd', type: 'file', data: readFileSync(initrd) },
      { name: 'kexec/cmdline', type: 'file', data: new TextEncoder().encode(COMMAND_LINE) },
      { name: 'init', type: 'file', mode: 0o755, data: artifactBytes(kexec64) },
    ]),
  );
  return qemu(1024, '-kernel', helper, '-initrd', archive, '-append', `${COMMAND_LINE} quiet`);
}

function xenDom0({ subject, initrd, work, install }: Bench): Command {
  const compressed = findXen(install);
  if (compressed === null) throw new Skipped('needs Xen: npm run kernels -- xen');
  const xen = join(work, 'xen');
  writeFileSync(xen, gunzipSync(readFileSync(compressed)));
  // A kernel without CONFIG_XEN_DOM0 shows nothing on hvc0, but its log comes through.
  const options = 'console=hvc0 earlyprintk=xen panic=-1 printk.devkmsg=on bzelf.kmsg';
  return qemu(
    1024,
    ...['-kernel', xen, '-append', 'console=com1 com1=115200 noreboot dom0_mem=512M'],
    ...['-initrd', `${comma(subject.path)} ${comma(options)},${comma(initrd)}`],
  );
}

function extractedPvh({ subject, initrd, work }: Bench): Command {
  const elf = join(work, 'vmlinux');
  const { status, stderr } = spawnSync(process.execPath, [BZELF, 'extract', subject.path, '-o', elf], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr.trim().split('\n').at(-1));
  return qemu(512, '-kernel', elf, '-initrd', initrd, '-append', COMMAND_LINE);
}

export const ROWS: readonly Row[] = [
  {
    name: 'qemu-kernel',
    protocol: '16-bit',
    tools: [TOOLS.qemu, TOOLS.seabios],
    prepare: ({ subject, initrd }) => qemu(512, '-kernel', subject.path, '-initrd', initrd, '-append', COMMAND_LINE),
  },
  {
    name: 'grub-linux',
    protocol: '32-bit',
    tools: GRUB_TOOLS,
    prepare: ({ subject, initrd, work }) =>
      qemu(
        512,
        '-cdrom',
        grubIso(work, `linux /kernel ${COMMAND_LINE}\ninitrd /initrd`, {
          kernel: { path: subject.path },
          initrd: { path: initrd },
        }),
      ),
  },
  {
    name: 'grub-linux16',
    protocol: '16-bit',
    tools: GRUB_TOOLS,
    prepare: ({ subject, initrd, work }) =>
      qemu(
        512,
        '-cdrom',
        grubIso(work, `linux16 /kernel ${COMMAND_LINE}\ninitrd16 /initrd`, {
          kernel: { path: subject.path },
          initrd: { path: initrd },
        }),
      ),
  },
  {
    name: 'isolinux',
    protocol: '16-bit',
    tools: [TOOLS.qemu, TOOLS.seabios, TOOLS.isolinux, TOOLS.syslinux, TOOLS.xorriso],
    prepare: ({ subject, initrd, work }) =>
      qemu(
        512,
        '-cdrom',
        isolinuxIso(
          work,
          `SERIAL 0 115200\nDEFAULT k\nPROMPT 0\nLABEL k\n KERNEL kernel\n INITRD initrd\n APPEND ${COMMAND_LINE}\n`,
          { kernel: { path: subject.path }, initrd: { path: initrd } },
        ),
      ),
  },
  { name: 'kexec-file', protocol: '64-bit', tools: [TOOLS.qemu, TOOLS.seabios], notFor: only64, prepare: kexec },
  {
    name: 'xen-pv-dom0',
    protocol: 'xen-pv',
    tools: [TOOLS.qemu, TOOLS.seabios],
    notFor: (subject) => only64(subject) ?? needsNote(XEN_ELFNOTE.ENTRY, 'Xen ENTRY')(subject),
    prepare: xenDom0,
  },
  {
    name: 'v86',
    protocol: '16-bit',
    tools: [TOOLS.seabios],
    notFor: ({ bits }) => (bits === 32 ? null : 'v86 is a 32-bit machine'),
    prepare: ({ subject, initrd }) => ({
      program: process.execPath,
      args: [
        ...[BZELF, 'boot', subject.path, '--machine', 'v86', '--enter', 'setup', '--initrd', initrd],
        ...['--append', COMMAND_LINE],
      ],
    }),
  },
  {
    name: 'pvh-extracted',
    protocol: 'pvh',
    tools: [TOOLS.qemu, TOOLS.seabios],
    notFor: needsNote(XEN_ELFNOTE.PHYS32_ENTRY, 'PHYS32_ENTRY'),
    prepare: extractedPvh,
  },
];
