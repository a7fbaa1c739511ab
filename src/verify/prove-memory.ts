/**
 * Guest memory against what was promised, byte by byte, at the moment when the decompressor enters the kernel.
 *
 * The kernel's own decompressor (parse_elf in arch/x86/boot/compressed/misc.c) decompresses the whole ELF file to the
 * output address and then moves the segments over it; it clears neither bss nor gaps, which the kernel does itself.
 * So a byte there that is promised to be zero may hold the ELF file's byte at that offset, or be the decompressor's own
 * memory (its moved code and input, heap, stack, page tables: from the end of its output to init_size).
 */
import type { PromisedRange, ReadMemory } from './prove-payload.js';

export interface Difference {
  readonly address: bigint;
  /** Bytes. */
  readonly length: number;
  /** The first bytes, at most 32. */
  readonly expected: Uint8Array;
  readonly found: Uint8Array;
  readonly what: string;
}

/** Bytes that differ from the promise and may. */
export interface ExplainedDifference {
  readonly address: bigint;
  readonly length: number;
  readonly what: string;
  readonly reason: string;
}

export interface ComparedRange {
  readonly address: bigint;
  readonly length: number;
  readonly what: string;
  /** `file`: the bytes of the file, relocated; `zero`: memory that the headers promise to be zero. */
  readonly rule: 'file' | 'zero';
}

export interface MemoryProof {
  readonly ranges: readonly ComparedRange[];
  readonly bytesCompared: number;
  readonly differences: readonly Difference[];
  readonly explained: readonly ExplainedDifference[];
}

/** What the decompressor leaves in memory that it does not clear. */
export interface Leftovers {
  /** Address to which the payload was decompressed. */
  readonly output: bigint;
  readonly raw: Uint8Array;
  /** One past the memory that the decompressor uses. */
  readonly end: bigint;
}

/** The two reasons for which promised zeros may be something else. */
export const LEFTOVER_REASONS = {
  file: 'the decompressed ELF file at this offset: the decompressor does not clear it, the kernel clears its own bss',
  workspace: "the decompressor's own memory, below init_size: its moved code and input, heap, stack and page tables",
} as const;

const SHOWN = 32;
/** Differing bytes closer than this are told as one difference. */
const JOIN = 16;
/** More than this are not listed one by one: the image is not what it says, whatever the rest is. */
const MOST = 100;

/** A run of bytes, by offset. */
interface Run {
  start: number;
  end: number;
}

/** The runs of offsets for which `differs` holds, joined where they are close. */
function runsOf(length: number, differs: (index: number) => boolean): Run[] {
  const runs: Run[] = [];
  let open: Run | null = null;
  for (let index = 0; index < length; index++) {
    if (!differs(index)) continue;
    if (open !== null && index - open.end < JOIN) {
      open.end = index + 1;
      continue;
    }
    if (runs.length === MOST) return runs;
    open = { start: index, end: index + 1 };
    runs.push(open);
  }
  return runs;
}

/** Bytes against bytes, from `address` on. */
export function compareBytes(address: bigint, expected: Uint8Array, found: Uint8Array, what: string): Difference[] {
  return runsOf(expected.length, (index) => expected[index] !== found[index]).map(({ start, end }) => ({
    ...{ address: address + BigInt(start), length: end - start, what },
    expected: expected.slice(start, Math.min(end, start + SHOWN)),
    found: found.slice(start, Math.min(end, start + SHOWN)),
  }));
}

/** What stands where zeros are promised. */
function compareZeros(
  address: bigint,
  found: Uint8Array,
  what: string,
  { output, raw, end }: Leftovers,
): { differences: Difference[]; explained: ExplainedDifference[] } {
  const inFile = (index: number): number => Number(address - output) + index;
  const workspaceEnd = Number(end - output);
  const counts = { file: 0, workspace: 0 };
  const first = { file: 0, workspace: 0 };
  const unexplained = runsOf(found.length, (index) => {
    const byte = found[index];
    if (byte === 0) return false;
    const offset = inFile(index);
    const kind = raw[offset] === byte ? 'file' : offset >= raw.length && offset < workspaceEnd ? 'workspace' : null;
    if (kind === null) return true;
    if (counts[kind]++ === 0) first[kind] = index;
    return false;
  });
  return {
    differences: unexplained.map((run) => ({
      ...{ address: address + BigInt(run.start), length: run.end - run.start, what },
      expected: new Uint8Array(Math.min(run.end - run.start, SHOWN)),
      found: found.slice(run.start, Math.min(run.end, run.start + SHOWN)),
    })),
    explained: (['file', 'workspace'] as const)
      .filter((kind) => counts[kind] > 0)
      .map((kind) => ({
        ...{ address: address + BigInt(first[kind]), length: counts[kind], what },
        reason: LEFTOVER_REASONS[kind],
      })),
  };
}

/** Compares every byte of the promised ranges. @param read throws for memory that the guest does not have */
export function proveMemory(promised: readonly PromisedRange[], read: ReadMemory, leftovers: Leftovers): MemoryProof {
  const ranges: ComparedRange[] = [];
  const differences: Difference[] = [];
  const explained: ExplainedDifference[] = [];
  for (const { address, size, bytes, what } of promised) {
    const found = read(address, size);
    if (bytes.length > 0) {
      ranges.push({ address, length: bytes.length, what, rule: 'file' });
      differences.push(...compareBytes(address, bytes, found, what));
    }
    if (size > bytes.length) {
      const start = address + BigInt(bytes.length);
      const label = bytes.length > 0 ? `bss of ${what}` : what;
      ranges.push({ address: start, length: size - bytes.length, what: label, rule: 'zero' });
      const zeros = compareZeros(start, found.subarray(bytes.length), label, leftovers);
      differences.push(...zeros.differences);
      explained.push(...zeros.explained);
    }
  }
  return {
    ranges,
    bytesCompared: ranges.reduce((sum, { length }) => sum + length, 0),
    differences: differences.slice(0, MOST),
    explained,
  };
}
