/**
 * Real Xen as an oracle: Debian's hypervisor in QEMU/TCG with a kernel of ours as dom0. Found at BZELF_XEN, in the
 * cache (npm run kernels) or under /boot; tests skip, visibly, without it.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';

const root = resolve(import.meta.dirname, '../..');

function candidates(): string[] {
  const cache = process.env['XDG_CACHE_HOME'];
  const directories = [
    join(cache === undefined || cache === '' ? join(root, '.cache') : join(cache, 'bzelf'), 'kernels', 'xen'),
    '/boot',
  ];
  return [
    process.env['BZELF_XEN'] ?? '',
    ...directories.flatMap((directory) =>
      existsSync(directory)
        ? readdirSync(directory)
            .filter((name) => /^xen-4.*\.gz$/.test(name))
            .map((name) => join(directory, name))
        : [],
    ),
  ].filter((path) => path !== '' && existsSync(path));
}

/** The hypervisor's path, or null. */
export const xenHypervisor: string | null =
  spawnSync('qemu-system-x86_64', ['--version']).status === 0 ? (candidates()[0] ?? null) : null;

export interface XenBoot {
  /** The console, without "(XEN)" prefixes. */
  readonly console: string;
  /** The block VIRTUAL MEMORY ARRANGEMENT by label; empty if the kernel was refused before. */
  readonly arrangement: ReadonlyMap<string, string>;
  /** The line "Dom0 kernel: ...". */
  readonly kernelLine: string | null;
  /** True once dom0 runs its first instructions as far as the hypervisor is concerned. */
  readonly built: boolean;
}

/** Ends of the story: dom0 was built, or Xen gave up. */
const DONE =
  /Xen is relinquishing VGA console|\*\*\* Serial input to DOM0|Could not (?:set up|construct) DOM0|Panic on CPU 0|Could not construct d/;

/** Boots Xen with this dom0 kernel and stops as soon as it is built or refused. */
export async function bootXen(
  kernel: string | Uint8Array,
  options: { initrd?: string; memory?: number; dom0Memory?: number; pvh?: boolean; until?: RegExp } = {},
): Promise<XenBoot> {
  if (xenHypervisor === null) throw new Error('no Xen');
  const work = mkdtempSync(join(tmpdir(), 'bzelf-xen-'));
  try {
    const xen = join(work, 'xen');
    writeFileSync(xen, gunzipSync(readFileSync(xenHypervisor)));
    let path = kernel;
    if (typeof path !== 'string') {
      path = join(work, 'kernel');
      writeFileSync(path, kernel);
    }
    const modules = [
      `${path} console=hvc0 earlyprintk=xen panic=-1`,
      ...(options.initrd === undefined ? [] : [options.initrd]),
    ];
    const machine =
      options.pvh === true
        ? ['-machine', 'q35', '-device', 'amd-iommu', '-cpu', 'qemu64,-rdtscp,+svm,+npt']
        : ['-cpu', 'qemu64'];
    const guest = spawn(
      'qemu-system-x86_64',
      [
        ...[
          '-accel',
          'tcg',
          ...machine,
          '-m',
          String(options.memory ?? 768),
          '-nographic',
          '-no-reboot',
          '-nodefaults',
          '-serial',
          'stdio',
        ],
        ...['-kernel', xen, '-initrd', modules.join(',')],
        '-append',
        `console=com1 com1=115200 loglvl=all noreboot dom0_mem=${options.dom0Memory ?? 384}M${options.pvh === true ? ' dom0=pvh' : ''}`,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let text = '';
    const done = options.until ?? DONE;
    await new Promise<void>((finish) => {
      const timer = setTimeout(() => guest.kill('SIGKILL'), 60_000);
      const read = (chunk: Buffer): void => {
        text += chunk.toString('latin1');
        if (done.test(text)) setTimeout(() => guest.kill('SIGKILL'), 100);
      };
      guest.stdout.on('data', read);
      guest.stderr.on('data', read);
      guest.on('close', () => {
        clearTimeout(timer);
        finish();
      });
    });
    const console = text.replace(/\r/g, '').replace(/^\(XEN\) ?(?:\[[^\]]*\] ?)?/gm, '');
    const block = /VIRTUAL MEMORY ARRANGEMENT:\n((?: .*\n)+)/.exec(console)?.[1] ?? '';
    return {
      console,
      arrangement: new Map(
        [...block.matchAll(/^ ([^:]+): +(\S+)$/gm)].map(([, label = '', value = '']) => [label.trim(), value]),
      ),
      kernelLine: /Dom0 kernel: .*/.exec(console)?.[0] ?? null,
      built: /Serial input to DOM0|Xen is relinquishing VGA console/.test(console) && !console.includes('Panic on CPU'),
    };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
