/** Linear memory of one compression: statics of the module, the input, the codec's tables, then the output. */
import { BootImageError } from '../../bytes/error.js';
import { checkAborted, instantiate, STATUS } from './arena.js';

export interface EncoderExports {
  readonly memory: WebAssembly.Memory;
  readonly __heap_base: WebAssembly.Global<'i32'>;
}

/** An encoder that is called until it is done, and says where its output ends. */
export interface SteppedEncoderExports extends EncoderExports {
  output(): number;
}

const PAGE = 65536;
const ALIGNMENT = 4096;
/** What encoders read behind the input. */
const SLACK = 512;

function align(address: number): number {
  return Math.ceil(address / ALIGNMENT) * ALIGNMENT;
}

export class EncoderArena<E extends EncoderExports> {
  readonly exports: E;
  /** Addresses of the input, the tables and the output. */
  readonly input: number;
  readonly tables: number;
  readonly output: number;

  private constructor(exports: E, input: Uint8Array, tableBytes: number) {
    this.exports = exports;
    this.input = align(exports.__heap_base.value);
    this.tables = align(this.input + input.length + SLACK);
    this.output = align(this.tables + tableBytes);
    this.reserve(0);
    new Uint8Array(exports.memory.buffer, this.input).set(input);
  }

  /** @throws BootImageError `does-not-fit` if the input and `tableBytes` of tables need more memory than there is */
  static async open<E extends EncoderExports>(
    base64: string,
    input: Uint8Array,
    tableBytes: number,
  ): Promise<EncoderArena<E>> {
    return new EncoderArena(await instantiate<E>(base64), input, tableBytes);
  }

  /** Makes sure that `length` bytes of output lie inside memory. */
  reserve(length: number): void {
    const { memory } = this.exports;
    const missing = this.output + length - memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      memory.grow(Math.ceil(missing / PAGE));
    } catch (cause) {
      throw new BootImageError('does-not-fit', 'there is not enough memory to compress so much', { cause });
    }
  }

  /** A copy of the first `length` bytes of output. */
  take(length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.exports.memory.buffer, this.output, length).slice();
  }
}

/**
 * Calls `step` until it is done; it gets the address of a target, at or behind which it returns, writing less than
 * `overshoot` bytes more. Returns the output.
 */
export async function runEncoder<E extends SteppedEncoderExports>(
  arena: EncoderArena<E>,
  overshoot: number,
  step: (target: number) => number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const portion = 65536;
  let status: number = STATUS.MORE;
  while (status === STATUS.MORE) {
    const target = (arena.exports.output() >>> 0) - arena.output + portion;
    arena.reserve(target + overshoot);
    status = step(arena.output + target);
    if (status === STATUS.MORE) await checkAborted(signal);
  }
  return arena.take((arena.exports.output() >>> 0) - arena.output);
}
