import { describe, expect, it } from 'vitest';
import { carve, encodeE820, parseMemoryMap, readMemoryMap } from '../../src/boot/e820.js';
import { type MemoryMap, memorySize, parseMemorySize, pcMemoryMap, ramEnd } from '../../src/boot/memory-map.js';
import { planToJson } from '../../src/boot/plan-json.js';
import { checkPlan } from '../../src/boot/plan-check.js';
import { realModeState } from '../../src/boot/cpu.js';

const KERNEL_LOG = `
[    0.000000] Linux version 6.1.0
[    0.000000] BIOS-provided physical RAM map:
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.000000] BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved
[    0.000000] BIOS-e820: [mem 0x00000000000f0000-0x00000000000fffff] reserved
[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x000000001ffdffff] usable
[    0.000000] BIOS-e820: [mem 0x000000001ffe0000-0x000000001fffffff] ACPI data
[    0.000000] BIOS-e820: [mem 0x0000000020000000-0x0000000020000fff] ACPI NVS
[    0.000000] BIOS-e820: [mem 0x00000000fffc0000-0x00000000ffffffff] unusable
[    0.000000] BIOS-e820: [mem 0x0000000100000000-0x000000013fffffff] persistent (type 7)
[    0.000000] NX (Execute Disable) protection: active
[    0.000000] e820: update [mem 0x00000000-0x00000fff] usable ==> reserved
`;
const LOGGED: MemoryMap = [
  { address: 0n, size: 0x9fc00n, type: 'ram' },
  { address: 0x9fc00n, size: 0x400n, type: 'reserved' },
  { address: 0xf0000n, size: 0x10000n, type: 'reserved' },
  { address: 0x100000n, size: 0x1fee0000n, type: 'ram' },
  { address: 0x1ffe0000n, size: 0x20000n, type: 'acpi' },
  { address: 0x20000000n, size: 0x1000n, type: 'nvs' },
  { address: 0xfffc0000n, size: 0x40000n, type: 'unusable' },
  { address: 0x100000000n, size: 0x40000000n, type: 'pmem' },
];

describe('memory maps from text', () => {
  it('a kernel log', () => {
    expect(parseMemoryMap(KERNEL_LOG)).toEqual(LOGGED);
  });

  it('plain lines, in any order, with comments', () => {
    expect(parseMemoryMap('# a small machine\n0x100000-0xffffff usable\n\n0x0-0x9ffff ram # low\n')).toEqual([
      { address: 0n, size: 0xa0000n, type: 'ram' },
      { address: 0x100000n, size: 0xf00000n, type: 'ram' },
    ]);
  });

  it('JSON, as plan --json prints it', () => {
    const plan = checkPlan({
      stage: 'setup',
      protocol: 'linux16',
      bits: 32,
      memory: LOGGED,
      regions: [{ address: 0x10000n, size: 0x1000, bytes: new Uint8Array(0x400), purpose: 'setup', label: 'x' }],
      cpu: realModeState(0x1000, 0xfff0),
      firmware: 'bios',
      hook: null,
      facts: { remarks: [] },
    });
    expect(parseMemoryMap(JSON.stringify(planToJson(plan)))).toEqual(LOGGED);
    expect(parseMemoryMap('[{"address": 0, "size": "0x1000", "type": 12}]')).toEqual([
      { address: 0n, size: 0x1000n, type: 'reserved' },
    ]);
  });

  it.each([
    ['', 'no entries'],
    ['hello', 'line 1'],
    ['0x0-0xfff usable\n0x1000-0x1fff strange', 'line 2'],
    ['0x2000-0x1000 usable', 'ends before'],
    ['0x0-0x1fff usable\n0x1000-0x2fff reserved', 'overlaps'],
    ['0x0-0x10000000000000000 usable', 'wraps'],
    ['[{"address": -1, "size": 4096, "type": "ram"}]', 'lacks'],
    ['[{"address": 0, "size": 0, "type": "ram"}]', 'empty'],
    ['[1]', 'lacks'],
    ['{"memory": 5}', 'no array'],
    ['[{', 'JSON'],
  ])('refuses %j', (text, why) => {
    expect(() => parseMemoryMap(text)).toThrow(
      expect.objectContaining({ code: 'bad-argument', message: expect.stringContaining(why) as string }),
    );
  });
});

describe('memory maps of firmware', () => {
  it('survive the way through struct boot_e820_entry', () => {
    expect(readMemoryMap(encodeE820(LOGGED), LOGGED.length)).toEqual(LOGGED);
  });

  it('where entries overlap, the more restrictive type wins', () => {
    const table = encodeE820([
      { address: 0n, size: 0x10000n, type: 'ram' },
      { address: 0x4000n, size: 0x2000n, type: 'reserved' },
      { address: 0x5000n, size: 0x2000n, type: 'acpi' },
      { address: 0x20000n, size: 0n, type: 'ram' },
    ]);
    expect(readMemoryMap(table, 4)).toEqual([
      { address: 0n, size: 0x4000n, type: 'ram' },
      { address: 0x4000n, size: 0x1000n, type: 'reserved' },
      { address: 0x5000n, size: 0x2000n, type: 'acpi' },
      { address: 0x7000n, size: 0x9000n, type: 'ram' },
    ]);
  });

  it('a count beyond the table reads what is there', () => {
    expect(readMemoryMap(encodeE820(LOGGED.slice(0, 2)), 255)).toHaveLength(2);
  });

  it('a piece of RAM changes its type, the rest stays', () => {
    const map = pcMemoryMap(64n << 20n);
    expect(carve(map, 0x200000n, 0x1000n, 'acpi').slice(3)).toEqual([
      { address: 0x100000n, size: 0x100000n, type: 'ram' },
      { address: 0x200000n, size: 0x1000n, type: 'acpi' },
      { address: 0x201000n, size: (64n << 20n) - 0x201000n, type: 'ram' },
    ]);
    expect(carve(map, 0x9f000n, 0x2000n, 'acpi')).toContainEqual({ address: 0x9fc00n, size: 0x400n, type: 'reserved' });
  });
});

describe('a PC’s memory', () => {
  it.each(['2M', '512M', '2800M', '3G', '6G', '64G'])('%s, wherever it lies', (text) => {
    const size = parseMemorySize(text);
    const map = pcMemoryMap(size);
    expect(memorySize(map)).toBe(size);
    const ends = map.filter(({ type }) => type === 'ram').map(({ address, size: length }) => address + length);
    for (const end of ends) expect(end <= 0xb0000000n || end > 1n << 32n).toBe(true);
    expect(ramEnd(map)).toBe(size <= 0xaf000000n ? size : (1n << 32n) + size - 0x7f000000n);
  });

  it.each(['1M', '5T'])('%s is refused', (text) => {
    expect(() => pcMemoryMap(parseMemorySize(text))).toThrow(expect.objectContaining({ code: 'bad-argument' }));
  });
});
