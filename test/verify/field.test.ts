/** No false alarm: real images are free of errors, and accepted by every loader that really boots them. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { verify } from '../../src/verify/judge.js';
import type { LoaderId } from '../../src/verify/loader.js';
import { createSubject } from '../../src/verify/subject.js';
import { corpus, corpusFile } from '../kernels/corpus.js';
import { debianKernel } from '../kernels/debian.js';
import { fieldImages } from '../kernels/field.js';

/** Loaders that start a bzImage by its setup header, whatever is inside. */
const BY_HEADER: readonly LoaderId[] = ['qemu', 'grub', 'grub16', 'syslinux', 'ipxe', 'u-boot', 'kexec'];
const KERNEL_64: readonly LoaderId[] = ['own', ...BY_HEADER, 'firecracker', 'cloud-hypervisor'];
const KERNEL_32: readonly LoaderId[] = ['own', ...BY_HEADER, 'v86', 'cloud-hypervisor'];
const XEN: readonly LoaderId[] = ['xen-dom0', 'xen-pvh'];

interface Case {
  readonly name: string;
  readonly path: string | null;
  readonly accepts: readonly LoaderId[];
}

/** The corpus, by what its own manifest says of each image. */
const ours: readonly Case[] = corpus.map(({ name, file, arch_bits, compression, relocatable, notes }) => {
  const has = (note: string): boolean => notes.some((one) => one.name === note);
  return {
    name,
    path: corpusFile(file),
    accepts: [
      ...(arch_bits === 64 ? KERNEL_64 : KERNEL_32),
      ...(relocatable ? (['efi'] as const) : []),
      ...(arch_bits === 64 && relocatable ? (['kexec-file'] as const) : []),
      ...(has('XEN_ELFNOTE_PHYS32_ENTRY') ? (['xen-pvh'] as const) : []),
      ...(has('XEN_ELFNOTE_XEN_VERSION') ? (['xen-dom0'] as const) : []),
      // Debian builds the toolstack without bzip2 and lzo.
      ...(has('XEN_ELFNOTE_XEN_VERSION') && !['bzip2', 'lzo'].includes(compression) ? (['xen-domu'] as const) : []),
      ...(has('XEN_ELFNOTE_XEN_VERSION') && ['gzip', 'xz', 'lzo'].includes(compression) ? (['pvgrub'] as const) : []),
    ],
  };
});

/** A raw binary in 2.4 and 2.6.24: bzelf starts those at the earlier stages. */
const RAW: readonly LoaderId[] = [...BY_HEADER, 'v86', 'cloud-hypervisor'];
const FIELD: Readonly<Record<string, readonly LoaderId[]>> = {
  'bzImage-2.4.24': RAW,
  'vmlinuz-2.6.24.3': RAW,
  'bzImage-4.12.7-xz': KERNEL_64,
  'bzImage-4.12.7-efi-relocs': [...KERNEL_64, 'kexec-file', 'efi'],
  'bzImage-5.10-lzma': [...KERNEL_64, 'kexec-file'],
};

const DEBIAN: readonly Case[] = [
  { name: 'Debian, 686', path: debianKernel('686'), accepts: [...KERNEL_32, 'efi'] },
  {
    name: 'Debian, cloud',
    path: debianKernel('cloud-amd64'),
    accepts: [...KERNEL_64, ...XEN, 'xen-domu', 'kexec-file', 'efi'],
  },
  {
    name: 'Debian, generic',
    path: debianKernel('amd64'),
    accepts: [...KERNEL_64, ...XEN, 'xen-domu', 'pvgrub', 'kexec-file', 'efi'],
  },
  {
    name: 'Debian 11, cloud',
    path: debianKernel('bullseye-cloud-amd64'),
    accepts: [...KERNEL_64, ...XEN, 'xen-domu', 'kexec-file', 'efi'],
  },
  // The newest has no CONFIG_XEN_DOM0: its SUPPORTED_FEATURES lack dom0.
  {
    name: 'Debian unstable, cloud',
    path: debianKernel('sid-cloud-amd64'),
    accepts: [...KERNEL_64, 'xen-pvh', 'xen-domu', 'kexec-file', 'efi'],
  },
];

const CASES: readonly Case[] = [
  ...ours,
  ...Object.keys(fieldImages).map((name) => ({
    name,
    path: corpusFile(`field/${name}`),
    accepts: FIELD[name] ?? [],
  })),
  ...DEBIAN,
];

describe('a real image', () => {
  for (const { name, path, accepts } of CASES) {
    it.skipIf(path === null)(name, async () => {
      const { violations, verdicts } = verify(await createSubject(readBootImage(readFileSync(path ?? ''))));
      const wrong = violations.filter(({ severity }) => severity !== 'note');
      expect(
        wrong.map(({ rule, message }) => `${rule}: ${message}`),
        basename(path ?? ''),
      ).toEqual([]);
      expect(accepts.length).toBeGreaterThan(0);
      const refused = verdicts.filter((verdict) => accepts.includes(verdict.loader) && !verdict.accepts);
      expect(refused.map(({ loader, reason }) => `${loader}: ${reason?.rule ?? ''}: ${reason?.message ?? ''}`)).toEqual(
        [],
      );
    });
  }
});
