/** Boot media made with other projects' tools. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A file's path to copy, or its contents. */
export type Source = { readonly path: string } | { readonly text: string };

function makeTree(root: string, files: Readonly<Record<string, Source>>): void {
  for (const [name, source] of Object.entries(files)) {
    const target = join(root, name);
    mkdirSync(dirname(target), { recursive: true });
    if ('path' in source) copyFileSync(source.path, target);
    else writeFileSync(target, source.text);
  }
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program}: ${error?.message ?? stderr.trim().split('\n').at(-1) ?? ''}`);
}

/** A BIOS-bootable ISO with GRUB 2 and these commands as its configuration. */
export function grubIso(work: string, commands: string, files: Readonly<Record<string, Source>>): string {
  const config = `serial --unit=0 --speed=115200\nterminal_output serial\n${commands}\nboot\n`;
  makeTree(join(work, 'tree'), { ...files, 'boot/grub/grub.cfg': { text: config } });
  const iso = join(work, 'grub.iso');
  run('grub-mkrescue', ['-d', '/usr/lib/grub/i386-pc', '-o', iso, join(work, 'tree')]);
  return iso;
}

/** A BIOS-bootable ISO with ISOLINUX. */
export function isolinuxIso(work: string, config: string, files: Readonly<Record<string, Source>>): string {
  makeTree(join(work, 'tree'), {
    ...files,
    'isolinux.bin': { path: '/usr/lib/ISOLINUX/isolinux.bin' },
    'ldlinux.c32': { path: '/usr/lib/syslinux/modules/bios/ldlinux.c32' },
    'isolinux.cfg': { text: config },
  });
  const iso = join(work, 'isolinux.iso');
  run('xorriso', [
    ...['-as', 'mkisofs', '-quiet', '-R', '-b', 'isolinux.bin', '-c', 'boot.cat'],
    ...['-no-emul-boot', '-boot-load-size', '4', '-boot-info-table', '-o', iso, join(work, 'tree')],
  ]);
  return iso;
}
