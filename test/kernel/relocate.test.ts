import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BootImageError } from '../../src/bytes/error.js';
import { memoryOf } from '../../src/bytes/linear-memory.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { readVmlinux } from '../../src/kernel/read-vmlinux.js';
import { recoverVmlinux } from '../../src/kernel/recover.js';
import { applyRelocations, placeKernel } from '../../src/kernel/relocate.js';
import type { Vmlinux } from '../../src/kernel/vmlinux.js';
import { corpusFile } from '../kernels/corpus.js';
import { changed, corpusKernel, rawKernel } from './images.js';

const has = corpusFile('k64-gzip.bzImage') !== null;
const MIB = 1n << 20n;

function refusal(work: () => unknown): BootImageError {
  try {
    work();
  } catch (error) {
    if (error instanceof BootImageError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/**
 * handle_relocations() of arch/x86/boot/compressed/misc.c as it stands there, word by word from the end of the file,
 * on a flat image of memory: an oracle that shares nothing with the code under test.
 */
function kernelsOwnWay(vmlinux: Vmlinux, delta: bigint): { memory: DataView; base: bigint } {
  const base = vmlinux.segments.map(({ paddr }) => paddr).reduce((a, b) => (b < a ? b : a));
  const end = vmlinux.segments.map((s) => s.paddr + BigInt(s.filesz)).reduce((a, b) => (b > a ? b : a));
  const bytes = new Uint8Array(Number(end - base));
  for (const { offset, paddr, filesz } of vmlinux.segments) {
    bytes.set(vmlinux.raw.subarray(offset, offset + filesz), Number(paddr - base));
  }
  const memory = new DataView(bytes.buffer);
  const startKernelMap = vmlinux.bits === 64 ? 0xffffffff80000000n : 0xc0000000n;
  const table = new DataView(vmlinux.raw.buffer, vmlinux.raw.byteOffset, vmlinux.raw.length);
  let at = vmlinux.raw.length - 4;
  const place = (): number => {
    const entry = vmlinux.bits === 64 ? BigInt(table.getInt32(at, true)) : BigInt(table.getUint32(at, true));
    return Number(BigInt.asUintN(64, entry) - startKernelMap - base);
  };
  for (; table.getUint32(at, true) !== 0; at -= 4) {
    const ptr = place();
    memory.setUint32(ptr, Number(BigInt.asUintN(32, BigInt(memory.getUint32(ptr, true)) + delta)), true);
  }
  if (vmlinux.bits === 64) {
    for (at -= 4; table.getUint32(at, true) !== 0; at -= 4) {
      const ptr = place();
      memory.setUint32(ptr, Number(BigInt.asUintN(32, BigInt(memory.getUint32(ptr, true)) - delta)), true);
    }
    for (at -= 4; table.getUint32(at, true) !== 0; at -= 4) {
      const ptr = place();
      memory.setBigUint64(ptr, BigInt.asUintN(64, memory.getBigUint64(ptr, true) + delta), true);
    }
  }
  return { memory, base };
}

describe.skipIf(!has).each([
  ['k64-gzip', 0x12200000n],
  ['k64-gzip', -8n * MIB],
  ['k64-noxen', 0x2e000000n],
  ['k32-xz', 0x1c00000n],
  ['k32-xz', 0x3000n],
] as const)('%s moved by %i', (name, delta) => {
  test('every segment equals what the kernel itself would make of it', async () => {
    const vmlinux = await corpusKernel(name);
    const before = Buffer.from(vmlinux.raw).toString('latin1');
    const { memory, base } = kernelsOwnWay(vmlinux, delta);
    const placed = placeKernel(vmlinux, {
      physicalDelta: delta,
      virtualDelta: delta,
    });
    expect(placed.length).toBe(vmlinux.segments.length);
    for (const { segment, address, bytes, memsz } of placed) {
      expect(address).toBe(segment.paddr + delta);
      expect(memsz).toBe(segment.memsz);
      const expected = new Uint8Array(memory.buffer, Number(segment.paddr - base), segment.filesz);
      expect(Buffer.compare(bytes, expected)).toBe(0);
    }
    // The file stays as it was.
    expect(Buffer.from(vmlinux.raw).toString('latin1') === before).toBe(true);
  });

  test('in place, on a flat image of memory', async () => {
    const vmlinux = await corpusKernel(name);
    const { memory, base } = kernelsOwnWay(vmlinux, delta);
    const plain = new Uint8Array(kernelsOwnWay(vmlinux, 0n).memory.buffer);
    applyRelocations(vmlinux, [{ paddr: base, bytes: plain }], delta);
    expect(Buffer.compare(plain, new Uint8Array(memory.buffer))).toBe(0);
  });
});

describe.skipIf(!has)('in the memory of the codec that decompressed it', () => {
  const fresh = async (name: string): Promise<Vmlinux> =>
    recoverVmlinux(readBootImage(readFileSync(corpusFile(`${name}.bzImage`) ?? '')));

  test.each([
    ['k64-lz4', 0x12200000n],
    ['k64-zstd', -8n * MIB],
    ['k32-xz', 0x1c00000n],
  ] as const)('%s moved by %i: the same again, without a copy', async (name, delta) => {
    const vmlinux = await fresh(name);
    expect(memoryOf(vmlinux.raw.buffer)).not.toBeNull();
    const { memory, base } = kernelsOwnWay(vmlinux, delta);
    const table = Buffer.from(vmlinux.raw.subarray(vmlinux.elfBytes.length));
    const move = { physicalDelta: delta, virtualDelta: delta };
    for (const { segment, bytes } of placeKernel(vmlinux, move, { inPlace: true })) {
      expect(bytes.buffer).toBe(vmlinux.raw.buffer);
      const expected = new Uint8Array(memory.buffer, Number(segment.paddr - base), segment.filesz);
      expect(Buffer.compare(bytes, expected)).toBe(0);
    }
    expect(Buffer.compare(table, vmlinux.raw.subarray(vmlinux.elfBytes.length))).toBe(0);
  });

  test.each(['abs64', 'inverse32', 'abs32'] as const)('an entry of %s outside is refused', async (group) => {
    const vmlinux = await fresh('k64-lz4');
    const { segments, relocations } = vmlinux;
    const end = segments.map(({ vaddr, filesz }) => vaddr + BigInt(filesz)).reduce((a, b) => (b > a ? b : a));
    const words = relocations?.[group];
    if (words === undefined) throw new Error('no relocations');
    words[words.length >> 1] = Number(BigInt.asIntN(32, end - 3n));
    const move = { physicalDelta: 0n, virtualDelta: 2n * MIB };
    expect(refusal(() => placeKernel(vmlinux, move, { inPlace: true })).code).toBe('relocations-malformed');
  });
});

describe.skipIf(!has)('what is copied', () => {
  test('without a virtual move, nothing: the segments are views on the file', async () => {
    const vmlinux = await corpusKernel('k64-gzip');
    for (const physicalDelta of [0n, 0x20000000n, 1n << 36n]) {
      const placed = placeKernel(vmlinux, { physicalDelta, virtualDelta: 0n });
      for (const { bytes, address, segment } of placed) {
        expect(bytes.buffer).toBe(vmlinux.raw.buffer);
        expect(address).toBe(segment.paddr + physicalDelta);
      }
    }
  });

  test('a segment that no relocation touches stays a view', async () => {
    const raw = await rawKernel('k64-gzip');
    const { elfBytes, segments } = readVmlinux(raw);
    const [first] = segments;
    if (first === undefined) throw new Error('no segments');
    // One relocation of 64 bits, in the first segment.
    const table = Buffer.alloc(16);
    table.writeUInt32LE(Number(BigInt.asUintN(32, first.vaddr + 0x1001n)), 4);
    const vmlinux = readVmlinux(new Uint8Array(Buffer.concat([elfBytes, table])));
    expect(vmlinux.relocations?.groups).toBe(3);
    const placed = placeKernel(vmlinux, { physicalDelta: 0n, virtualDelta: 2n * MIB });
    expect(placed.map(({ bytes }) => bytes.buffer === vmlinux.raw.buffer)).toEqual([false, true, true, true]);
  });
});

describe.skipIf(!has)('tables of two groups (Linux 6.15 and newer)', () => {
  test('move the same words, but for the per-CPU area', async () => {
    const three = await corpusKernel('k64-gzip');
    const { relocations } = three;
    if (relocations === null) throw new Error('no relocations');
    const zero = new Uint8Array(4);
    const bytesOf = ({ buffer, byteOffset, byteLength }: Int32Array): Uint8Array =>
      new Uint8Array(buffer, byteOffset, byteLength);
    const raw = Buffer.concat([three.elfBytes, zero, bytesOf(relocations.abs64), zero, bytesOf(relocations.abs32)]);
    const two = readVmlinux(new Uint8Array(raw));
    expect(two.relocations?.groups).toBe(2);
    const move = { physicalDelta: 0n, virtualDelta: 0x6000000n };
    const a = placeKernel(three, move);
    const b = placeKernel(two, move);
    const inverse = new Set([...relocations.inverse32].map((word) => BigInt.asUintN(64, BigInt(word))));
    let different = 0;
    a.forEach(({ segment, bytes }, i) => {
      const other = b[i]?.bytes ?? new Uint8Array(0);
      for (let at = 0; at < bytes.length; at++) {
        if (bytes[at] === other[at]) continue;
        different++;
        const address = segment.paddr + BigInt(at) + 0xffffffff80000000n;
        expect([0n, 1n, 2n, 3n].some((back) => inverse.has(address - back))).toBe(true);
      }
    });
    expect(different).toBeGreaterThan(1000);
  });
});

describe.skipIf(!has)('moves that cannot be', () => {
  test.each([
    ['k64-gzip', { physicalDelta: 0x100000n, virtualDelta: 0n }, 'physicalDelta'],
    ['k64-gzip', { physicalDelta: 0n, virtualDelta: 0x1000n }, 'virtualDelta'],
    ['k64-gzip', { physicalDelta: -32n * MIB, virtualDelta: 0n }, 'physicalDelta'],
    ['k64-gzip', { physicalDelta: 0n, virtualDelta: 1000n * MIB }, 'virtualDelta'],
    ['k64-gzip', { physicalDelta: 0n, virtualDelta: -18n * MIB }, 'virtualDelta'],
    ['k32-xz', { physicalDelta: 0n, virtualDelta: 4n * MIB }, 'virtualDelta'],
    ['k32-xz', { physicalDelta: 1024n * MIB, virtualDelta: 1024n * MIB }, 'virtualDelta'],
    ['k32-xz', { physicalDelta: 5n, virtualDelta: 5n }, 'physicalDelta'],
  ] as const)('%s %o', async (name, move, field) => {
    const vmlinux = await corpusKernel(name);
    expect(refusal(() => placeKernel(vmlinux, move))).toMatchObject({ code: 'bad-argument', field });
  });

  test.each(['k64-nokaslr', 'k64-noreloc', 'k32-noreloc'])('%s has no relocations', async (name) => {
    const vmlinux = await corpusKernel(name);
    const move = { physicalDelta: 4n * MIB, virtualDelta: 4n * MIB };
    expect(refusal(() => placeKernel(vmlinux, move)).code).toBe('not-relocatable');
    expect(refusal(() => applyRelocations(vmlinux, [], 4n * MIB)).code).toBe('not-relocatable');
  });
});

describe.skipIf(!has)('damaged tables', () => {
  test('an entry outside the segments, or across the end of one, is refused', async () => {
    const raw = await rawKernel('k64-gzip');
    const { elfBytes, segments } = readVmlinux(raw);
    const [text] = segments;
    const end = Number(BigInt.asUintN(32, (text?.vaddr ?? 0n) + BigInt(text?.filesz ?? 0)));
    const entries = [end, end - 1, end - 3, end - 7, 0x80ffffff, 0x80fffffd, 1, 0x7fffffff, 0x80000000, 0xffffffff];
    for (const entry of entries) {
      for (const [group, at] of [
        ['abs64', 4],
        ['inverse32', 8],
        ['abs32', 12],
      ] as const) {
        // An entry of 64 bits may not, one of 32 bits may, begin 7 bytes before the end.
        if (entry === end - 7 && group !== 'abs64') continue;
        const table = Buffer.alloc(16);
        table.writeUInt32LE(entry, at);
        const vmlinux = readVmlinux(new Uint8Array(Buffer.concat([elfBytes, table])));
        expect(vmlinux.relocations?.groups).toBe(3);
        const error = refusal(() => placeKernel(vmlinux, { physicalDelta: 0n, virtualDelta: 2n * MIB }));
        expect(error.code).toBe('relocations-malformed');
      }
    }
  });

  test('any flipped bytes in the table: refused, or moved, but nothing else', async () => {
    const raw = await rawKernel('k32-xz');
    const { elfBytes } = readVmlinux(raw);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(raw.length - elfBytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        (flips) => {
          const bytes = changed(raw, (copy) => {
            for (const [at, value] of flips) copy[elfBytes.length + at] = value;
          });
          const vmlinux = readVmlinux(bytes);
          try {
            placeKernel(vmlinux, { physicalDelta: 2n * MIB, virtualDelta: 2n * MIB });
          } catch (error) {
            expect(error).toBeInstanceOf(BootImageError);
            expect((error as BootImageError).code).toMatch(/^(relocations-malformed|not-relocatable)$/);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe.skipIf(!has)('options of placing', () => {
  test('in place: the same bytes, on the file', async () => {
    const vmlinux = await corpusKernel('k64-gzip');
    const move = { physicalDelta: 0x200000n, virtualDelta: 0x6000000n };
    const copied = placeKernel(vmlinux, move);
    const own = readVmlinux(new Uint8Array(vmlinux.raw));
    placeKernel(own, move, { inPlace: true }).forEach(({ bytes }, i) => {
      expect(bytes.buffer).toBe(own.raw.buffer);
      expect(Buffer.compare(bytes, copied[i]?.bytes ?? new Uint8Array(0))).toBe(0);
    });
  });

  test('notes move with the kernel, also without relocations, and the file stays as it was', async () => {
    const vmlinux = await corpusKernel('k64-gzip');
    const before = Buffer.from(vmlinux.raw);
    for (const virtualDelta of [0n, 0x200000n]) {
      const move = { physicalDelta: 0x400000n, virtualDelta };
      const plain = placeKernel(vmlinux, move);
      const moved = placeKernel(vmlinux, move, { moveNotes: true });
      const changes = moved.flatMap(({ bytes, segment }, i) => {
        const other = plain[i]?.bytes ?? new Uint8Array(0);
        return [...bytes.keys()].filter((at) => bytes[at] !== other[at]).map((at) => segment.offset + at);
      });
      const places = vmlinux.notes
        .filter(({ owner, type }) => owner === 'Xen' && [1, 18].includes(type))
        .map(({ desc }) => desc.byteOffset - vmlinux.raw.byteOffset);
      expect(changes.length).toBeGreaterThan(0);
      expect(changes.every((at) => places.some((place) => at >= place && at < place + 8))).toBe(true);
      const entry = vmlinux.notes.find(({ type, owner }) => owner === 'Xen' && type === 18);
      const at = (entry?.desc.byteOffset ?? 0) - vmlinux.raw.byteOffset - (vmlinux.segments[0]?.offset ?? 0);
      expect(Buffer.from(moved[0]?.bytes ?? []).readBigUInt64LE(at)).toBe(0x10004a0n + 0x400000n);
    }
    expect(Buffer.compare(vmlinux.raw, before)).toBe(0);
  });
});
