/** Headers whose lies no byte of memory shows: real images with one field changed, held against what else they say. */
import { beforeAll, describe, expect, it } from 'vitest';
import { readFileSync } from 'node:fs';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { decompressPayload } from '../../src/kernel/recover.js';
import { proveImage } from '../../src/machines/prove/prove-image.js';
import { editNotes, parseNote } from '../../src/pack/edit-notes.js';
import { pack } from '../../src/pack/pack.js';
import { isProved, proofSubject } from '../../src/verify/prove.js';
import { EVIDENCE, type HeaderProof } from '../../src/verify/prove-headers.js';
import { proveKernelHeaders } from '../../src/verify/prove-kernel-headers.js';
import { proveStageHeaders } from '../../src/verify/prove-stage.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { debianKernel } from '../kernels/debian.js';
import { haveQemu } from '../machines/guests.js';
import { withPayload } from './images.js';

const [P_OFFSET, P_VADDR, P_PADDR, P_FILESZ, P_MEMSZ, P_ALIGN] = [8, 16, 24, 32, 40, 48] as const;
/** Of a 64-bit ELF file's program header table, right behind its header. */
const phdr = (index: number, field: number): number => 64 + index * 56 + field;

/** "segment field" of each difference. */
const fields = ({ differences }: HeaderProof): string[] =>
  differences.map(({ segment, field }) => `${segment} ${field}`);

function add(bytes: Buffer, offset: number, delta: bigint): void {
  bytes.writeBigUInt64LE(BigInt.asUintN(64, bytes.readBigUInt64LE(offset) + delta), offset);
}

function kernelHeaders(image: BootImage, raw: Uint8Array): HeaderProof {
  const { vmlinux } = proofSubject(image, raw);
  if (vmlinux === null) throw new Error('no ELF file');
  return proveKernelHeaders(image, vmlinux);
}

describe.runIf(corpus.length > 0)('headers that are true', () => {
  const flavours = ['amd64', '686', 'cloud-amd64', 'bullseye-cloud-amd64', 'sid-cloud-amd64'] as const;
  const debian = flavours.flatMap((flavour) => debianKernel(flavour) ?? []);
  const elsewhere = ['bzImage-4.12.7-efi-relocs', 'bzImage-4.12.7-xz', 'bzImage-5.10-lzma'];
  const images: [string, () => Uint8Array][] = [
    ...corpus.map(({ file }): [string, () => Uint8Array] => [file, () => readCorpus(file)]),
    ...elsewhere
      .filter((name) => corpusFile(`field/${name}`) !== null)
      .map((name): [string, () => Uint8Array] => [name, () => readCorpus(`field/${name}`)]),
    ...debian.map((path): [string, () => Uint8Array] => [path.replace(/.*\//, ''), () => readFileSync(path)]),
  ];

  it.each(images)('%s', async (_, read) => {
    const image = readBootImage(read());
    const { differences, checks } = kernelHeaders(image, (await decompressPayload(image)).bytes);
    expect(differences).toEqual([]);
    // Flags are the only thing that nothing else says.
    expect([...new Set(checks.filter(({ evidence }) => evidence === null).map(({ field }) => field))]).toEqual([
      'p_flags',
    ]);
  });

  it('a note segment that pack put behind everything', async () => {
    const image = readBootImage(readCorpus('k64-gzip.bzImage'));
    const raw = editNotes((await decompressPayload(image)).bytes, [parseNote('bzelf-test:7=text')]);
    expect(kernelHeaders(image, raw).differences).toEqual([]);
  });
});

describe.runIf(corpusFile('k64-gzip.bzImage') !== null)('a kernel’s headers that lie', () => {
  let image: BootImage;
  let raw: Uint8Array;
  beforeAll(async () => {
    image = readBootImage(readCorpus('k64-gzip.bzImage'));
    raw = (await decompressPayload(image)).bytes;
  });

  /** Changes one field in a copy. */
  const lie = (index: number, field: number, delta: bigint, edit?: (copy: Buffer) => void): HeaderProof => {
    const copy = Buffer.from(raw);
    edit?.(copy);
    add(copy, phdr(index, field), delta);
    return kernelHeaders(image, copy);
  };

  it.each([
    ['p_vaddr', 0, P_VADDR, 0x1000n],
    ['p_vaddr', 1, P_VADDR, 0x1000n],
    ['p_vaddr', 1, P_VADDR, -0x100000n],
    ['p_vaddr of the per-CPU segment', 2, P_VADDR, 0x1000n],
    ['p_vaddr', 3, P_VADDR, 0x100n],
    ['p_paddr', 1, P_PADDR, -0x1000n],
    ['p_paddr of the per-CPU segment', 2, P_PADDR, 0x200n],
    ['p_offset', 3, P_OFFSET, -0x1000n],
    ['p_memsz: no bss is left', 3, P_MEMSZ, -0xa5000n],
    ['p_memsz: more than there is', 3, P_MEMSZ, 0x100000n],
    ['p_memsz: overlaps nothing', 0, P_MEMSZ, 0x1000n],
    ['p_filesz', 0, P_FILESZ, -0x10n],
    ['p_align', 1, P_ALIGN, 0x1000n],
    ['p_offset of the notes', 4, P_OFFSET, 4n],
    ['p_vaddr of the notes', 4, P_VADDR, 0x1000n],
    ['p_paddr of the notes', 4, P_PADDR, 0x1000n],
    ['p_filesz of the notes', 4, P_FILESZ, -4n],
    ['p_memsz of the notes', 4, P_MEMSZ, 4n],
  ])('%s, segment %i', (name, index, field, delta) => {
    expect(fields(lie(index, field, delta))).toContain(`${index} ${name.slice(0, name.search(/[ :]|$/))}`);
  });

  it.each([0, 1])('segment %i that nobody loads', (index) => {
    const copy = Buffer.from(raw);
    copy.writeUInt32LE(5, phdr(index, 0));
    expect(kernelHeaders(image, copy).differences.length).toBeGreaterThan(0);
  });

  it('notes that no PT_NOTE names', () => {
    const copy = Buffer.from(raw);
    copy.writeUInt32LE(5, phdr(4, 0));
    expect(fields(kernelHeaders(image, copy))).toEqual(['null p_type']);
  });

  it('says what would be right, and how it knows', () => {
    const found = 0xffffffff81800000n;
    expect(lie(1, P_VADDR, 0x1000n).differences[0]).toEqual({
      ...{ segment: 1, field: 'p_vaddr', expected: found, found: found + 0x1000n },
      evidence: EVIDENCE.sections,
    });
  });

  describe('and no sections to tell', () => {
    const strip = (copy: Buffer): void => {
      const table = Number(copy.readBigUInt64LE(40));
      // Not SHF_ALLOC any more: the table itself has to stay, since relocations follow it.
      for (let i = 0; i < copy.readUInt16LE(60); i++) copy.writeBigUInt64LE(0n, table + i * 64 + 8);
    };

    it('is proved as long as it is true', () => {
      const { differences, checks } = lie(0, P_VADDR, 0n, strip);
      expect(differences).toEqual([]);
      expect(checks.filter(({ evidence }) => evidence === null)).toContainEqual({
        ...{ segment: 1, field: 'p_memsz', evidence: null },
      });
    });

    it.each([
      [0, P_VADDR, 0x1000n, '0 p_vaddr'],
      [1, P_VADDR, 0x1000n, '1 p_vaddr'],
      [3, P_VADDR, -0x100n, '3 p_vaddr'],
      [2, P_PADDR, 0x200n, '2 p_paddr'],
      [4, P_OFFSET, 4n, '4 p_offset'],
      [4, P_VADDR, 0x1000n, '4 p_vaddr'],
      [4, P_PADDR, 0x1000n, '4 p_paddr'],
      [3, P_MEMSZ, 0x1000000n, '3 p_memsz'],
    ])('segment %i, byte %i: %i', (index, field, delta, expected) => {
      expect(fields(lie(index, field, delta, strip))).toContain(expected);
    });

    it('relocations alone catch virtual addresses that are all wrong', () => {
      const { differences } = lie(0, P_VADDR, 0n, (copy) => {
        strip(copy);
        for (const index of [0, 1, 3, 4]) add(copy, phdr(index, P_VADDR), 0x1000n);
      });
      expect(differences.filter(({ evidence }) => evidence === EVIDENCE.relocations).length).toBeGreaterThan(0);
    });
  });
});

describe.runIf(corpusFile('k64-gzip.bzImage') !== null)('a stage ELF’s headers', () => {
  let bytes: Uint8Array;
  let offset: number;
  let image: BootImage;
  let raw: Uint8Array;
  beforeAll(async () => {
    bytes = (await pack(readBootImage(readCorpus('k64-gzip.bzImage')), { layout: 'stage' })).bytes;
    image = readBootImage(bytes);
    offset = image.stageElf?.offset ?? 0;
    raw = (await decompressPayload(image)).bytes;
  });

  const prove = (edit: (copy: Buffer) => void): HeaderProof => {
    const copy = Buffer.from(bytes);
    edit(copy);
    const changed = readBootImage(copy);
    if (changed.stageElf === null) throw new Error('no stage ELF');
    return proveStageHeaders(changed, changed.stageElf, proofSubject(image, raw).vmlinux);
  };

  it('hold', () => {
    expect(prove(() => undefined).differences).toEqual([]);
  });

  it.each([
    ['p_vaddr', 0, P_VADDR, 0x1000n],
    ['p_vaddr', 0, P_VADDR, 0x100n],
    ['p_vaddr', 0, P_VADDR, -0x1000000n],
    ['p_memsz', 0, P_MEMSZ, 0x100000n],
    ['p_memsz', 0, P_MEMSZ, -0x100000n],
    ['p_memsz', 0, P_MEMSZ, -0xc00000n],
    ['p_filesz', 0, P_FILESZ, -0x1000n],
    ['p_align', 0, P_ALIGN, 0x200000n],
    ['p_offset', 1, P_OFFSET, 4n],
    ['p_vaddr', 1, P_VADDR, 0x1000n],
    ['p_paddr', 1, P_PADDR, 0x1000n],
    ['p_filesz', 1, P_FILESZ, -4n],
    ['p_filesz', 1, P_FILESZ, 0x100n],
  ])('that lie: %s of segment %i', (_, index, field, delta) => {
    expect(prove((copy) => add(copy, offset + phdr(index, field), delta)).differences.length).toBeGreaterThan(0);
  });

  it('that lie: no PT_LOAD, no PT_NOTE', () => {
    expect(fields(prove((copy) => copy.writeUInt32LE(5, offset + phdr(0, 0))))).toContain('null p_type');
    expect(prove((copy) => copy.writeUInt32LE(5, offset + phdr(1, 0))).differences).not.toEqual([]);
  });

  it.runIf(haveQemu)('that lie are not proved by a run', async () => {
    const copy = Buffer.from(bytes);
    add(copy, offset + phdr(0, P_VADDR), 0x1000n);
    const memory = pcMemoryMap(512n << 20n);
    const proof = await proveImage(readBootImage(copy), { memory, kaslr: false, timeout: 90_000 });
    expect(proof.failure).toBeNull();
    expect(fields(proof.stage?.headers ?? { checks: [], differences: [] })).toContain('0 p_vaddr');
    expect(proof.kernel?.headers.differences).toEqual([]);
    expect(isProved(proof)).toBe(false);
  });
});

describe.runIf(haveQemu && corpusFile('k64-gzip.bzImage') !== null)('a run of a kernel whose headers lie', () => {
  it.each([false, true])('no byte of memory differs, and it is not proved (kaslr: %s)', async (kaslr) => {
    const image = await withPayload('k64-gzip.bzImage', (raw) => add(raw, phdr(1, P_VADDR), 0x1000n));
    const memory = pcMemoryMap(512n << 20n);
    const proof = await proveImage(image, { memory, kaslr, timeout: 90_000 });
    expect(proof.failure).toBeNull();
    expect(fields(proof.kernel?.headers ?? { checks: [], differences: [] })).toContain('1 p_vaddr');
    expect(isProved(proof)).toBe(false);
  });
});
