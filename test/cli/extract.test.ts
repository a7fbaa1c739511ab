import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { BootImageError } from '../../src/bytes/error.js';
import { createIo, type CliIo } from '../../src/cli/io.js';
import { runExtract, type ExtractOptions } from '../../src/cli/extract.js';
import { readVmlinux } from '../../src/kernel/read-vmlinux.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { changed, haveBinutils, haveXz, toolOutput } from '../kernel/images.js';

const LIMIT = 2 ** 30;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const has = corpusFile('k64-xz.bzImage') !== null;
const image = (name: string): string => corpusFile(`${name}.bzImage`) ?? '';

let folder = '';
let notes: string[] = [];
let documents: unknown[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bzelf-extract-'));
  notes = [];
  documents = [];
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

function io(json = false): CliIo {
  return {
    ...createIo({ json }),
    note: (line) => notes.push(line),
    json: (document) => documents.push(document),
  };
}

/** Runs the command and returns what it wrote. */
async function extract(path: string, options: Partial<ExtractOptions>): Promise<Uint8Array> {
  const output = join(folder, 'out');
  expect(await runExtract(path, { what: 'vmlinux', limit: LIMIT, output, ...options }, io())).toBe(0);
  return readFileSync(output);
}

async function failure(path: string, options: Partial<ExtractOptions>, json = false): Promise<BootImageError> {
  try {
    await runExtract(path, { what: 'vmlinux', limit: LIMIT, output: join(folder, 'out'), ...options }, io(json));
  } catch (error) {
    if (error instanceof BootImageError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe.skipIf(!has)('what is written', () => {
  test.each(['k64-xz', 'k32-gzip', 'k64-noreloc'])('%s', async (name) => {
    const truth = corpus.find((each) => each.name === name);
    const path = image(name);
    expect(sha256(await extract(path, {}))).toBe(truth?.decompressed.vmlinux_bin.sha256);
    expect(sha256(await extract(path, { what: 'raw' }))).toBe(truth?.decompressed.sha256);
    expect(sha256(await extract(path, { what: 'payload' }))).toBe(truth?.payload_sha256);
    expect(sha256(await extract(path, { what: 'config' }))).toBe(truth?.config_sha256);
    const setup = await extract(path, { what: 'setup' });
    expect(
      Buffer.compare(setup, readCorpus(`${name}.bzImage`).subarray(0, ((truth?.setup_sects ?? 0) + 1) * 512)),
    ).toBe(0);
    const list = Buffer.from(await extract(path, { what: 'notes' }))
      .toString('latin1')
      .trimEnd()
      .split('\n');
    expect(list.map((line) => line.split('\t').slice(0, 3).join())).toEqual(
      truth?.notes.map((note) => [note.owner, note.type, note.name].join()),
    );
    expect(list.find((line) => line.includes('BUILD_ID'))).toContain(truth?.build_id);
  });

  test.skipIf(!haveXz)('symbols, as System.map has them', async () => {
    const map = execFileSync('xz', ['-dc', corpusFile('k32-xz.System.map.xz') ?? ''], { encoding: 'utf8' });
    const lines = new Set(map.trimEnd().split('\n'));
    const ours = Buffer.from(await extract(image('k32-xz'), { what: 'symbols' }))
      .toString('latin1')
      .trimEnd()
      .split('\n');
    expect(ours.length).toBeGreaterThan(19_000);
    expect(ours.filter((line) => !lines.has(line))).toEqual([]);
  });

  test.skipIf(!haveBinutils)('--symbols and --kaslr together agree with each other', async () => {
    const bytes = await extract(image('k64-xz'), { symbols: true, kaslr: 'a seed' });
    const listing = toolOutput('nm', ['FILE'], bytes);
    const { segments, elf } = readVmlinux(bytes);
    const text = segments[0]?.vaddr ?? 0n;
    expect(text).not.toBe(0xffffffff81000000n);
    expect(listing).toContain(`${text.toString(16)} T _text`);
    expect(listing).toContain(`${text.toString(16)} T startup_64`);
    expect(listing).toMatch(/^0{16} . fixed_percpu_data$/m);
    expect(elf.header.e_entry).toBe(segments[0]?.paddr);
    expect(notes[0]).toMatch(/^moved by 0x[0-9a-f]+ in physical and 0x[0-9a-f]+ in virtual memory$/);
    expect(Buffer.compare(bytes, await extract(image('k64-xz'), { symbols: true, kaslr: 'a seed' }))).toBe(0);
  });

  test('JSON says what was written; notes are JSON themselves', async () => {
    const output = join(folder, 'out');
    await runExtract(image('k64-xz'), { what: 'raw', limit: LIMIT, output }, io(true));
    expect(documents).toEqual([{ what: 'raw', file: output, size: 14325864 }]);
    documents = [];
    await runExtract(image('k64-xz'), { what: 'notes', limit: LIMIT }, io(true));
    expect((documents[0] as unknown[])[0]).toMatchObject({ owner: 'Xen', type: 6, value: 'linux' });
  });
});

describe.skipIf(!has)('what is refused leaves nothing behind', () => {
  const old = Buffer.from('the old file');

  test.each<[string, () => Uint8Array, Partial<ExtractOptions>, RegExp]>([
    ['no image', () => Buffer.from('#!/bin/sh\n'), {}, /^payload-missing$/],
    ['an empty file', () => new Uint8Array(0), { what: 'raw' }, /^payload-missing$/],
    ['a truncated payload', () => readCorpus('k64-xz.bzImage').subarray(0, 1_000_000), {}, /^payload-/],
    [
      'a truncated payload',
      () => readCorpus('k64-xz.bzImage').subarray(0, 1_000_000),
      { what: 'payload' },
      /^payload-truncated$/,
    ],
    [
      'a flipped byte in the payload',
      () => changed(readCorpus('k64-xz.bzImage'), (copy) => (copy[500_000] = (copy[500_000] ?? 0) ^ 1)),
      { what: 'raw' },
      /^payload-corrupt$/,
    ],
    ['a limit', () => readCorpus('k64-xz.bzImage'), { limit: 1 << 20 }, /^payload-too-large$/],
    ['no relocations', () => readCorpus('k64-nokaslr.bzImage'), { kaslr: true }, /^not-relocatable$/],
    ['no BTF', () => readCorpus('k64-xz.bzImage'), { what: 'btf' }, /^not-found-in-image$/],
  ])('%s (%#)', async (_what, bytes, options, code) => {
    const path = join(folder, 'image');
    writeFileSync(path, bytes());
    writeFileSync(join(folder, 'out'), old);
    const error = await failure(path, options);
    expect(error.code).toMatch(code);
    expect(error.hint).toBeTruthy();
    expect(readFileSync(join(folder, 'out'))).toEqual(old);
    expect(readdirSync(folder).sort()).toEqual(['image', 'out']);
  });

  test('options that do not go together are usage errors', async () => {
    for (const options of [
      { what: 'raw', symbols: true },
      { what: 'config', kaslr: true },
    ] as const) {
      expect((await failure(image('k64-xz'), options)).blame).toBe('usage');
    }
    expect((await failure(image('k64-xz'), { what: 'raw', output: '-' }, true)).blame).toBe('usage');
    expect((await failure(image('k64-xz'), { kaslr: 'x', memory: 'plenty' })).blame).toBe('usage');
    expect(existsSync(join(folder, 'out'))).toBe(false);
  });

  test('binary data does not go to a terminal', async () => {
    const before = process.stdout.isTTY;
    process.stdout.isTTY = true;
    try {
      const error = await failure(image('k64-xz'), { output: '-' });
      expect(error).toMatchObject({ blame: 'usage', field: '--output' });
    } finally {
      process.stdout.isTTY = before;
    }
  });

  test('a missing file, a directory, an unwritable place', async () => {
    expect((await failure(join(folder, 'none'), {})).code).toBe('file-not-found');
    expect((await failure(folder, {})).code).toBe('file-unreadable');
    const output = join(folder, 'no', 'such', 'place');
    expect((await failure(image('k64-xz'), { output })).code).toBe('file-unwritable');
    symlinkSync('loop', join(folder, 'loop'));
    expect((await failure(join(folder, 'loop'), {})).blame).toBe('outside');
  });
});
