import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteView } from '../../src/bytes/byte-view.js';
import { fieldSize } from '../../src/bytes/struct.js';
import { ProblemList } from '../../src/bzimage/problems.js';
import {
  definedHeaderEnd,
  fieldOfVersion,
  protocolText,
  readSetupHeader,
  setBitNames,
  SETUP_FIELDS,
  setupField,
  setupFieldsOf,
  writeSetupField,
  XLOADFLAGS,
  LOADFLAGS,
} from '../../src/bzimage/setup-header.js';

/** An empty image with a valid header of a protocol version. */
function blank(version: number, size = 4096): Uint8Array {
  const bytes = new Uint8Array(size);
  writeSetupField(bytes, 'setup_sects', 2);
  writeSetupField(bytes, 'boot_flag', 0xaa55);
  if (version === 0) return bytes;
  bytes.set([0xeb, definedHeaderEnd(version) - 0x202], 0x200);
  writeSetupField(bytes, 'header', 0x53726448);
  writeSetupField(bytes, 'version', version);
  return bytes;
}

function read(bytes: Uint8Array): { header: ReturnType<typeof readSetupHeader>; ids: string[] } {
  const problems = new ProblemList();
  const header = readSetupHeader(new ByteView(bytes), problems);
  return { header, ids: problems.all.map(({ id }) => id) };
}

/** The kernel's own definition, compiled: name, offset and size of every member; null without compiler or headers. */
function compiledStruct(): readonly (readonly [string, number, number])[] | null {
  const directory = mkdtempSync(join(tmpdir(), 'bzelf-test-'));
  try {
    const source = join(directory, 'offsets.c');
    const program = join(directory, 'offsets');
    const prints = SETUP_FIELDS.map(
      ({ name }) =>
        `printf("${name} %zu %zu\\n", offsetof(struct boot_params, hdr.${name}), sizeof(((struct setup_header *)0)->${name}));`,
    );
    const flags = [...Object.keys(LOADFLAGS), ...Object.keys(XLOADFLAGS)]
      .map((name) => `#ifdef ${name}\nprintf("${name} %d 0\\n", (int)${name});\n#endif`)
      .join('\n');
    writeFileSync(
      source,
      `#include <stddef.h>\n#include <stdio.h>\n#include <linux/types.h>\n#include <asm/bootparam.h>\nint main(void) {\n${prints.join('\n')}\n${flags}\n}\n`,
    );
    if (spawnSync('cc', ['-o', program, source]).status !== 0) return null;
    const { stdout } = spawnSync(program, { encoding: 'utf8' });
    return stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' '))
      .map(([name = '', offset, size]) => [name, Number(offset), Number(size)] as const);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const compiled = compiledStruct();

describe('the table', () => {
  it.skipIf(compiled === null)('agrees with <asm/bootparam.h> as the C compiler lays it out', () => {
    const members = compiled ?? [];
    for (const field of SETUP_FIELDS) {
      expect(members, field.name).toContainEqual([field.name, field.offset, fieldSize(field)]);
    }
    const flags: Record<string, number> = { ...LOADFLAGS, ...XLOADFLAGS };
    const named = members.filter(([name]) => name in flags);
    expect(named.length).toBeGreaterThanOrEqual(10);
    for (const [name, value] of named) expect([name, flags[name]]).toEqual([name, value]);
  });

  it('covers the header without gaps and overlaps', () => {
    let end = 0x1f1;
    for (const field of SETUP_FIELDS) {
      expect([field.name, field.offset]).toEqual([field.name, end]);
      end += fieldSize(field);
    }
    expect(end).toBe(0x26c);
  });

  it('ends headers where kernels of the time ended theirs', () => {
    // From 2.4.24, 2.6.24.3, 4.12.7 and 5.10 images; 2.14 counts as 2.13.
    const ends = { 0x203: 0x230, 0x207: 0x248, 0x20d: 0x268, 0x20e: 0x268, 0x20f: 0x26c };
    for (const [version, end] of Object.entries(ends)) expect(definedHeaderEnd(Number(version))).toBe(end);
  });

  it('stands in docs/format.md, row by row', () => {
    const document = readFileSync(join(import.meta.dirname, '../../docs/format.md'), 'utf8');
    for (const field of SETUP_FIELDS) {
      const row = document.split('\n').find((line) => line.startsWith(`| \`${field.name}\` `));
      expect(row, field.name).toBeDefined();
      const cells = (row ?? '').split('|').map((cell) => cell.trim());
      const duty = 'duty' in field ? ` (${field.duty})` : '';
      expect(cells.slice(2, 7)).toEqual([
        `0x${field.offset.toString(16)}`,
        String(fieldSize(field)),
        field.since === 0 ? 'all' : protocolText(field.since),
        `${field.access}${duty}`,
        field.doc,
      ]);
    }
  });
});

describe('reading', () => {
  it('has exactly the fields of the protocol version', () => {
    for (const version of [
      0, 0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20f,
    ]) {
      const { header, ids } = read(blank(version));
      expect(Object.keys(header.values)).toEqual(setupFieldsOf(version).map(({ name }) => name));
      expect([header.version, ids]).toEqual([version, []]);
    }
    expect(Object.keys(read(blank(0x200)).header.values)).not.toContain('heap_end_ptr');
    expect(Object.keys(read(blank(0)).header.values)).toHaveLength(7);
  });

  it('gives back what was written, whatever the version', () => {
    fc.assert(
      fc.property(fc.constantFrom(...SETUP_FIELDS), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (field, random) => {
        const version = Math.max(field.since, 0x0200);
        const row = fieldOfVersion(field, version);
        const value = random & ((1n << BigInt(8 * fieldSize(row))) - 1n);
        const bytes = blank(version);
        const before = bytes.slice();
        writeSetupField(bytes, field.name, (field.type === 'u64' ? value : Number(value)) as never, version);
        const end = field.offset + fieldSize(row);
        // Nothing else changed.
        bytes.fill(0, field.offset, end);
        before.fill(0, field.offset, end);
        expect(Buffer.compare(bytes, before)).toBe(0);
        writeSetupField(bytes, field.name, (field.type === 'u64' ? value : Number(value)) as never, version);
        if (['jump', 'header', 'version'].includes(field.name)) return;
        expect(BigInt(read(bytes).header.values[field.name] ?? -1)).toBe(value);
      }),
      { numRuns: 1000 },
    );
  });

  it('reads syssize as 16 bits before 2.04', () => {
    const bytes = blank(0x203);
    writeSetupField(bytes, 'syssize', 0x12345678);
    expect(read(bytes).header.values.syssize).toBe(0x5678);
    writeSetupField(bytes, 'version', 0x204);
    expect(read(bytes).header.values.syssize).toBe(0x12345678);
  });

  it('takes setup_sects 0 for 4', () => {
    const bytes = blank(0x20f);
    writeSetupField(bytes, 'setup_sects', 0);
    expect(read(bytes).header.setupSects).toBe(4);
  });

  it('follows kernel_version only inside the setup part', () => {
    const bytes = blank(0x20f);
    bytes.set(new TextEncoder().encode('6.1.0 (a@b) #1\0'), 0x4f0);
    writeSetupField(bytes, 'kernel_version', 0x2f0);
    expect(read(bytes).header.versionString).toBe('6.1.0 (a@b) #1');
    for (const pointer of [2 * 512, 2 * 512 + 1, 0xffff]) {
      writeSetupField(bytes, 'kernel_version', pointer);
      expect(read(bytes)).toMatchObject({ header: { versionString: null }, ids: ['version-string-outside'] });
    }
    // The text must end inside the setup part, too.
    bytes.fill(0x41, 0x500, 4096);
    writeSetupField(bytes, 'kernel_version', 0x300);
    expect(read(bytes)).toMatchObject({ header: { versionString: null }, ids: ['version-string-outside'] });
  });

  it.each([
    ['a header shorter than its protocol', (b: Uint8Array) => (b[0x201] = 0x30), 'setup-header-short'],
    ['a header longer than boot_params has room for', (b: Uint8Array) => (b[0x201] = 0x8f), 'setup-header-long'],
    ['no short jump', (b: Uint8Array) => (b[0x200] = 0xe9), 'setup-jump'],
    ['no boot flag', (b: Uint8Array) => (b[0x1fe] = 0), 'boot-flag'],
    ['a protocol that does not exist', (b: Uint8Array) => (b[0x206] = 0x10), 'protocol-unknown'],
    ['the withdrawn protocol', (b: Uint8Array) => (b[0x206] = 0x0e), 'protocol-withdrawn'],
  ])('notes %s', (_what, damage, id) => {
    const bytes = blank(0x20f);
    damage(bytes);
    expect(read(bytes).ids).toEqual([id]);
  });

  it('leaves out fields behind the header’s own end', () => {
    const bytes = blank(0x20f);
    bytes[0x201] = 0x6a - 1;
    const { header } = read(bytes);
    expect(header.headerEnd).toBe(0x26b);
    expect(header.values.kernel_info_offset).toBeUndefined();
    expect(header.values.handover_offset).toBe(0);
    expect(header.bytes).toEqual(bytes.subarray(0x1f1, 0x26b));
  });
});

describe('writing', () => {
  it('refuses what does not fit, and fields that the protocol does not have', () => {
    const bytes = blank(0x20f);
    expect(() => writeSetupField(bytes, 'setup_sects', 256)).toThrow(expect.objectContaining({ code: 'does-not-fit' }));
    expect(() => writeSetupField(bytes, 'loadflags', -1)).toThrow(expect.objectContaining({ code: 'does-not-fit' }));
    expect(() => writeSetupField(bytes.subarray(0, 0x260), 'init_size', 1)).toThrow(
      expect.objectContaining({ code: 'does-not-fit', field: 'init_size' }),
    );
    expect(() => writeSetupField(bytes, 'pref_address', 1n, 0x209)).toThrow(
      expect.objectContaining({ code: 'bad-argument', field: 'pref_address' }),
    );
    expect(() => writeSetupField(bytes, 'syssize', 0x10000, 0x203)).toThrow(
      expect.objectContaining({ code: 'does-not-fit' }),
    );
  });
});

describe('names', () => {
  it('writes versions as boot.rst does', () => {
    expect([0, 0x200, 0x207, 0x20a, 0x20f, 0x0a11].map(protocolText)).toEqual([
      'old',
      '2.00',
      '2.07',
      '2.10',
      '2.15',
      '10.17',
    ]);
  });

  it('names flag bits, also unknown ones', () => {
    expect(setBitNames(setupField('loadflags'), 0x85)).toEqual(['LOADED_HIGH', 'bit 2', 'CAN_USE_HEAP']);
    expect(setBitNames(setupField('xloadflags'), 0x8001)).toEqual(['XLF_KERNEL_64', 'bit 15']);
    expect(setBitNames(setupField('syssize'), 3)).toEqual([]);
  });
});
