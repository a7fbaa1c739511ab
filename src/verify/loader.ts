/** What a loader is: the checks that it makes, in its own order and its own words. */
import type { Subject } from './subject.js';

export const LOADER_IDS = [
  'own',
  'qemu',
  'firecracker',
  'cloud-hypervisor',
  'v86',
  'xen-domu',
  'xen-dom0',
  'xen-pvh',
  'pvgrub',
  'kexec',
  'kexec-file',
  'grub',
  'grub16',
  'efi',
  'syslinux',
  'ipxe',
  'u-boot',
] as const;

export type LoaderId = (typeof LOADER_IDS)[number];

export interface Check {
  /** The rule whose violation makes this loader refuse, or fail later. */
  readonly rule: string;
  /** Source file and function of the loader. */
  readonly where: string;
  /** The loader's own message; for what it does not check but cannot do without, what then happens. */
  readonly says: string;
  /** True if the loader does not check this itself but the start fails nevertheless. */
  readonly unchecked?: boolean;
}

/** One way through a loader: several file formats, or several protocols. */
export interface Route {
  readonly name: string;
  /** Whether the loader takes this way with this file, by what it looks at first. */
  readonly takes: (subject: Subject) => boolean;
  /** In the loader's order: the first violation is the reason it gives. */
  readonly checks: readonly Check[];
}

export interface Loader {
  readonly id: LoaderId;
  /** "GRUB 2.14, command linux". */
  readonly title: string;
  /** Project and version whose source was read. */
  readonly source: string;
  /** Stage and protocol by which it enters the image. */
  readonly enters: string;
  /** The first that takes the file is judged. */
  readonly routes: readonly Route[];
  /** What it says when no route takes the file. */
  readonly refusal: { readonly where: string; readonly says: string };
}
