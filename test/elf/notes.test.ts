import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteView } from '../../src/bytes/byte-view.js';
import { BootImageError } from '../../src/bytes/error.js';
import { iterateNotes, type ElfNote } from '../../src/elf/notes.js';
import { buildNote } from '../../src/elf/write-elf.js';

const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

function readAll(bytes: Uint8Array, base = 0): { notes: ElfNote[]; error: BootImageError | null } {
  const notes: ElfNote[] = [];
  try {
    for (const note of iterateNotes(new ByteView(bytes, base))) notes.push(note);
    return { notes, error: null };
  } catch (error) {
    if (error instanceof BootImageError) return { notes, error };
    throw error;
  }
}

describe('notes', () => {
  test('owner and descriptor of every length come back, wherever the window was cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.stringMatching(/^[A-Za-z]{1,9}$/), fc.nat(), fc.uint8Array({ maxLength: 17 }))),
        fc.nat(1000),
        (all, base) => {
          const built = all.map(([owner, type, desc]) => buildNote(owner, type, desc));
          const { notes, error } = readAll(join(...built), base);
          expect(error).toBeNull();
          expect(notes.map(({ owner, type, desc }) => [owner, type, [...desc]])).toEqual(
            all.map(([owner, type, desc]) => [owner, type, [...desc]]),
          );
          let offset = base;
          notes.forEach((note, i) => {
            expect(note.offset).toBe(offset);
            offset += built[i]?.length ?? 0;
          });
        },
      ),
    );
  });

  test('layout, byte for byte', () => {
    expect([...buildNote('Xen', 18, Uint8Array.of(1, 2, 3, 4, 5))]).toEqual(
      [4, 0, 0, 0, 5, 0, 0, 0, 18, 0, 0, 0].concat([0x58, 0x65, 0x6e, 0], [1, 2, 3, 4, 5, 0, 0, 0]),
    );
  });

  test('zero padding behind the last note is none', () => {
    const note = buildNote('GNU', 3, new Uint8Array(20));
    expect(readAll(join(note, new Uint8Array(8))).notes.length).toBe(1);
    expect(readAll(join(note, new Uint8Array(16))).error).toBeNull();
  });

  test.each([
    ['n_namesz', 0],
    ['n_descsz', 4],
  ])('%s too large: the notes before it count, then an error at its place', (_field, at) => {
    const good = buildNote('GNU', 3, new Uint8Array(20));
    for (const size of [0x7fffffff, 0xffffffff, 0xfffffffd, 64]) {
      const bad = buildNote('Xen', 18, new Uint8Array(8));
      new DataView(bad.buffer).setUint32(at, size, true);
      const { notes, error } = readAll(join(good, bad));
      expect(notes.length).toBe(1);
      expect(error).toMatchObject({ code: 'note-malformed', offset: good.length });
    }
  });

  test('a header that is cut off', () => {
    const note = buildNote('GNU', 3, new Uint8Array(20));
    expect(readAll(join(note, Uint8Array.of(4, 0, 0, 0))).error).toMatchObject({ code: 'note-malformed' });
  });
});
