import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { latin1Bytes } from '../../../src/bytes/byte-view.js';
import { moveBase, openFileWindow } from '../../../src/machines/device-window/file-window.js';
import { MappedFile } from '../../../src/machines/device-window/mapped-file.js';
import { writeWindow } from '../../../src/machines/device-window/write-window.js';
import { expected, guarded, pattern, region } from './windows.js';

let work = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'bzelf-window-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

function file(name: string, content: Uint8Array): string {
  const path = join(work, name);
  writeFileSync(path, content);
  return path;
}

describe.runIf(process.platform === 'linux')('windows made of files', () => {
  it.each([
    ['the whole file', 0, undefined, 0x31000],
    ['from an offset inside a page to the end', 0x1238, undefined, 0x31000 - 0x1238],
    ['a part', 0x20008, 0x8000, 0x8000],
    ['whole words only', 0, 0x1007, 0x1000],
  ])('%s', async (_name, offset, length, size) => {
    const before = guarded(0x31000);
    const path = file('ram', before);
    const window = await openFileWindow(
      { path, offset, ...(length === undefined ? {} : { length }) },
      { address: 0x1000_0000n },
    );
    try {
      expect(window).toMatchObject({ address: 0x1000_0000n, size });
      const regions = [region(0x1000_0003, pattern(100)), region(0x1000_0000 + size - 9, pattern(3), 9)];
      await writeWindow(regions, window, { width: 4 });
      const wanted = expected(before, regions, 0x1000_0000n - BigInt(offset));
      expect(Buffer.compare(readFileSync(path), wanted)).toBe(0);
    } finally {
      window.close();
    }
  });

  it('lies over files larger than one mapping', async () => {
    const path = file('large', new Uint8Array(0));
    const size = 9 * 2 ** 30;
    truncateSync(path, size);
    const window = await openFileWindow({ path, offset: 0 });
    try {
      const regions = [region(0x1000, pattern(5000)), region(2 ** 31 - 4, pattern(8)), region(size - 5, pattern(5))];
      const { moves } = await writeWindow(regions, window, { width: 8 });
      expect(moves).toBe(8);
    } finally {
      window.close();
    }
    const mapped = await MappedFile.open(path);
    expect([...mapped.map(2 ** 31 - 8, 16)]).toEqual([0, 0, 0, 0, ...pattern(8), 0, 0, 0, 0]);
    expect([...mapped.map(size - 6, 6)]).toEqual([0, ...pattern(5)]);
    mapped.close();
    expect(statSync(path).blocks * 512).toBeLessThan(1 << 20);
  });

  it('maps and unmaps as often as asked', async () => {
    const path = file('many', pattern(0x4000));
    const mapped = await MappedFile.open(path);
    for (let round = 0; round < 3000; round++) {
      const offset = (round % 3) * 0x1000;
      if (mapped.map(offset, 0x1000)[1] !== pattern(0x4000)[offset + 1]) expect.fail(`round ${String(round)}`);
    }
    mapped.close();
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain(path);
  });

  it.each([
    ['a window that begins behind the end', { offset: 0x3000 }, 'bad-argument'],
    ['a window over the end', { offset: 0, length: 0x2008 }, 'does-not-fit'],
    ['a window far over the end', { offset: 0, length: 2 ** 40 }, 'does-not-fit'],
    ['an uneven offset', { offset: 4 }, 'bad-argument'],
    ['no whole word', { offset: 0, length: 7 }, 'bad-argument'],
  ])('refuses %s', async (_name, place, code) => {
    const path = file('small', guarded(0x2000));
    await expect(openFileWindow({ path, ...place })).rejects.toMatchObject({ code });
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain(path);
  });

  it('refuses what is missing, a directory, and a device that cannot be mapped or does not tell its length', async () => {
    const open = (path: string, length?: number): Promise<unknown> =>
      openFileWindow({ path, offset: 0, ...(length === undefined ? {} : { length }) });
    await expect(open(join(work, 'none'))).rejects.toMatchObject({ code: 'file-not-found' });
    await expect(open(work)).rejects.toMatchObject({ code: 'file-unwritable', message: `${work}: is a directory` });
    await expect(open('/dev/null', 4096)).rejects.toMatchObject({ code: 'file-unwritable' });
    await expect(open('/dev/null')).rejects.toMatchObject({ code: 'bad-argument' });
  });

  it.runIf(existsSync('/dev/shm'))('refuses a plan for which the disk has no room before it writes', async () => {
    const path = join('/dev/shm', `bzelf-window-${String(process.pid)}`);
    closeSync(openSync(path, 'wx'));
    try {
      truncateSync(path, 2 ** 46);
      const window = await openFileWindow({ path, offset: 0 });
      const work = writeWindow([region(0, pattern(4096)), region(0x10000, 2 ** 45)], window, { width: 8 });
      await expect(work).rejects.toMatchObject({
        code: 'file-unwritable',
        message: expect.stringContaining('no space left') as string,
      });
      const shown = await window.expose(0);
      expect(shown.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
      window.close();
    } finally {
      rmSync(path);
    }
  });
});

describe.runIf(process.platform === 'linux')("a PCI device's memory under /sys", () => {
  /** A device as sysfs shows it: command register, bus address of resource2. */
  const device = (name: string, command: number, start: string, content: Uint8Array): string => {
    mkdirSync(join(work, name));
    file(`${name}/config`, Uint8Array.of(0xf4, 0x1a, 0x10, 0x11, command, 0));
    const none = `0x${'0'.repeat(16)} 0x${'0'.repeat(16)} 0x${'0'.repeat(16)}\n`;
    file(`${name}/resource`, latin1Bytes(`${none}${none}${start} 0x00000001ffffffff 0x000000000014220c\n${none}`));
    return file(`${name}/resource2`, content);
  };

  it('is refused before anything is written while it is switched off, and says how to switch it on', async () => {
    const path = device('0000:00:01.0', 0x405, '0x0000000100000000', guarded(0x1000));
    await expect(openFileWindow({ path, offset: 0 })).rejects.toMatchObject({
      code: 'machine-failed',
      message: `${path}: the device's memory is switched off`,
      hint: `echo 1 > ${work}/0000:00:01.0/enable`,
    });
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain(path);
  });

  it('is taken for switched on where its own register does not tell: on a virtual function', async () => {
    const path = device('0000:00:01.1', 0, '0x0000000100000000', guarded(0x1000));
    symlinkSync('../0000:00:01.0', join(work, '0000:00:01.1/physfn'));
    (await openFileWindow({ path, offset: 0 })).close();
  });

  it('begins inside the page that is mapped if it is smaller than a page', async () => {
    const path = device('0000:00:02.0', 6, '0x0000000040201100', pattern(0x1000));
    const mapped = await MappedFile.open(path);
    expect([...mapped.map(8, 4)]).toEqual([...pattern(0x1000).subarray(0x108, 0x10c)]);
    mapped.close();
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain(path);
  });
});

describe.runIf(process.platform === 'linux')('a base register', () => {
  it('is set to multiples of the aperture and given back its value', async () => {
    const aperture = file('aperture', guarded(0x2000));
    const registers = file('registers', pattern(64));
    const window = await openFileWindow(
      { path: aperture, offset: 0x1000 },
      { baseRegister: { path: registers, offset: 12 }, address: 0x8000_0000n },
    );
    const word = (): number => readFileSync(registers).readUInt32LE(12);
    const before = word();
    expect(window).toMatchObject({ size: 2 ** 32, aperture: 0x1000 });
    const shown = await window.expose(0x5000);
    expect([word(), shown.length]).toEqual([0x5000, 0x1000]);
    await window.expose(2 ** 32 - 0x1000);
    expect(word()).toBe(2 ** 32 - 0x1000);
    window.close();
    expect(word()).toBe(before);
    expect(Buffer.compare(readFileSync(registers), pattern(64))).toBe(0);
  });

  it('writes a memory that a device moves behind it', async () => {
    const memory = guarded(0x10000);
    // The device: its aperture shows what its register says.
    let base = 0;
    const register: Record<number, number> = Object.defineProperty({}, 0, {
      get: () => base,
      set: (value: number) => (base = value),
    });
    const regions = [region(0xff0, pattern(0x2020)), region(0xf000, 7)];
    const wanted = expected(memory, regions);
    const window = {
      address: 0n,
      size: memory.length,
      aperture: 0x1000,
      expose(offset: number) {
        moveBase(register, offset);
        return memory.subarray(base, base + 0x1000);
      },
    };
    await writeWindow(regions, window, { width: 4 });
    expect(Buffer.compare(memory, wanted)).toBe(0);
  });

  it('must keep what it is given', () => {
    const narrow: Record<number, number> = Object.defineProperty({}, 0, { get: () => 0, set: () => undefined });
    expect(() => moveBase(narrow, 0x1000)).toThrow(/reads 0x0 after 0x1000/);
  });

  it.each([
    ['a length that is no power of two', { length: 0x1800 }, { offset: 0 }, 'bad-argument'],
    ['a register between words', { length: 0x1000 }, { offset: 2 }, 'bad-argument'],
    ['a register behind the end', { length: 0x1000 }, { offset: 64 }, 'does-not-fit'],
  ])('refuses %s', async (_name, place, register, code) => {
    const path = file('aperture', guarded(0x2000));
    const registers = file('registers', pattern(64));
    const opening = openFileWindow({ path, offset: 0, ...place }, { baseRegister: { path: registers, ...register } });
    await expect(opening).rejects.toMatchObject({ code });
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain(work);
  });
});
