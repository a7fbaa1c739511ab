import { BootImageError } from '../../bytes/error.js';
import type { DecodeRequest } from '../wasm/arena.js';
import { failure, STATUS } from '../wasm/arena.js';

/** Reads the headers around compressed data; whatever does not fit is an error of the stream. */
export class StreamReader {
  readonly #name: string;
  readonly #request: DecodeRequest;
  readonly #data: DataView;
  /** The next byte. */
  at: number;

  constructor(name: string, request: DecodeRequest, at = 0) {
    this.#name = name;
    this.#request = request;
    this.at = at;
    this.#data = new DataView(request.input.buffer, request.input.byteOffset, request.input.byteLength);
  }

  /** Moves on by `length` bytes and returns where they begin. @throws BootImageError `payload-truncated` */
  skip(length: number): number {
    const { at } = this;
    if (length > this.#data.byteLength - at) throw failure(STATUS.TRUNCATED, this.#name, this.#request, at);
    this.at = at + length;
    return at;
  }

  u8(): number {
    return this.#data.getUint8(this.skip(1));
  }

  u16le(): number {
    return this.#data.getUint16(this.skip(2), true);
  }

  u16be(): number {
    return this.#data.getUint16(this.skip(2));
  }

  u32le(): number {
    return this.#data.getUint32(this.skip(4), true);
  }

  u32be(): number {
    return this.#data.getUint32(this.skip(4));
  }

  u64le(): bigint {
    return this.#data.getBigUint64(this.skip(8), true);
  }

  bytes(length: number): Uint8Array {
    const at = this.skip(length);
    return this.#request.input.subarray(at, at + length);
  }

  /** Whether `magic` comes next; moves behind it if so. */
  accept(magic: readonly number[]): boolean {
    const { input } = this.#request;
    if (!magic.every((byte, i) => input[this.at + i] === byte)) return false;
    this.at += magic.length;
    return true;
  }

  /** `what` is damaged: an error at `at`, by default the present place. */
  corrupt(what: string, at = this.at): BootImageError {
    return new BootImageError('payload-corrupt', `the ${this.#name} stream is damaged: ${what}`, {
      offset: this.#request.base + at,
    });
  }

  /** `what` is valid, but nothing that a kernel decompresses. */
  unsupported(what: string, at = this.at): BootImageError {
    return new BootImageError('unsupported', `the ${this.#name} stream has ${what}, which no kernel decompresses`, {
      offset: this.#request.base + at,
    });
  }
}
