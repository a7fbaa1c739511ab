import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Region } from '../../../src/boot/plan.js';
import type { AccessWidth, MemoryWindow } from '../../../src/machines/device-window/memory-window.js';
import { copyWords, wordsOf } from '../../../src/machines/device-window/words.js';
import { writeWindow } from '../../../src/machines/device-window/write-window.js';
import { expected, GUARD, guarded, movingWindow, pattern, region } from './windows.js';

const WIDTHS = [1, 2, 4, 8] as const satisfies AccessWidth[];
const LARGE = 700_000;

describe('writing through a window', () => {
  it.each(WIDTHS)('%i bytes at a time: the plan and nothing else', async (width) => {
    const memory = guarded(4 << 20);
    const regions = [
      region(0x1003, pattern(53)),
      region(0x2000, pattern(5), 0x1001),
      region(0x3001, pattern(0x0fff)),
      region(0x100000, pattern(LARGE), LARGE + 12345),
      region((4 << 20) - 3, 3),
    ];
    const wanted = expected(memory, regions);
    const window = movingWindow(memory, 4 << 20);
    const report = await writeWindow(regions, window, { width });
    window.flush();
    expect(Buffer.compare(memory, wanted)).toBe(0);
    const bytes = regions.reduce((sum, { size }) => sum + size, 0);
    expect(report).toEqual({ written: bytes, verified: bytes, moves: 2 });
  });

  it('moves a small aperture only to where the plan is', async () => {
    const memory = guarded(0x100000);
    const regions = [region(0x40000ff0, pattern(0x3020)), region(0x400c0000, 1)];
    const wanted = expected(memory, regions, 0x40000000n);
    const window = movingWindow(memory, 0x1000, 0x40000000n);
    const { moves } = await writeWindow(regions, window, { width: 4 });
    window.flush();
    expect(Buffer.compare(memory, wanted)).toBe(0);
    const tiles = [0, 0x1000, 0x2000, 0x3000, 0x4000, 0xc0000];
    expect(window.offsets).toEqual([...tiles, ...tiles]);
    expect(moves).toBe(12);
  });

  it('writes any set of disjoint regions through any aperture and leaves the rest alone', async () => {
    const pieces = fc.array(
      fc.record({
        gap: fc.nat(40),
        size: fc.integer({ min: 1, max: 900 }),
        filled: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      { maxLength: 12 },
    );
    const apertures = fc.integer({ min: 1, max: 100 }).map((count) => count * 8);
    await fc.assert(
      fc.asyncProperty(
        pieces,
        apertures,
        fc.constantFrom(...WIDTHS),
        fc.boolean(),
        async (list, aperture, width, reverse) => {
          const regions: Region[] = [];
          let at = 0x8000;
          for (const { gap, size, filled } of list) {
            at += gap;
            regions.push(region(at, pattern(Math.round(size * filled)), size));
            at += size;
          }
          const memory = guarded(12_000);
          const wanted = expected(memory, regions, 0x8000n);
          const window = movingWindow(memory, aperture, 0x8000n);
          await writeWindow(reverse ? regions.reverse() : regions, window, { width });
          window.flush();
          expect(Buffer.compare(memory, wanted)).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('touches elements one by one', () => {
    const log: string[] = [];
    const watched = (words: Uint32Array): Uint32Array =>
      new Proxy(words, {
        get: (target, key) => {
          log.push(`read ${String(key)}`);
          return target[Number(key)];
        },
        set: (target, key, value) => {
          log.push(`write ${String(key)}`);
          return Reflect.set(target, key, value);
        },
      });
    const memory = new Uint8Array(32);
    copyWords(Uint32Array.of(1, 2, 3), 1, watched(wordsOf(memory, 4) as Uint32Array), 5, 2);
    copyWords(watched(wordsOf(memory, 4) as Uint32Array), 5, new Uint32Array(2), 0, 2);
    expect(log).toEqual(['write 5', 'write 6', 'read 5', 'read 6']);
    expect([...wordsOf(memory, 4)]).toEqual([0, 0, 0, 0, 0, 2, 3, 0]);
  });

  it('tells how far it is', async () => {
    const steps: [string, number, number][] = [];
    const size = 3 << 20;
    await writeWindow([region(0, size)], movingWindow(guarded(4 << 20), 1 << 20), {
      width: 8,
      onProgress: (...step) => steps.push(step),
    });
    expect(steps.filter(([, done]) => done === size)).toEqual([
      ['write', size, size],
      ['verify', size, size],
    ]);
    expect(steps.length).toBeGreaterThan(8);
  });

  it('stops when it is told to', async () => {
    const abort = new AbortController();
    const memory = guarded(4 << 20);
    const window = movingWindow(memory, 1 << 20);
    const work = writeWindow([region(0, 4 << 20)], window, {
      width: 8,
      signal: abort.signal,
      onProgress: (_step, done) => done > 1 << 20 && abort.abort(),
    });
    await expect(work).rejects.toMatchObject({ code: 'aborted' });
    expect(memory.at(-1)).toBe(GUARD);
  });
});

describe('reading back', () => {
  it('names the first byte that was not kept', async () => {
    const memory = guarded(0x10000);
    const window = movingWindow(memory, 0x10000);
    const forgetful: MemoryWindow = {
      ...window,
      async expose(offset) {
        const shown = await window.expose(offset);
        if (window.offsets.length === 2) shown[0x2345] = 0xee;
        return shown;
      },
    };
    const work = writeWindow([region(0x100, 16), region(0x2000, pattern(0x1000))], forgetful, { width: 4 });
    await expect(work).rejects.toMatchObject({
      code: 'machine-failed',
      message: expect.stringMatching(/^at 0x2345 \(at 2000\) the window reads ee[0-9a-f]{14} where /) as string,
    });
  });

  it('finds out that the aperture never moved', async () => {
    const only = guarded(0x1000);
    const stuck: MemoryWindow = { address: 0n, size: 0x4000, aperture: 0x1000, expose: () => only };
    const work = writeWindow([region(0xf00, pattern(0x1300))], stuck, { width: 4 });
    await expect(work).rejects.toMatchObject({
      code: 'machine-failed',
      hint: expect.stringContaining('aperture') as string,
    });
  });

  it('says what to do where nothing answers, so that all ones are read', async () => {
    const ones = new Uint8Array(0x1000).fill(0xff);
    const dead: MemoryWindow = { address: 0n, size: 0x1000, aperture: 0x1000, expose: () => ones.slice() };
    const failure = (length: number): Promise<unknown> =>
      writeWindow([region(0x100, pattern(length))], dead, { width: 4 }).catch((error: unknown) => error);
    expect(await failure(64)).toMatchObject({ hint: expect.stringContaining('echo 1 > .../enable') as string });
    ones[0x13f] = 0xfe;
    expect(await failure(64)).toMatchObject({ hint: expect.stringContaining('not memory') as string });
    expect(await failure(63)).toMatchObject({ hint: expect.stringContaining('echo 1 > .../enable') as string });
  });

  it('does not mind what lies beside the plan', async () => {
    const memory = guarded(64);
    let calls = 0;
    const restless: MemoryWindow = {
      address: 0n,
      size: 64,
      aperture: 64,
      expose: () => {
        if (calls++ === 1) memory.fill(0x11, 0, 3).fill(0x11, 13);
        return memory;
      },
    };
    expect(await writeWindow([region(3, pattern(10))], restless, { width: 8 })).toMatchObject({ verified: 10 });
  });
});

describe('what is refused before anything is written', () => {
  const refuse = async (regions: readonly Region[], more: Partial<Parameters<typeof writeWindow>[2]> = {}) => {
    const memory = guarded(0x1000);
    const window = movingWindow(memory, 0x1000, 0x10000n);
    const error: unknown = await writeWindow(regions, window, { width: 4, ...more }).catch((reason: unknown) => reason);
    expect(window.offsets).toEqual([]);
    expect(memory.every((byte) => byte === GUARD)).toBe(true);
    return error;
  };
  const good = region(0x10000, pattern(64));

  it.each([
    ['a region before the window', [good, region(0xfffc, pattern(4))], 'does-not-fit'],
    ['a region over the end', [good, region(0x10ffc, pattern(2), 5)], 'does-not-fit'],
    ['a region far beyond', [good, { ...good, address: 1n << 63n }], 'does-not-fit'],
    ['regions that overlap', [region(0x10040, 8), good, region(0x1003f, pattern(1))], 'overlap'],
    ['more bytes than the size', [good, region(0x10100, pattern(9), 8)], 'bad-field'],
    ['no size', [good, region(0x10100, 0)], 'bad-field'],
  ])('%s', async (_name, regions, code) => {
    expect(await refuse(regions)).toMatchObject({ code });
  });

  it('edges inside a word, if they are not to be merged', async () => {
    const inside = [good, region(0x10102, pattern(2))];
    expect(await refuse(inside, { edges: 'refuse' })).toMatchObject({
      code: 'does-not-fit',
      message: expect.stringContaining('at 10102 has an edge at 0x10102') as string,
    });
    expect(await refuse([region(0x10100, 7)], { edges: 'refuse' })).toMatchObject({ code: 'does-not-fit' });
    // Regions that meet inside a word leave none of it to others.
    const memory = guarded(0x1000);
    const window = movingWindow(memory, 0x1000);
    await writeWindow([region(0, pattern(6)), region(6, 2)], window, { width: 4, edges: 'refuse' });
  });

  it('what there is no room for', async () => {
    const window = movingWindow(guarded(0x1000), 0x1000);
    const reserved: [number, number][] = [];
    const full: MemoryWindow = {
      ...window,
      reserve(offset, length) {
        reserved.push([offset, length]);
        if (offset > 0) throw new RangeError('full');
      },
    };
    const work = writeWindow([region(0, 5), region(0x800, 9)], full, { width: 4 });
    await expect(work).rejects.toThrow('full');
    expect([reserved, window.offsets]).toEqual([
      [
        [0, 5],
        [0x800, 9],
      ],
      [],
    ]);
  });

  it.each([
    ['address', { address: 4n }],
    ['size', { size: 0xffc }],
    ['aperture', { aperture: 12 }],
    ['aperture of nothing', { aperture: 0 }],
  ])('a window with an uneven %s', async (_name, change) => {
    const window = { ...movingWindow(guarded(0x1000), 0x1000), ...change };
    await expect(writeWindow([], window, { width: 1 })).rejects.toMatchObject({ code: 'bad-argument' });
  });

  it.each([
    ['too little', (memory: Uint8Array) => memory.subarray(0, 0xff8)],
    ['uneven bytes', (memory: Uint8Array) => new Uint8Array(memory.buffer, 4)],
  ])('a window that shows %s', async (_name, show) => {
    const memory = guarded(0x2000);
    const window: MemoryWindow = { address: 0n, size: 0x1000, aperture: 0x1000, expose: () => show(memory) };
    const work = writeWindow([region(0, pattern(64))], window, { width: 1 });
    await expect(work).rejects.toMatchObject({ code: 'machine-failed' });
    expect(memory.every((byte) => byte === GUARD)).toBe(true);
  });
});
