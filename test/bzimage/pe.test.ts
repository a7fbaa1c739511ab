import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { WIN_CERTIFICATE } from '../../src/bzimage/pe.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { packageFile } from '../kernels/packages.js';
import { edited } from './edit.js';
import { makeUki } from './make-uki.js';

const hasBinutils = spawnSync('objdump', ['--version']).status === 0;
const scratch = mkdtempSync(join(tmpdir(), 'bzelf-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** The value behind a label in `objdump -p`, which prints bare hexadecimal. */
function objdumpFacts(path: string): (label: string) => bigint {
  const { stdout } = spawnSync('objdump', ['-p', path], { encoding: 'utf8' });
  return (label) => BigInt(`0x${new RegExp(`^${label}\\s+([0-9a-f]+)`, 'm').exec(stdout)?.[1] ?? 'missing'}`);
}

const withPe = corpus.filter((truth) => truth['pe'] != null);

describe.skipIf(!hasBinutils || withPe.length === 0)('PE headers, against objdump', () => {
  it.each(withPe.map(({ file }) => file))('%s', (file) => {
    const { pe } = readBootImage(readCorpus(file));
    const fact = objdumpFacts(corpusFile(file) ?? '');
    const { optional } = pe ?? {};
    if (optional === undefined || optional === null) throw new Error('no optional header');
    expect(BigInt(optional.AddressOfEntryPoint)).toBe(fact('AddressOfEntryPoint'));
    expect(optional.ImageBase).toBe(fact('ImageBase'));
    expect(BigInt(optional.SectionAlignment)).toBe(fact('SectionAlignment'));
    expect(BigInt(optional.FileAlignment)).toBe(fact('FileAlignment'));
    expect(BigInt(optional.SizeOfImage)).toBe(fact('SizeOfImage'));
    expect(BigInt(optional.SizeOfHeaders)).toBe(fact('SizeOfHeaders'));
    expect(BigInt(optional.SizeOfCode)).toBe(fact('SizeOfCode'));
    expect(BigInt(optional.Subsystem)).toBe(fact('Subsystem'));
    expect(BigInt(optional.DllCharacteristics)).toBe(fact('DllCharacteristics'));
    expect(BigInt(optional.MajorImageVersion)).toBe(fact('MajorImageVersion'));
    expect(BigInt(optional.NumberOfRvaAndSizes)).toBe(fact('NumberOfRvaAndSizes'));
  });
});

const signable = 'k64-xz.bzImage';

/**
 * Signs as the PE specification says: certificates at the end of the file (aligned to 8), their place in data directory
 * 4, and a new CheckSum.
 */
function signed(bytes: Uint8Array, certificates: readonly number[]): Uint8Array {
  const table = certificates.map((length) => {
    const entry = new Uint8Array(Math.ceil(length / 8) * 8).fill(0x30);
    WIN_CERTIFICATE.write(entry, 0, { dwLength: length, wRevision: 0x200, wCertificateType: 2 });
    return entry;
  });
  const start = Math.ceil(bytes.length / 8) * 8;
  const copy = new Uint8Array(start + table.reduce((sum, { length }) => sum + length, 0));
  copy.set(bytes);
  let at = start;
  for (const entry of table) {
    copy.set(entry, at);
    at += entry.length;
  }
  const view = new DataView(copy.buffer);
  const optional = view.getUint32(0x3c, true) + 24;
  view.setUint32(optional + 64, 0x12345678, true);
  view.setUint32(optional + 112 + 4 * 8, start, true);
  view.setUint32(optional + 112 + 4 * 8 + 4, copy.length - start, true);
  return copy;
}

describe.skipIf(corpusFile(signable) === null)('signatures', () => {
  const base = corpusFile(signable) === null ? new Uint8Array() : readCorpus(signable);

  it('are found, and the CRC-32 under them can still be proved', () => {
    const image = readBootImage(signed(base, [1464, 33]));
    expect(image.problems).toEqual([]);
    expect(image.pe?.certificateTable).toEqual({ offset: base.length, length: 1464 + 40 });
    expect(image.pe?.certificates).toEqual([
      { offset: base.length, length: 1464, revision: 0x200, type: 2 },
      { offset: base.length + 1464, length: 33, revision: 0x200, type: 2 },
    ]);
    expect(image.crc32Ok).toBe(true);
  });

  it('hide whether the CRC-32 held, if it does not', () => {
    const bytes = signed(base, [64]);
    bytes[0x9000] = (bytes[0x9000] ?? 0) ^ 1;
    expect(readBootImage(bytes).crc32Ok).toBeNull();
  });

  it('that do not parse are reported', () => {
    const ids = (bytes: Uint8Array): string[] => readBootImage(bytes).problems.map(({ id }) => id);
    const good = signed(base, [64]);
    expect(ids(good)).toEqual([]);
    for (const length of [0, 7, 65, 0xffffffff]) {
      expect(ids(edited(good, (_copy, view) => view.setUint32(base.length, length, true)))).toEqual([
        'pe-certificates',
      ]);
    }
    expect(ids(good.subarray(0, good.length - 1))).toEqual(['pe-certificates']);
  });

  it('are absent where four zeroes stand in place of the CRC-32', () => {
    const bytes = edited(base, (copy) => copy.fill(0, copy.length - 4));
    expect(readBootImage(bytes).crc32Ok).toBeNull();
  });
});

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const inside = 'k32-xz.bzImage';

describe.skipIf(corpusFile(inside) === null)('unified kernel images', () => {
  const kernel = corpusFile(inside) === null ? new Uint8Array() : readCorpus(inside);
  const sections = [
    ['.text', new Uint8Array(100)],
    ['.sbat', text('sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\nme,1\n\0\0')],
    ['.osrel', text('ID=debian\nPRETTY_NAME="Debian"\n')],
    ['.cmdline', text('console=ttyS0 quiet\0')],
    ['.uname', text('6.1.192-corpus\n')],
    ['.linux', kernel],
    ['.initrd', new Uint8Array(777)],
  ] as const;

  it('are read with the kernel inside', () => {
    const image = readBootImage(makeUki(sections));
    expect(image).toMatchObject({
      kind: 'uki',
      setup: null,
      problems: [],
      uki: {
        cmdline: 'console=ttyS0 quiet',
        osrel: 'ID=debian\nPRETTY_NAME="Debian"\n',
        uname: '6.1.192-corpus',
        initrd: { length: 777 },
        linux: { length: kernel.length },
      },
    });
    expect(image.pe?.sbat).toMatch(/^sbat,1,.*\nme,1\n$/s);
    expect(image.inner).toMatchObject({ kind: 'bzImage', crc32Ok: true, problems: [] });
    expect(image.inner?.payload).toEqual(readBootImage(kernel).payload);
  });

  it('with a kernel that is cut off are read as far as it goes', () => {
    const bytes = makeUki(sections);
    const image = readBootImage(bytes.subarray(0, bytes.length - 1024 - 512));
    expect(image.kind).toBe('uki');
    expect(image.inner).toBeNull();
    expect(image.problems.map(({ id }) => id)).toEqual(['pe-section-outside', 'uki-linux']);
  });

  it('inside unified kernel images end somewhere', () => {
    let bytes = makeUki(sections);
    for (let i = 0; i < 5; i++) bytes = makeUki([['.linux', bytes]]);
    let depth = 0;
    for (let image = readBootImage(bytes).inner; image !== null; image = image.inner) depth++;
    expect(depth).toBe(2);
  });

  const stub = packageFile('usr/lib/systemd/boot/efi/linuxx64.efi.stub');
  it.skipIf(stub === null || !hasBinutils)('as systemd’s stub and objcopy make them', () => {
    const output = join(scratch, 'uki.efi');
    const args = sections.slice(2).flatMap(([name, data], i) => {
      const file = join(scratch, name);
      writeFileSync(file, data);
      return [
        '--add-section',
        `${name}=${file}`,
        '--change-section-vma',
        `${name}=0x${(0x2000000 + i * 0x1000000).toString(16)}`,
      ];
    });
    const { status, stderr } = spawnSync('objcopy', [...args, stub ?? '', output], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    const image = readBootImage(readFileSync(output));
    expect(image).toMatchObject({
      kind: 'uki',
      uki: { cmdline: 'console=ttyS0 quiet', uname: '6.1.192-corpus' },
      problems: [],
    });
    expect(image.inner).toMatchObject({ kind: 'bzImage', crc32Ok: true });
    expect(image.pe?.sbat).toMatch(/systemd/);
  });
});

describe.skipIf(corpusFile(signable) === null)('damaged PE headers', () => {
  const base = corpusFile(signable) === null ? new Uint8Array() : readCorpus(signable);
  const header = base.length === 0 ? 0 : new DataView(base.buffer, base.byteOffset).getUint32(0x3c, true);
  it.each([
    ['no header where e_lfanew points', 0x3c, 0xffffffff, 'pe-missing'],
    ['too many sections', header + 6, 0xffff, 'pe-sections'],
    ['an optional header of no known kind', header + 24, 0x9999, 'pe-optional-header'],
    ['a section outside the file', header + 24 + 240 + 20, 0xfffffff0, 'pe-section-outside'],
    ['certificates outside the file', header + 24 + 112 + 36, 0xffffff, 'pe-certificates'],
  ])('%s', (_what, at, value, id) => {
    const image = readBootImage(
      edited(base, (_copy, view) =>
        value > 0xffff ? view.setUint32(at, value, true) : view.setUint16(at, value, true),
      ),
    );
    expect(image.problems.map((problem) => problem.id)).toContain(id);
    expect(image.kind).toBe('bzImage');
    expect(image.payload?.compression).toBe('xz');
  });
});
