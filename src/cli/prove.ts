/** The `prove` command: runs an image's own stages and compares guest memory with what its headers promise. */
import { hex, hexBytes } from '../bytes/numbers.js';
import { parseMemorySize, pcMemoryMap } from '../boot/memory-map.js';
import { readBootImage } from '../bzimage/read-boot-image.js';
import { proveImage } from '../machines/prove/prove-image.js';
import { readImage } from '../node/files.js';
import { isProved, type KernelProof, type Proof, type StageProof } from '../verify/prove.js';
import type { HeaderDifference, HeaderProof } from '../verify/prove-headers.js';
import type { Difference, MemoryProof } from '../verify/prove-memory.js';
import type { StateDifference } from '../verify/prove-state.js';
import type { CliIo, CommonOptions } from './io.js';

export interface ProveOptions extends CommonOptions {
  readonly memory: string;
  readonly kaslr?: boolean;
  /** Seconds. */
  readonly timeout: number;
  readonly limit: number;
}

/** A jump to the wrong place, as a difference without bytes. */
function entryDifference({ entry }: StageProof | KernelProof, what: string): Difference[] {
  const none = new Uint8Array(0);
  if (entry.expected === entry.found) return [];
  return [
    {
      address: entry.found,
      length: 0,
      expected: none,
      found: none,
      what: `${what}: headers say ${hex(entry.expected)}`,
    },
  ];
}

function memoryJson({ ranges, bytesCompared, explained }: MemoryProof): Record<string, unknown> {
  return { ranges_compared: ranges.length, bytes_compared: bytesCompared, ranges, expected_differences: explained };
}

function differencesOf({ stage, kernel }: Proof): Difference[] {
  return [
    ...(stage === null ? [] : [...stage.memory.differences, ...entryDifference(stage, 'entry of the stage ELF')]),
    ...(kernel === null ? [] : [...kernel.memory.differences, ...entryDifference(kernel, 'entry of the kernel')]),
  ];
}

/** Differences of either ELF file's headers, with the file that they stand in. */
function headerDifferences({ stage, kernel }: Proof): (HeaderDifference & { readonly elf: 'stage' | 'kernel' })[] {
  return [
    ...(stage?.headers.differences ?? []).map((difference) => ({ elf: 'stage' as const, ...difference })),
    ...(kernel?.headers.differences ?? []).map((difference) => ({ elf: 'kernel' as const, ...difference })),
  ];
}

function proofJson(proof: Proof): Record<string, unknown> {
  const { stage, kernel } = proof;
  const memories = [stage?.memory, kernel?.memory].filter((memory) => memory !== undefined);
  return {
    proved: isProved(proof),
    failure: proof.failure,
    last_words: proof.lastWords,
    command_line: proof.commandLine,
    ranges_compared: memories.reduce((sum, { ranges }) => sum + ranges.length, 0),
    bytes_compared: memories.reduce((sum, { bytesCompared }) => sum + bytesCompared, 0),
    differences: differencesOf(proof),
    headers: headerDifferences(proof),
    stage_elf:
      stage === null ? null : { entry: stage.entry, header_checks: stage.headers.checks, ...memoryJson(stage.memory) },
    kernel:
      kernel === null
        ? null
        : {
            kind: kernel.kind,
            entry: kernel.entry,
            base: kernel.base,
            physical_delta: Number(kernel.move.physicalDelta),
            virtual_delta: Number(kernel.move.virtualDelta),
            header_checks: kernel.headers.checks,
            ...memoryJson(kernel.memory),
            cpu: kernel.cpu,
            zero_page: kernel.zeroPage,
          },
  };
}

function stateLines(title: string, differences: readonly StateDifference[]): string[] {
  const width = Math.max(...differences.map(({ name }) => name.length), 0);
  return [
    `${title}: ${differences.length === 0 ? 'equal to the plan’s' : `${differences.length} differences from the plan’s`}`,
    ...differences.map(
      ({ name, expected, found, reason }) =>
        `  ${name.padEnd(width)}  ${reason ?? `NOT EXPECTED: plan ${expected}, found ${found}`}`,
    ),
  ];
}

function memoryLines(title: string, { ranges, explained, bytesCompared }: MemoryProof): string[] {
  return [
    `${title}: ${bytesCompared} bytes in ${ranges.length} ranges compared`,
    ...ranges
      .map(({ address, length, what, rule }) => {
        const notes = explained.filter((e) => e.what === what).map((e) => `${e.length} bytes not zero: ${e.reason}`);
        const promise = rule === 'file' ? 'as in the file' : 'zero';
        return [
          `  ${hex(address)}  ${String(length).padStart(9)}  ${what}: ${promise}`,
          ...notes.map((n) => `      ${n}`),
        ];
      })
      .flat(),
  ];
}

function headerLines(title: string, { checks }: HeaderProof): string[] {
  if (checks.length === 0) return [];
  const kinds = [...new Set(checks.map(({ evidence }) => evidence))];
  return [
    `program headers of ${title}, held against`,
    ...kinds.map((kind) => {
      const fields = checks.filter(({ evidence }) => evidence === kind);
      const names = [...new Set(fields.map(({ field }) => field))].map((name) => {
        const segments = fields.filter(({ field, segment }) => field === name && segment !== null);
        return segments.length === 0 ? name : `${name} (${segments.map(({ segment }) => segment).join(', ')})`;
      });
      return `  ${kind ?? 'nothing else'}: ${names.join(', ')}`;
    }),
  ];
}

const valueText = (value: bigint | string): string => (typeof value === 'bigint' ? hex(value) : value);

function textOf(proof: Proof, io: CliIo): string {
  const { stage, kernel } = proof;
  const lines = [
    ...(stage === null
      ? []
      : [
          ...memoryLines('stage ELF, when setup enters it', stage.memory),
          ...headerLines('the stage ELF', stage.headers),
        ]),
    ...(kernel === null
      ? []
      : [
          ...memoryLines('kernel, when the decompressor enters it', kernel.memory),
          ...headerLines('the kernel', kernel.headers),
          `entered at ${hex(kernel.entry.found)}; moved by ${kernel.move.physicalDelta} (physical) and ${kernel.move.virtualDelta} (virtual) bytes`,
          ...stateLines('CPU', kernel.cpu),
          ...(kernel.zeroPage === null ? [] : stateLines('zero page', kernel.zeroPage)),
        ]),
    ...differencesOf(proof).map(({ address, length, what, expected, found }) =>
      io.paint(
        'red',
        `DIFFERS ${hex(address)} ${length} bytes (${what}): promised ${hexBytes(expected)}, found ${hexBytes(found)}`,
      ),
    ),
    ...headerDifferences(proof).map(({ elf, segment, field, expected, found, evidence }) =>
      io.paint(
        'red',
        `DIFFERS program header${segment === null ? 's' : ` ${segment}`} of the ${elf}, ${field}: expected ${valueText(expected)} (${evidence}), found ${valueText(found)}`,
      ),
    ),
    isProved(proof)
      ? io.paint('green', 'proved: the headers say what the stages do')
      : io.paint('red', `not proved${proof.failure === null ? '' : `: ${proof.failure}`}`),
    ...(proof.lastWords.length === 0 ? [] : ['the guest said last:', ...proof.lastWords.map((line) => `  ${line}`)]),
  ];
  return `${lines.join('\n')}\n`;
}

/** @returns 0 if everything is as promised, 1 if not. */
export async function runProve(path: string, options: ProveOptions, io: CliIo): Promise<number> {
  const image = readBootImage(readImage(path));
  const proof = await proveImage(image, {
    memory: pcMemoryMap(parseMemorySize(options.memory)),
    kaslr: options.kaslr === true,
    timeout: options.timeout * 1000,
    limit: options.limit,
  });
  if (io.asJson) io.json(proofJson(proof));
  else io.out(textOf(proof, io));
  return isProved(proof) ? 0 : 1;
}
