/** Bytes in a row, for the headers around compressed data. */
export class StreamWriter {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  bytes(bytes: Uint8Array | readonly number[]): this {
    const part = bytes instanceof Uint8Array ? bytes : Uint8Array.from(bytes);
    this.#parts.push(part);
    this.#length += part.length;
    return this;
  }

  u16be(value: number): this {
    return this.bytes([value >>> 8, value & 0xff]);
  }

  u32be(value: number): this {
    return this.bytes([value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]);
  }

  u32le(value: number): this {
    return this.bytes([value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]);
  }

  /** Zeros up to a multiple of `alignment`. */
  pad(alignment: number): this {
    return this.bytes(new Uint8Array((alignment - (this.#length % alignment)) % alignment));
  }

  join(): Uint8Array {
    const joined = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      joined.set(part, at);
      at += part.length;
    }
    return joined;
  }
}
