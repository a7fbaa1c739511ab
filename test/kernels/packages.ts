/**
 * Files of Debian packages that are no kernels but are started like kernels (ipxe, memtest86+, syslinux-common,
 * systemd-boot-efi): where the package puts them, or below the directory that BZELF_PACKAGES names, into which the
 * packages were unpacked (`dpkg-deb -x`).
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const roots = [process.env['BZELF_PACKAGES'], '/'].filter((root) => root !== undefined);

/** The path of a package's file ("boot/ipxe.lkrn"), or null if it is not there. */
export function packageFile(path: string): string | null {
  return roots.map((root) => join(root, path)).find((candidate) => existsSync(candidate)) ?? null;
}
