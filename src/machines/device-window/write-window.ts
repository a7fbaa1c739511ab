/** Writes a plan's regions through a window on another machine's memory and reads them back. */
import { setImmediate as breathe } from 'node:timers/promises';
import { BootImageError } from '../../bytes/error.js';
import { hex, hexBytes } from '../../bytes/numbers.js';
import type { Region } from '../../boot/plan.js';
import { WIDEST_ACCESS, type AccessWidth, type MemoryWindow } from './memory-window.js';
import { planSpans, type EdgeRule, type Span } from './spans.js';
import { copyWords, wordsOf } from './words.js';

/** Bytes between two looks at the signal and the progress; a multiple of the widest access. */
const CHUNK = 1 << 18;

/** Bytes shown of a difference. */
const SHOWN = 8;

/** What a bus reads where nothing answers. */
const ALL_ONES = 0xff;

export interface WriteOptions {
  /** Every access to the window has this width and is aligned to it. */
  readonly width: AccessWidth;
  /** Default: `merge`. */
  readonly edges?: EdgeRule;
  readonly signal?: AbortSignal;
  /** Called about every quarter of a mebibyte. */
  readonly onProgress?: (step: 'write' | 'verify', done: number, total: number) => void;
}

export interface WriteReport {
  /** Bytes of the plan that were written, zeros included. */
  readonly written: number;
  /** Bytes that were read back and found as written. */
  readonly verified: number;
  /** Times that the aperture was placed. */
  readonly moves: number;
}

/** What the plan wants in [from, to) of a span, into `target`. */
function fill(target: Uint8Array, span: Span, from: number, to: number): void {
  for (const { start, end, region } of span.parts) {
    const low = Math.max(start, from);
    const high = Math.min(end, to);
    if (low >= high) continue;
    const bytes = region.bytes?.subarray(low - start, high - start) ?? new Uint8Array(0);
    target.set(bytes, low - from);
    target.fill(0, low - from + bytes.length, high - from);
  }
}

class Writer {
  readonly #window: MemoryWindow;
  readonly #spans: readonly Span[];
  readonly #options: WriteOptions;
  readonly #total: number;
  /** What the plan wants, and what was read: words of the chosen width, as they lie in the window. */
  readonly #wanted = new Uint8Array(CHUNK);
  readonly #found = new Uint8Array(CHUNK);
  moves = 0;

  constructor(window: MemoryWindow, spans: readonly Span[], options: WriteOptions) {
    this.#window = window;
    this.#spans = spans;
    this.#options = options;
    this.#total = spans.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** Goes over the whole plan once. Returns the bytes done. */
  async pass(step: 'write' | 'verify'): Promise<number> {
    const { aperture } = this.#window;
    let base = -1;
    let memory: Uint8Array = new Uint8Array(0);
    let done = 0;
    for (const span of this.#spans) {
      for (let from = span.start, to: number; from < span.end; from = to) {
        const tile = from - (from % aperture);
        to = Math.min(span.end, tile + aperture, from - (from % CHUNK) + CHUNK);
        if (tile !== base) {
          memory = await this.#move(tile);
          base = tile;
        }
        this[step](span, from, to, memory, tile);
        done += to - from;
        this.#options.onProgress?.(step, done, this.#total);
        await breathe();
        if (this.#options.signal?.aborted === true) {
          throw new BootImageError('aborted', `cancelled; the window's memory is incomplete`);
        }
      }
    }
    return done;
  }

  async #move(tile: number): Promise<Uint8Array> {
    const memory = await this.#window.expose(tile);
    this.moves++;
    const least = Math.min(this.#window.aperture, this.#window.size - tile);
    if (memory.length < least || memory.byteOffset % WIDEST_ACCESS !== 0) {
      throw new BootImageError('machine-failed', `the window shows ${String(memory.length)} bytes at ${hex(tile)}`, {
        hint: `${String(least)} bytes, aligned to ${String(WIDEST_ACCESS)}, were expected`,
      });
    }
    return memory;
  }

  write(span: Span, from: number, to: number, memory: Uint8Array, tile: number): void {
    const { width } = this.#options;
    const lead = from % width;
    const count = Math.ceil((lead + to - from) / width);
    const first = (from - lead - tile) / width;
    const target = wordsOf(memory, width);
    const wanted = wordsOf(this.#wanted, width);
    // Words that are the plan's only in part keep what they hold besides.
    if (lead !== 0) copyWords(target, first, wanted, 0, 1);
    if (to % width !== 0) copyWords(target, first + count - 1, wanted, count - 1, 1);
    fill(this.#wanted.subarray(lead), span, from, to);
    copyWords(wanted, 0, target, first, count);
  }

  verify(span: Span, from: number, to: number, memory: Uint8Array, tile: number): void {
    const { width } = this.#options;
    const lead = from % width;
    const count = Math.ceil((lead + to - from) / width);
    copyWords(wordsOf(memory, width), (from - lead - tile) / width, wordsOf(this.#found, width), 0, count);
    const wanted = this.#wanted.subarray(0, to - from);
    const found = this.#found.subarray(lead, lead + to - from);
    fill(wanted, span, from, to);
    if (Buffer.compare(wanted, found) !== 0) this.#differs(span, from, wanted, found);
  }

  #differs(span: Span, from: number, wanted: Uint8Array, found: Uint8Array): never {
    const at = wanted.findIndex((byte, index) => byte !== found[index]);
    const region = span.parts.find(({ end }) => from + at < end)?.region;
    const address = hex(this.#window.address + BigInt(from + at));
    const show = (bytes: Uint8Array): string => hexBytes(bytes.subarray(at, at + SHOWN));
    const silent = found.every((byte) => byte === ALL_ONES);
    throw new BootImageError(
      'machine-failed',
      `at ${address} (${region?.label ?? ''}) the window reads ${show(found)} where ${show(wanted)} was written`,
      {
        hint: silent
          ? "nothing answers there; a PCI device does after: echo 1 > .../enable, beside the window's file"
          : 'this is not memory that keeps what is written, or the aperture did not move',
      },
    );
  }
}

function checkWindow({ address, size, aperture }: MemoryWindow): void {
  const fits = (value: number): boolean => Number.isSafeInteger(value) && value > 0 && value % WIDEST_ACCESS === 0;
  if (address >= 0n && address % BigInt(WIDEST_ACCESS) === 0n && fits(size) && fits(aperture)) return;
  throw new BootImageError('bad-argument', "a window's address, size and aperture are multiples of 8 bytes", {
    field: 'window',
  });
}

/**
 * Writes the regions of a plan, zeros included, and nothing else; then reads everything back. The guest's processors
 * must stand still. Every region is checked before the first access.
 * @throws BootImageError `does-not-fit` and `overlap` (nothing was written), `file-unwritable`, `machine-failed` with
 * the first difference, `aborted`, and whatever `window.expose` throws.
 */
export async function writeWindow(
  regions: readonly Region[],
  window: MemoryWindow,
  options: WriteOptions,
): Promise<WriteReport> {
  checkWindow(window);
  const spans = planSpans(regions, window, options.width, options.edges ?? 'merge');
  for (const { start, end } of spans) window.reserve?.(start, end - start);
  const writer = new Writer(window, spans, options);
  const written = await writer.pass('write');
  const verified = await writer.pass('verify');
  return { written, verified, moves: writer.moves };
}
