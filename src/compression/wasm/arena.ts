/**
 * Linear memory of one decompression: the module's statics, the input (or one block of it at a time), then the output as
 * the last thing. Memory grows with the output and nothing moves, so the result is a view and is never copied.
 */
import { bytesOfBase64 } from '../../bytes/base64.js';
import { BootImageError } from '../../bytes/error.js';
import { keepMemory } from '../../bytes/linear-memory.js';

/** What a step returns; the same numbers stand in codec.h. */
export const STATUS = {
  MORE: 0,
  DONE: 1,
  TRUNCATED: -1,
  CORRUPT: -2,
  OVERFLOW: -3,
  UNSUPPORTED: -4,
  CHECKSUM: -5,
} as const;

/** What every module exports, besides its own functions. */
export interface CodecExports {
  readonly memory: WebAssembly.Memory;
  readonly __heap_base: WebAssembly.Global<'i32'>;
  /** Where the next byte of output goes. */
  output(): number;
  /** The first byte of input that is not used yet. */
  input(): number;
}

export interface DecodeRequest {
  readonly input: Uint8Array;
  /** Most bytes that may come out. */
  readonly limit: number;
  /** Bytes that have to come out, if known. */
  readonly expectedSize: number | undefined;
  /** File offset of the input, for errors. */
  readonly base: number;
  readonly signal: AbortSignal | undefined;
}

export interface Decoded {
  readonly bytes: Uint8Array;
  /** Bytes of input that belong to the stream. */
  readonly consumed: number;
}

export type Decoder = (request: DecodeRequest) => Promise<Decoded>;

const PAGE = 65536;
const SLACK = 512;
/** A step's output in bytes: small enough that V8 soon replaces its baseline code, and that an abort is noticed. */
const STEP = 1 << 20;
/** The largest unit that a decoder writes in one go: a chunk of LZMA2. */
const UNIT = 2 << 20;
const GROWTH = 16 << 20;
/** Where addresses of output must end: below 4 GiB with room for what is added to them. */
const ADDRESS_LIMIT = 0xfff0_0000;

/** Compiled modules by their base64: what was optimised for one payload serves the next. */
const compiled = new Map<string, Promise<WebAssembly.Module>>();

function compile(base64: string): Promise<WebAssembly.Module> {
  return WebAssembly.compile(bytesOfBase64(base64)).catch((cause: unknown) => {
    throw new BootImageError('tool-missing', 'this JavaScript engine compiles no vector instructions of WebAssembly', {
      hint: 'on an x86 processor it does so from SSE4.1 on',
      cause,
    });
  });
}

/** A new instance of a module that is kept as base64. @throws BootImageError `tool-missing` */
export async function instantiate<E>(base64: string): Promise<E> {
  let module = compiled.get(base64);
  if (module === undefined) {
    module = compile(base64);
    compiled.set(base64, module);
  }
  return (await WebAssembly.instantiate(await module)).exports as E;
}

/** How many bytes a decoder may yield: what is announced, else the limit. */
export function capacityOf({ limit, expectedSize }: DecodeRequest): number {
  return Math.min(limit, expectedSize ?? limit);
}

/** The error for output that does not end where it should. */
export function overflow({ limit, expectedSize, base }: DecodeRequest, consumed: number): BootImageError {
  return expectedSize === undefined
    ? new BootImageError('payload-too-large', `the payload yields more than ${limit} bytes`, {
        offset: base + consumed,
        hint: 'raise the limit if this is a kernel',
      })
    : new BootImageError(
        'payload-corrupt',
        `the payload yields more than the ${expectedSize} bytes that it announces`,
        {
          offset: base + consumed,
        },
      );
}

/** The error for a negative status. */
export function failure(status: number, name: string, request: DecodeRequest, consumed: number): BootImageError {
  const details = { offset: request.base + Math.min(consumed, request.input.length) };
  switch (status) {
    case STATUS.TRUNCATED:
      return new BootImageError('payload-truncated', `the ${name} stream ends too early`, details);
    case STATUS.OVERFLOW:
      return overflow(request, consumed);
    case STATUS.UNSUPPORTED:
      return new BootImageError(
        'unsupported',
        `the ${name} stream uses a variant that no kernel decompresses`,
        details,
      );
    case STATUS.CHECKSUM:
      return new BootImageError('payload-corrupt', `a checksum of the ${name} stream does not match`, details);
    default:
      return new BootImageError('payload-corrupt', `the ${name} stream is damaged`, details);
  }
}

/** Lets timers and events run if the caller can abort. @throws BootImageError `aborted` */
export async function checkAborted(signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return;
  await new Promise((resolve) => setTimeout(resolve));
  if (signal.aborted) throw new BootImageError('aborted', 'the operation was cancelled', { cause: signal.reason });
}

export class Arena<E extends CodecExports> {
  readonly exports: E;
  /** Addresses of the first byte of input, the byte behind the room for it, and the first byte of output. */
  readonly input: number;
  readonly inputEnd: number;
  readonly output: number;
  /** Most bytes of output. */
  readonly capacity: number;
  readonly #request: DecodeRequest;
  readonly #name: string;

  /** Where in the request's input the bytes at `input` come from. */
  #loadedFrom = 0;

  private constructor(exports: E, name: string, request: DecodeRequest, room: number) {
    this.exports = exports;
    this.#name = name;
    this.#request = request;
    this.input = (exports.__heap_base.value + 15) & ~15;
    this.inputEnd = this.input + room;
    this.output = Math.ceil((this.inputEnd + 16) / PAGE) * PAGE;
    this.capacity = Math.min(capacityOf(request), Math.max(0, ADDRESS_LIMIT - this.output));
    this.reserve(0);
  }

  /** With the whole input in memory. `name` is for messages. */
  static async open<E extends CodecExports>(base64: string, name: string, request: DecodeRequest): Promise<Arena<E>> {
    const arena = await Arena.openForBlocks<E>(base64, name, request, request.input.length);
    arena.load(0, request.input.length);
    return arena;
  }

  /** With room for the largest block of input; `load` brings one in. */
  static async openForBlocks<E extends CodecExports>(
    base64: string,
    name: string,
    request: DecodeRequest,
    largest: number,
  ): Promise<Arena<E>> {
    return new Arena(await instantiate<E>(base64), name, request, Math.min(largest, request.input.length));
  }

  /** Puts a part of the input, which must fit, at the address `input`. */
  load(from: number, length: number): void {
    new Uint8Array(this.exports.memory.buffer, this.input).set(this.#request.input.subarray(from, from + length));
    this.#loadedFrom = from;
  }

  /** Bytes of output so far. */
  get produced(): number {
    return (this.exports.output() >>> 0) - this.output;
  }

  /** Bytes of input used so far. */
  get consumed(): number {
    return (this.exports.input() >>> 0) - this.input + this.#loadedFrom;
  }

  /** Makes sure that `length` bytes of output, and what decoders write too many, lie inside memory. */
  reserve(length: number): void {
    const { memory } = this.exports;
    const missing = this.output + length + SLACK - memory.buffer.byteLength;
    if (missing <= 0) return;
    const wanted = Math.max(missing, Math.min(GROWTH, ADDRESS_LIMIT - memory.buffer.byteLength));
    try {
      memory.grow(Math.ceil(wanted / PAGE));
    } catch (cause) {
      throw new BootImageError('payload-too-large', 'there is not enough memory for the decompressed payload', {
        cause,
      });
    }
  }

  /**
   * Calls `step` until it is done. It gets the addresses of a target, which it may pass by less than the slack, and of
   * an end, which whole units must not pass, and returns a status.
   */
  async run(step: (target: number, end: number) => number): Promise<void> {
    const { MORE } = STATUS;
    for (let status: number = MORE; status === MORE;) {
      const target = Math.min(this.produced + STEP, this.capacity + 1);
      const end = Math.min(target + UNIT, this.capacity);
      this.reserve(Math.max(target, end));
      status = this.call(() => step(this.output + target, this.output + end));
      if (this.produced > this.capacity) throw overflow(this.#request, this.consumed);
      if (status === MORE) await checkAborted(this.#request.signal);
    }
  }

  /** Calls into the module; a negative status, or a trap, which only damaged input can cause, becomes an error. */
  call(step: () => number): number {
    let status: number;
    try {
      status = step();
    } catch (cause) {
      if (!(cause instanceof WebAssembly.RuntimeError)) throw cause;
      throw this.error(STATUS.CORRUPT);
    }
    if (status < 0) throw this.error(status);
    return status;
  }

  /** The error for `status`, at the present place of the input or at `consumed`. */
  error(status: number, consumed: number = this.consumed): BootImageError {
    return failure(status, this.#name, this.#request, consumed);
  }

  /** The first `produced` bytes of output, as a view of linear memory, which they keep alive. */
  result(produced: number, consumed: number): Decoded {
    keepMemory(this.exports.memory);
    return { bytes: new Uint8Array(this.exports.memory.buffer, this.output, produced), consumed };
  }
}
