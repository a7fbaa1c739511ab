/** The compressors that the kernel's build calls, as far as this machine has them. */
import { spawnSync } from 'node:child_process';
import type { Compression } from '../../src/compression/formats.js';

export type Compressed = Exclude<Compression, 'none'>;

export const COMPRESSED: readonly Compressed[] = ['gzip', 'bzip2', 'lzma', 'xz', 'lzo', 'lz4', 'zstd'];

interface Tool {
  readonly program: string;
  /** As scripts/Makefile.lib and scripts/xz_wrap.sh call it. */
  readonly kernel: readonly string[];
  /** Other ways to call it whose output must be read too. */
  readonly others: readonly (readonly string[])[];
  readonly decompress: readonly string[];
}

export const TOOLS: Readonly<Record<Compressed, Tool>> = {
  gzip: {
    program: 'gzip',
    kernel: ['-n', '-9', '-c'],
    others: [
      ['-1', '-c'],
      ['-6', '-c'],
    ],
    decompress: ['-dc'],
  },
  bzip2: { program: 'bzip2', kernel: ['-9', '-c'], others: [['-1', '-c']], decompress: ['-dc'] },
  lzma: {
    program: 'xz',
    kernel: ['--format=lzma', '-9', '-c'],
    others: [
      ['--format=lzma', '-0', '-c'],
      ['--format=lzma', '--lzma1=lc=0,lp=2,pb=0', '-c'],
    ],
    decompress: ['--format=lzma', '-dc'],
  },
  xz: {
    program: 'xz',
    kernel: ['--check=crc32', '--x86', '--lzma2=dict=32MiB', '-c'],
    others: [
      ['-0', '-c'],
      ['--check=none', '--block-size=100000', '-c'],
      ['--check=crc64', '-T2', '--block-size=300000', '-c'],
      ['--check=crc32', '--x86', '--lzma2=lc=1,lp=3,pb=1', '--block-size=65536', '-c'],
    ],
    decompress: ['-dc'],
  },
  lzo: {
    program: 'lzop',
    kernel: ['-9', '-c'],
    others: [
      ['-1', '-c'],
      ['-3', '-c'],
      ['-7', '--crc32', '-c'],
      ['-F', '-1', '-c'],
    ],
    decompress: ['-dc'],
  },
  lz4: {
    program: 'lz4',
    kernel: ['-l', '-9', '-c'],
    others: [
      ['-l', '-1', '-c'],
      ['-l', '-12', '-c'],
    ],
    decompress: ['-dc'],
  },
  zstd: {
    program: 'zstd',
    kernel: ['-q', '-22', '--ultra', '-c'],
    others: [
      ['-q', '-1', '-c'],
      ['-q', '--fast=5', '-c'],
      ['-q', '-9', '--no-check', '-c'],
      ['-q', '-19', '--long=27', '-c'],
    ],
    decompress: ['-q', '-dc'],
  },
};

/** Runs a tool on `input`; null if it failed. */
export function run(program: string, args: readonly string[], input: Uint8Array): Uint8Array | null {
  const { status, stdout } = spawnSync(program, args, { input, maxBuffer: 1 << 30, stdio: ['pipe', 'pipe', 'ignore'] });
  return status === 0 ? new Uint8Array(stdout.buffer, stdout.byteOffset, stdout.byteLength) : null;
}

export function hasTool(format: Compressed): boolean {
  return spawnSync(TOOLS[format].program, ['--version'], { stdio: 'ignore' }).error === undefined;
}

/** The output of the native compressor. */
export function compressNatively(format: Compressed, input: Uint8Array, args = TOOLS[format].kernel): Uint8Array {
  const output = run(TOOLS[format].program, args, input);
  if (output === null) throw new Error(`${TOOLS[format].program} ${args.join(' ')} failed`);
  return output;
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Repeatable bytes that look random. */
export function noise(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** Something like machine code: calls and jumps for the x86 filter, short repetitions, constants, runs. */
export function machineCode(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  const pieces = noise(64, 7);
  for (let i = 0; at < length; i++) {
    const kind = (pieces[i % 64] ?? 0) % 5;
    if (kind < 2) {
      const target = Math.imul(i % 97, 4096) - at;
      bytes.set([0xe8 + kind, target, target >> 8, target >> 16, target >> 24].slice(0, length - at), at);
      at += 5;
    } else if (kind === 2) {
      bytes.set([0x48, 0x89, 0xe5, 0xe8, 0xe9, 0x00, 0xff].slice(0, length - at), at);
      at += 7;
    } else if (kind === 3) {
      bytes.set(noise(11, i).subarray(0, length - at), at);
      at += 11;
    } else {
      bytes.fill(i & 3, at, Math.min(length, at + 40));
      at += 40;
    }
  }
  return bytes;
}

export interface Sample {
  readonly name: string;
  readonly make: () => Uint8Array;
}

/** Inputs that reach the corners of the formats: empty, short, long runs, no redundancy, block limits, code. */
export const SAMPLES: readonly Sample[] = [
  { name: 'nothing', make: () => new Uint8Array(0) },
  { name: 'one byte', make: () => new Uint8Array([0x7f]) },
  { name: 'four equal bytes', make: () => new Uint8Array(4).fill(9) },
  {
    name: 'runs of 3 to 300',
    make: () => concat(...Array.from({ length: 298 }, (_, i) => new Uint8Array(i + 3).fill(i))),
  },
  { name: 'noise', make: () => noise(300_001) },
  { name: 'zeros', make: () => new Uint8Array(1_000_000) },
  { name: 'code', make: () => machineCode(400_000) },
  { name: 'one lzo block', make: () => machineCode(256 << 10) },
  { name: 'far repetition', make: () => concat(noise(300_000), new Uint8Array(70_000), noise(300_000)) },
];

/** The corners of lz4's blocks of 8 MiB. */
export const LZ4_SAMPLES: readonly Sample[] = [
  { name: 'one block', make: () => machineCode(8 << 20) },
  { name: 'more than one block', make: () => concat(machineCode((8 << 20) + 17), noise(1000)) },
];
