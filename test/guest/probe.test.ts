import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { artifactBytes } from '../../guest/artifact.js';
import { probe32 } from '../../guest/built/probe32.js';
import { probe64 } from '../../guest/built/probe64.js';
import { findXen } from '../matrix/tools.js';
import { readProbeReport, type ProbeReport } from './probe-report.js';
import { haveQemu, runQemu } from './qemu.js';

const MULTIBOOT_MAGIC = Uint8Array.of(0x02, 0xb0, 0xad, 0x1b);
const END = /PROBE-END: .*\r?\n/;
const initrd = Uint8Array.from({ length: 70_001 }, (_, i) => (i * i) >> 3);

/** CRC-32 from gzip's trailer: not from the code under test. */
const crc32 = (bytes: Uint8Array): string =>
  `0x${gzipSync(bytes)
    .readUInt32LE(gzipSync(bytes).length - 8)
    .toString(16)}`;

async function boot(kernel: Uint8Array): Promise<ProbeReport> {
  return readProbeReport(await runQemu({ kernel, initrd, append: 'one "two"' }, END));
}

function withoutMultiboot(): Uint8Array {
  const bytes = artifactBytes(probe32);
  const at = Buffer.from(bytes).indexOf(MULTIBOOT_MAGIC);
  bytes.fill(0, at, at + 4);
  return bytes;
}

const DATA_SEED = 0x1234567;
const PERCPU_SEED = 0x7654321;
const P_OFFSET = 8;
const P_FILESZ = 32;
const P_MEMSZ = 40;

function flip(bytes: Uint8Array, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ 0x10;
}

/** Where the generated pattern (guest/probe/layout.h) lies in the file. */
function patternStart(bytes: Uint8Array, seed: number): number {
  let state = BigInt(seed);
  const start = Uint8Array.from({ length: 16 }, () => {
    state = (state * 1103515245n + 12345n) & 0xffffffffn;
    return Number((state >> 16n) & 0xffn);
  });
  const at = Buffer.from(bytes).indexOf(start);
  expect(at).toBeGreaterThan(0);
  return at;
}

/** File offset of a relocated 64-bit address: text_start + 4 * index. */
function relocatedWord(bytes: Uint8Array, index: number): number {
  const first = Buffer.alloc(16);
  first.writeBigUInt64LE(0xffffffff81000000n, 0);
  first.writeBigUInt64LE(0xffffffff81000004n, 8);
  return Buffer.from(bytes).indexOf(first) + 8 * index;
}

/** File offset of the program header of the last PT_LOAD of an ELF64 file: the one before PT_NOTE. */
function lastSegment(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer);
  const count = view.getUint16(56, true);
  return Number(view.getBigUint64(32, true)) + 56 * (count - 2);
}

describe.skipIf(!haveQemu)('the probe, started by QEMU', () => {
  test('64 bit by PVH', async () => {
    const report = await boot(artifactBytes(probe64));
    expect(report.get('protocol')).toBe('pvh');
    expect(report.get('start_info.magic')).toBe('0x336ec578');
    expect(report.get('reg.efer')).toBe('0x0');
    expect(report.get('command_line')).toBe('"one \\x22two\\x22"');
    expect(report.get('initrd.crc32')).toBe(crc32(initrd));
    expect(report.all('memory')).toContain('0x100000 0xfee0000 1');
    expect(report.get('moved.load_address')).toBe('0x1000000');
    expect(report.failed).toEqual([]);
    expect(report.get('PROBE-END')).toBe('ok');
  });

  test('32 bit by multiboot', async () => {
    const report = await boot(artifactBytes(probe32));
    expect(report.get('protocol')).toBe('multiboot');
    expect(report.get('reg.ax')).toBe('0x2badb002');
    expect(report.get('initrd.crc32')).toBe(crc32(initrd));
    expect(report.failed).toEqual([]);
  });

  test('32 bit by PVH once the multiboot header is gone, which the check of its own text notices', async () => {
    const report = await boot(withoutMultiboot());
    expect(report.get('protocol')).toBe('pvh');
    expect(report.get('initrd.crc32')).toBe(crc32(initrd));
    expect(report.failed).toEqual(['text']);
    expect(report.get('PROBE-END')).toBe('1 FAILED');
  });

  test('changed bytes are noticed, each by its own check', async () => {
    const bytes = artifactBytes(probe64);
    flip(bytes, patternStart(bytes, DATA_SEED) + 5);
    flip(bytes, patternStart(bytes, PERCPU_SEED) + 6);
    flip(bytes, relocatedWord(bytes, 3));
    const report = await boot(bytes);
    expect(report.get('check.data')).toBe('FAILED at offset 0x5');
    expect(report.get('check.percpu')).toBe('FAILED at offset 0x6');
    expect(report.failed).toEqual(['data', 'percpu', 'abs64']);
  });

  test('bss that is not zero is noticed, to the last byte', async () => {
    const bytes = artifactBytes(probe64);
    const header = lastSegment(bytes);
    const view = new DataView(bytes.buffer);
    const offset = Number(view.getBigUint64(header + P_OFFSET, true));
    const filesz = Number(view.getBigUint64(header + P_FILESZ, true));
    const memsz = Number(view.getBigUint64(header + P_MEMSZ, true));
    // The same segment with its bss in the file, behind everything else.
    const moved = Math.ceil(bytes.length / 0x1000) * 0x1000;
    view.setBigUint64(header + P_OFFSET, BigInt(moved), true);
    view.setBigUint64(header + P_FILESZ, BigInt(memsz), true);
    const whole = new Uint8Array(moved + memsz);
    whole.set(bytes);
    whole.set(bytes.subarray(offset, offset + filesz), moved);
    expect((await boot(whole)).failed).toEqual([]);
    whole[whole.length - 1] = 1;
    const report = await boot(whole);
    expect(report.failed).toEqual(['bss']);
    expect(report.get('bss_rest')).toBe('0x1');
  });
});

const xen = findXen(false);

describe.skipIf(!haveQemu || xen === null)('the 64-bit probe, started by Xen', () => {
  test('as a PV dom0', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-xen-'));
    try {
      const kernel = join(folder, 'probe');
      const module = join(folder, 'initrd');
      writeFileSync(kernel, artifactBytes(probe64));
      writeFileSync(module, initrd);
      const console = await runQemu(
        {
          kernel: gunzipSync(readFileSync(xen ?? '')),
          append: 'console=com1 com1=115200 noreboot dom0_mem=256M',
          initrd: `${kernel} console=hvc0,${module}`,
        },
        END,
        ['-m', '512', '-cpu', 'qemu64'],
      );
      const report = readProbeReport(console);
      expect(report.get('protocol')).toBe('xen-pv');
      expect(report.get('start_info.magic')).toMatch(/^"xen-3\.0-x86_64/);
      expect(BigInt(report.get('reg.ip') ?? 0)).toBe(0xffffffff81000000n + BigInt(probe64.symbols.xen_entry));
      expect(report.get('command_line')).toBe('"console=hvc0"');
      expect(report.get('initrd.crc32')).toBe(crc32(initrd));
      expect(report.failed).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
