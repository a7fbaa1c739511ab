/** The programs and files of other projects that a row needs, and how to get them. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { cachedKernel, fetchKernel } from '../../scripts/debian-kernel.mjs';

export interface Tool {
  /** Debian's package. */
  readonly package: string;
  /** A program in PATH, or a file by its full name, that shows the package is there. */
  readonly proof: string;
}

export const TOOLS = {
  qemu: { package: 'qemu-system-x86', proof: 'qemu-system-x86_64' },
  seabios: { package: 'seabios', proof: '/usr/share/seabios/bios.bin' },
  grub: { package: 'grub-common', proof: 'grub-mkrescue' },
  grubBios: { package: 'grub-pc-bin', proof: '/usr/lib/grub/i386-pc/cdboot.img' },
  xorriso: { package: 'xorriso', proof: 'xorriso' },
  isolinux: { package: 'isolinux', proof: '/usr/lib/ISOLINUX/isolinux.bin' },
  syslinux: { package: 'syslinux-common', proof: '/usr/lib/syslinux/modules/bios/ldlinux.c32' },
} as const satisfies Record<string, Tool>;

function isThere({ proof }: Tool): boolean {
  if (proof.startsWith('/')) return existsSync(proof);
  const directories = (process.env['PATH'] ?? '').split(delimiter).concat('/usr/sbin', '/sbin');
  return directories.some((directory) => {
    try {
      accessSync(join(directory, proof), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export function missingPackages(tools: readonly Tool[]): readonly string[] {
  return [...new Set(tools.filter((tool) => !isThere(tool)).map((tool) => tool.package))];
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (status !== 0) throw new Error(`${program}: ${error?.message ?? stderr.trim().split('\n').at(-1) ?? ''}`);
}

/** Installs packages for the whole system; needs root or sudo. @throws Error with apt's last line */
export function installPackages(packages: readonly string[]): void {
  const args = ['install', '-y', '-q', '--no-install-recommends', ...packages];
  if (process.getuid?.() === 0) run('apt-get', args);
  else run('sudo', ['apt-get', ...args]);
}

/**
 * Xen's image. Its package would change how this machine boots, so it is not installed: it is looked for in /boot and
 * in the cache, and with `fetch` fetched into that.
 */
export function findXen(fetch: boolean): string | null {
  const installed = existsSync('/boot')
    ? readdirSync('/boot').find((name) => /^xen-[\d.]+-amd64\.gz$/.test(name))
    : undefined;
  if (installed !== undefined) return join('/boot', installed);
  return fetch ? fetchKernel('xen') : cachedKernel('xen');
}
