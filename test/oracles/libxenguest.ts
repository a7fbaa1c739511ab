/**
 * Xen's toolstack as an oracle: the domain builder of libxenguest, driven by libxenguest.c without a hypervisor. Found
 * below the directory that BZELF_LIBXENGUEST names (the packages libxen-dev and what it depends on, unpacked), in the
 * cache (npm run kernels -- libxenguest) or installed; tests skip, visibly, without it or without a C compiler.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheDirectory } from '../../scripts/debian-kernel.mjs';

const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

const root =
  [process.env['BZELF_LIBXENGUEST'] ?? '', join(cacheDirectory(), 'kernels', 'libxenguest'), '/'].find(
    (directory) =>
      directory !== '' &&
      existsSync(join(directory, 'usr/include/xenguest.h')) &&
      existsSync(join(directory, LIBRARIES, 'libxenguest.so')),
  ) ?? null;

/** Compiles the driver once a process; null without libraries or compiler. */
function compile(): string | null {
  if (root === null) return null;
  const work = mkdtempSync(join(tmpdir(), 'bzelf-libxenguest-'));
  process.once('exit', () => rmSync(work, { recursive: true, force: true }));
  const program = join(work, 'libxenguest');
  const libraries = join(root, LIBRARIES);
  const { status } = spawnSync('gcc', [
    ...['-O1', '-rdynamic', '-o', program, join(import.meta.dirname, 'libxenguest.c'), '-I', join(root, 'usr/include')],
    ...['-L', libraries, `-Wl,-rpath-link,${libraries}`, '-lxenguest', '-lxenctrl', '-lxentoollog'],
  ]);
  return status === 0 ? program : null;
}

/** The driver, or null if it cannot be built here. */
export const libxenguest: string | null = compile();

export interface DomainBuild {
  readonly built: boolean;
  /** The call that failed ("xc_dom_parse_image"), or "a signal" when the library crashed; null when it was built. */
  readonly failed: string | null;
  /** The domain builder's log. */
  readonly log: string;
  /** What the builder gave up with: its messages of level panic and error. */
  readonly errors: string;
  /** Virtual range and first frame by the log's own label ("kernel", "page tables", "boot stack"). */
  readonly segments: ReadonlyMap<string, { readonly start: bigint; readonly end: bigint; readonly pfn: bigint }>;
  /** All pages that it filled, at their pseudo-physical addresses. */
  readonly memory: Uint8Array;
}

/** Builds a PV domU from this kernel. */
export function buildDomain(
  kernel: string | Uint8Array,
  options: { initrd?: Uint8Array; memory?: number } = {},
): DomainBuild {
  if (libxenguest === null || root === null) throw new Error('no libxenguest');
  const work = mkdtempSync(join(tmpdir(), 'bzelf-domu-'));
  try {
    const put = (name: string, bytes: Uint8Array): string => {
      writeFileSync(join(work, name), bytes);
      return join(work, name);
    };
    const memory = join(work, 'memory');
    const { stdout, stderr, signal } = spawnSync(
      libxenguest,
      [
        ...[typeof kernel === 'string' ? kernel : put('kernel', kernel), String(options.memory ?? 256), memory],
        ...(options.initrd === undefined ? [] : [put('initrd', options.initrd)]),
      ],
      {
        encoding: 'latin1',
        maxBuffer: 1 << 26,
        timeout: 60_000,
        env: { ...process.env, LD_LIBRARY_PATH: join(root, LIBRARIES) },
      },
    );
    const last = stdout.trim().split('\n').at(-1) ?? '';
    const built = signal === null && last === 'built';
    const segment = /xc_dom_alloc_segment: +(.+?) +: 0x([0-9a-f]+) -> 0x([0-9a-f]+) +\(pfn 0x([0-9a-f]+) \+/g;
    const page = /xc_dom_alloc_page +: +(.+?) +: 0x([0-9a-f]+) \(pfn 0x([0-9a-f]+)\)/g;
    const number = (digits: string | undefined): bigint => BigInt(`0x${digits ?? ''}`);
    return {
      built,
      failed: built ? null : signal === null ? last : 'a signal',
      log: stderr,
      errors: [...stderr.matchAll(/^(?:\S+: )?(?:panic|error|critical): (.*)$/gm)].map((m) => m[1]).join('\n'),
      segments: new Map([
        ...[...stderr.matchAll(segment)].map(
          ([, label = '', start, end, pfn]) =>
            [label, { start: number(start), end: number(end), pfn: number(pfn) }] as const,
        ),
        ...[...stderr.matchAll(page)].map(
          ([, label = '', start, pfn]) =>
            [label, { start: number(start), end: number(start) + 4096n, pfn: number(pfn) }] as const,
        ),
      ]),
      memory: built ? readFileSync(memory) : new Uint8Array(),
    };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
