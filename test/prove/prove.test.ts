/** prove on every real kernel, and on images whose headers lie. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pcMemoryMap } from '../../src/boot/memory-map.js';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { proveImage } from '../../src/machines/prove/prove-image.js';
import { findQemu } from '../../src/machines/qemu/find-qemu.js';
import { pack } from '../../src/pack/pack.js';
import { isProved, type Proof } from '../../src/verify/prove.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { debianKernel } from '../kernels/debian.js';
import { haveQemu } from '../machines/guests.js';
import { withPayload } from './images.js';

const prove = (image: BootImage, kaslr = false): Promise<Proof> =>
  proveImage(image, { memory: pcMemoryMap(512n << 20n), kaslr, timeout: 90_000 });

/** What is not as promised, in words; empty for an image that holds. */
function complaints(proof: Proof): string[] {
  const { stage, kernel, failure } = proof;
  const memory = [...(stage?.memory.differences ?? []), ...(kernel?.memory.differences ?? [])];
  const states = [...(kernel?.cpu ?? []), ...(kernel?.zeroPage ?? [])].filter(({ reason }) => reason === null);
  const headers = [...(stage?.headers.differences ?? []), ...(kernel?.headers.differences ?? [])];
  return [
    ...(failure === null ? [] : [failure]),
    ...headers.map(({ segment, field, evidence }) => `segment ${String(segment)}: ${field}, says ${evidence}`),
    ...memory.map(({ what, address, length }) => `${what}: ${String(length)} bytes at 0x${address.toString(16)}`),
    ...states.map(({ name, expected, found }) => `${name}: ${found} instead of ${expected}`),
  ];
}

function expectProved(proof: Proof): void {
  expect(complaints(proof)).toEqual([]);
  expect(isProved(proof)).toBe(true);
}

describe.runIf(haveQemu && corpus.length > 0)('the corpus', () => {
  it.each(corpus)('$file holds', async (entry) => {
    const proof = await prove(readBootImage(readCorpus(entry.file)));
    expectProved(proof);
    const { phdrs, entry: start } = entry.decompressed.vmlinux_bin;
    const loads = phdrs.filter(({ type }) => type === 'LOAD');
    const compared = proof.kernel?.memory.ranges ?? [];
    // Every byte of every segment, found in the build tree's own list.
    for (const { paddr, filesz } of loads) {
      expect(compared.find(({ address }) => address === BigInt(paddr))?.length).toBe(filesz);
    }
    const ends = loads.map(({ paddr, memsz }) => BigInt(paddr) + BigInt(memsz));
    const span = ends.reduce((a, b) => (a > b ? a : b)) - BigInt(loads[0]?.paddr ?? 0);
    expect(BigInt(proof.kernel?.memory.bytesCompared ?? 0)).toBe(span);
    expect(proof.kernel?.entry).toEqual({ expected: BigInt(start), found: BigInt(start) });
  });

  it.each(['k64-gzip', 'k32-gzip'])('%s holds where its own KASLR puts it', async (name) => {
    const proof = await prove(readBootImage(readCorpus(`${name}.bzImage`)), true);
    expectProved(proof);
    const { physicalDelta = 0n, virtualDelta = 0n } = proof.kernel?.move ?? {};
    // The one chance in hundreds that nothing moves would be a coincidence, not a failure: at least one of them did.
    expect([physicalDelta, virtualDelta]).not.toEqual([0n, 0n]);
    expect(proof.kernel?.zeroPage?.map(({ name: field }) => field)).toContain('loadflags');
  });

  it('explains what the decompressor leaves in bss and gaps', async () => {
    const proof = await prove(readBootImage(readCorpus('k64-lz4.bzImage')));
    const explained = proof.kernel?.memory.explained ?? [];
    expect(explained.length).toBeGreaterThan(1);
    expect(explained.every(({ length, reason }) => length > 0 && reason !== '')).toBe(true);
  });
});

describe.runIf(haveQemu)('kernels from elsewhere', () => {
  const field = [
    'bzImage-2.4.24',
    'vmlinuz-2.6.24.3',
    'bzImage-4.12.7-xz',
    'bzImage-4.12.7-efi-relocs',
    'bzImage-5.10-lzma',
  ];
  it.each(field.filter((name) => corpusFile(`field/${name}`) !== null))('%s holds', async (name) => {
    const proof = await prove(readBootImage(readCorpus(`field/${name}`)));
    expectProved(proof);
    expect(proof.kernel?.kind).toBe(name.includes('2.4') || name.includes('2.6') ? 'raw' : 'elf');
    expect(proof.kernel?.base).toBe(proof.kernel?.kind === 'raw' ? 0x100000n : 0x1000000n);
  });

  for (const flavour of ['cloud-amd64', '686'] as const) {
    const path = debianKernel(flavour);
    it.runIf(path !== null).each([false, true])(`Debian’s ${flavour} holds (kaslr: %s)`, async (kaslr) => {
      expectProved(await prove(readBootImage(readFileSync(path ?? '')), kaslr));
    });
  }
});

describe.runIf(haveQemu && corpusFile('k64-gzip.bzImage') !== null)('images whose headers lie', () => {
  const K64 = 'k64-gzip.bzImage';
  const E_ENTRY = 24;
  const PHDR = (index: number, field: number): number => 64 + index * 56 + field;
  const [P_VADDR, P_PADDR] = [16, 24];

  it('holds as long as only the payload was recompressed', async () => {
    expectProved(await prove(await withPayload(K64, () => undefined), true));
  });

  const OLD = 'field/bzImage-4.12.7-efi-relocs';
  it.runIf(corpusFile(OLD) !== null)('an entry point that is not where the decompressor goes', async () => {
    // Decompressors of that time jump to the first byte, whatever e_entry says.
    const image = await withPayload(OLD, (raw) => void raw.writeBigUInt64LE(0x1000040n, E_ENTRY));
    const proof = await prove(image);
    expect(proof.kernel?.entry).toEqual({ expected: 0x1000040n, found: 0x1000000n });
    expect(isProved(proof)).toBe(false);
  });

  it('virtual addresses that are not those of the relocations', async () => {
    const image = await withPayload(K64, (raw) => {
      raw.writeBigUInt64LE(raw.readBigUInt64LE(PHDR(0, P_VADDR)) + 0x1000n, PHDR(0, P_VADDR));
    });
    const proof = await prove(image, true);
    expect(proof.kernel?.memory.differences.length).toBeGreaterThan(0);
    expect(isProved(proof)).toBe(false);
  });

  it('physical addresses at which the kernel was not linked', async () => {
    const image = await withPayload(K64, (raw) => {
      for (const index of [0, 1, 2, 3]) {
        raw.writeBigUInt64LE(raw.readBigUInt64LE(PHDR(index, P_PADDR)) + 0x200000n, PHDR(index, P_PADDR));
      }
    });
    const proof = await prove(image);
    expect(isProved(proof)).toBe(false);
    expect(complaints(proof).length).toBeGreaterThan(0);
  });

  it('a stage ELF whose headers are true, and ones that are not', async () => {
    const { bytes } = await pack(readBootImage(readCorpus('k32-lz4.bzImage')), { layout: 'stage' });
    const image = readBootImage(bytes);
    const { stageElf } = image;
    if (stageElf === null) throw new Error('no stage ELF');
    const truth = await prove(image);
    expectProved(truth);
    expect(truth.stage?.memory.bytesCompared).toBeGreaterThan(0);

    const header = stageElf.offset + Number(stageElf.elf.header.e_phoff);
    const changed = (offset: number): BootImage => {
      const lie = Buffer.from(bytes);
      lie.writeUInt32LE(lie.readUInt32LE(offset) + 0x10, offset);
      return readBootImage(lie);
    };
    // p_paddr of the first segment: its bytes are elsewhere; e_entry: control comes elsewhere.
    const wrongBytes = await prove(changed(header + 12));
    expect(wrongBytes.stage?.memory.differences.length).toBeGreaterThan(0);
    expect(isProved(wrongBytes)).toBe(false);
    const wrongEntry = await prove(changed(stageElf.offset + 24));
    expect(isProved(wrongEntry)).toBe(false);
  });
});

describe.runIf(haveQemu && corpusFile('k64-gzip.bzImage') !== null)('an image that cannot be proved', () => {
  it('has no stages', async () => {
    const vmlinux = readBootImage(new Uint8Array(4096));
    await expect(prove(vmlinux)).rejects.toMatchObject({ code: 'unsupported' });
  });

  it('hangs: the time limit ends it', async () => {
    const bytes = new Uint8Array(readCorpus('k32-gzip.bzImage'));
    const { stages } = readBootImage(bytes);
    // jmp $ at the 32-bit entry.
    bytes.set([0xeb, 0xfe], stages.protected_mode?.offset ?? 0);
    const proof = await proveImage(readBootImage(bytes), {
      memory: pcMemoryMap(128n << 20n),
      kaslr: false,
      timeout: 1500,
    });
    expect(proof).toMatchObject({ kernel: null, failure: 'the kernel was not entered within 1.5 s' });
  });

  it('halts: noticed, with what it said last', async () => {
    const bytes = new Uint8Array(readCorpus('k32-gzip.bzImage'));
    const { stages } = readBootImage(bytes);
    // movw $0x3f8, %dx; movb $'!', %al; outb %al, %dx; cli; hlt.
    bytes.set([0x66, 0xba, 0xf8, 0x03, 0xb0, 0x21, 0xee, 0xfa, 0xf4], stages.protected_mode?.offset ?? 0);
    const proof = await prove(readBootImage(bytes));
    expect(proof).toMatchObject({ kernel: null, failure: 'the guest halted its processors' });
    expect(proof.lastWords.at(-1)).toMatch(/!$/);
  });

  it('is none whose QEMU dies', async () => {
    const bytes = new Uint8Array(readCorpus('k32-gzip.bzImage'));
    const { stages } = readBootImage(bytes);
    bytes.set([0xeb, 0xfe], stages.protected_mode?.offset ?? 0);
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-dying-'));
    try {
      const binary = join(folder, 'qemu');
      writeFileSync(binary, `#!/bin/sh\n${findQemu()} "$@" &\nsleep 3\necho "out of steam" >&2\nkill -9 $!\nwait $!\n`);
      chmodSync(binary, 0o755);
      const proof = proveImage(readBootImage(bytes), {
        ...{ memory: pcMemoryMap(128n << 20n), kaslr: false, timeout: 60_000, binary },
      });
      await expect(proof).rejects.toThrow(/^QEMU exited with status 137: out of steam/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('crashes: the guest is gone', async () => {
    const bytes = new Uint8Array(readCorpus('k32-gzip.bzImage'));
    const { stages } = readBootImage(bytes);
    // lidt [0x1000] (zeros), int3.
    bytes.set([0x0f, 0x01, 0x1d, 0x00, 0x00, 0x05, 0x00, 0xcc], stages.protected_mode?.offset ?? 0);
    const proof = await prove(readBootImage(bytes));
    expect(proof).toMatchObject({ kernel: null, failure: 'the guest ended before the kernel was entered' });
  });
});
