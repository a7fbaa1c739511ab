/** Memory maps as the guest sees them, and as people write them. */
import { ByteView } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { type AddressRange, subtractRanges } from '../bytes/ranges.js';
import { defineStruct } from '../bytes/struct.js';
import { E820_TYPES, type MemoryMap, type MemoryRange, type MemoryType } from './memory-map.js';

/** struct boot_e820_entry (uapi/asm/bootparam.h). */
export const BOOT_E820_ENTRY = defineStruct('boot_e820_entry', 20, 'arch/x86/include/uapi/asm/bootparam.h', [
  { name: 'addr', offset: 0, type: 'u64', shown: 'hex', doc: 'guest physical address' },
  { name: 'size', offset: 8, type: 'u64', shown: 'hex', doc: 'bytes' },
  { name: 'type', offset: 16, type: 'u32', doc: '1 RAM, 2 reserved, 3 ACPI, 4 NVS, 5 unusable, 7 persistent memory' },
]);

/** The map as an array of struct boot_e820_entry. */
export function encodeE820(map: MemoryMap): Uint8Array {
  const bytes = new Uint8Array(map.length * BOOT_E820_ENTRY.size);
  map.forEach(({ address, size, type }, index) => {
    BOOT_E820_ENTRY.write(bytes, index * BOOT_E820_ENTRY.size, { addr: address, size, type: E820_TYPES[type] });
  });
  return bytes;
}

/** The type of an e820 entry; numbers that the specification does not define count as reserved. */
export function memoryType(number: number): MemoryType {
  return (Object.keys(E820_TYPES) as MemoryType[]).find((type) => E820_TYPES[type] === number) ?? 'reserved';
}

/**
 * A firmware's map, made usable: in address order and disjoint, where entries overlap the more restrictive type winning
 * as it does in the kernel.
 * @param table an array of struct boot_e820_entry, of which the first `count` hold; no more than fit are read.
 */
export function readMemoryMap(table: Uint8Array, count: number): MemoryMap {
  const view = new ByteView(table);
  const entries = Array.from({ length: Math.min(count, Math.floor(table.length / BOOT_E820_ENTRY.size)) }, (_, i) =>
    BOOT_E820_ENTRY.read(view, i * BOOT_E820_ENTRY.size),
  )
    .filter(({ addr, size }) => size > 0n && addr + size <= 1n << 64n)
    .map(({ addr, size, type }) => ({ start: addr, end: addr + size, type: memoryType(type) }))
    .sort((a, b) => E820_TYPES[b.type] - E820_TYPES[a.type]);
  const taken: (AddressRange & { type: MemoryType })[] = [];
  for (const { start, end, type } of entries) {
    taken.push(...subtractRanges({ start, end }, taken).map((range) => ({ ...range, type })));
  }
  return taken
    .sort((a, b) => (a.start < b.start ? -1 : 1))
    .map(({ start, end, type }) => ({ address: start, size: end - start, type }));
}

/** Changes the type of [address, address + size) where the map has it as RAM, splitting entries. */
export function carve(map: MemoryMap, address: bigint, size: bigint, type: MemoryType): MemoryMap {
  const end = address + size;
  return map.flatMap((entry): MemoryRange[] => {
    const entryEnd = entry.address + entry.size;
    if (entry.type !== 'ram' || entryEnd <= address || entry.address >= end) return [entry];
    const from = entry.address > address ? entry.address : address;
    const to = entryEnd < end ? entryEnd : end;
    const parts: MemoryRange[] = [
      { address: entry.address, size: from - entry.address, type: 'ram' },
      { address: from, size: to - from, type },
      { address: to, size: entryEnd - to, type: 'ram' },
    ];
    return parts.filter((part) => part.size > 0n);
  });
}

const TYPE_WORDS: readonly (readonly [RegExp, MemoryType])[] = [
  [/^(usable|ram|system ram|available|1)$/, 'ram'],
  [/^(reserved|soft reserved|2)$/, 'reserved'],
  [/^(acpi data|acpi tables|acpi reclaimable|acpi|3)$/, 'acpi'],
  [/^(acpi nvs|acpi non-volatile storage|nvs|4)$/, 'nvs'],
  [/^(unusable|unusable memory|5)$/, 'unusable'],
  [/^(persistent( memory)?( \(type \d+\))?|persistent|pmem|7)$/, 'pmem'],
];

function typeOf(word: string, line: number): MemoryType {
  const text = word.trim().toLowerCase();
  const known = TYPE_WORDS.find(([pattern]) => pattern.test(text));
  if (known !== undefined) return known[1];
  if (/^(type )?\d+$/.test(text)) return 'reserved';
  throw badLine(line, `"${word.trim()}" is no memory type`);
}

function badLine(line: number, why: string): BootImageError {
  return new BootImageError('bad-argument', `line ${String(line)} of the memory map: ${why}`, {
    field: 'e820',
    hint: 'write lines such as "0x100000-0x1fffffff usable", the lines that the kernel prints, or a JSON array of {address, size, type}',
  });
}

/** One line: `[mem START-LAST] TYPE` of the kernel, or `START-LAST TYPE`; LAST is the last byte. */
const LINE = /(?:\[mem\s+)?(0x[0-9a-f]+)\s*-\s*(0x[0-9a-f]+)\s*\]?\s*:?\s+(\S.*?)\s*$/i;

function parseLines(text: string): MemoryRange[] {
  const lines = text.split(/\r?\n/);
  // In a whole kernel log, the firmware's map is the lines with this word; the kernel prints edited maps, too.
  const fromLog = lines.some((line) => line.includes('BIOS-e820:'));
  return lines.flatMap((line, index): MemoryRange[] => {
    const bare = line.replace(/#.*/, '').trim();
    if (bare === '' || (fromLog && !line.includes('BIOS-e820:'))) return [];
    const match = LINE.exec(bare);
    if (match === null) throw badLine(index + 1, `"${bare}" is not understood`);
    const [, start = '', last = '', type = ''] = match;
    const address = BigInt(start);
    const size = BigInt(last) - address + 1n;
    if (size <= 0n) throw badLine(index + 1, 'it ends before it begins');
    return [{ address, size, type: typeOf(type, index + 1) }];
  });
}

function toBig(value: unknown): bigint | null {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  if (typeof value === 'string' && /^(0x[0-9a-f]+|\d+)$/i.test(value)) return BigInt(value);
  return null;
}

function rangesOf(document: unknown): MemoryRange[] {
  const list = Array.isArray(document) ? document : (document as { memory?: unknown } | null)?.memory;
  if (!Array.isArray(list)) throw badLine(1, 'the JSON document is no array');
  return list.map((item: unknown, index): MemoryRange => {
    const entry = (typeof item === 'object' && item !== null ? item : {}) as Record<string, unknown>;
    const address = toBig(entry['address']);
    const size = toBig(entry['size']);
    const type = entry['type'];
    if (address === null || size === null || (typeof type !== 'string' && typeof type !== 'number')) {
      throw badLine(index + 1, 'an entry lacks address, size or type');
    }
    return { address, size, type: typeOf(String(type), index + 1) };
  });
}

/** Null if it is no JSON, and does not try to be: a kernel log, too, begins with a bracket. */
function parseJson(text: string): MemoryRange[] | null {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    if (!/^\s*(\{|\[\s*\{)/.test(text)) return null;
    throw new BootImageError('bad-argument', 'the memory map is no valid JSON', { field: 'e820', cause });
  }
  return rangesOf(document);
}

/**
 * Reads a memory map as people have it: the kernel's own lines (`BIOS-e820: [mem 0x...-0x...] usable`, a whole log is
 * fine), lines `START-LAST TYPE` in hexadecimal with the last byte included, or JSON: an array of
 * `{address, size, type}` (or a document with such an array as `memory`, as `bzelf plan --json` prints it).
 * `#` begins a comment. The result is in address order.
 * @throws BootImageError `bad-argument` for what is not understood, and for overlapping entries.
 */
export function parseMemoryMap(text: string): MemoryMap {
  const entries = parseJson(text) ?? parseLines(text);
  if (entries.length === 0) throw badLine(1, 'there are no entries');
  const sorted = entries.sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  sorted.forEach((entry, index) => {
    const next = sorted[index + 1];
    if (entry.size === 0n || entry.address + entry.size > (next?.address ?? 1n << 64n)) {
      throw new BootImageError(
        'bad-argument',
        `the memory map's entry at 0x${entry.address.toString(16)} is empty, wraps around or overlaps the next`,
        { field: 'e820', hint: 'give disjoint entries' },
      );
    }
  });
  return sorted;
}
