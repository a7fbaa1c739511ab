import { BootImageError } from './error.js';

/**
 * A bounds-checked little-endian window on bytes that are never copied.
 *
 * Offsets are relative to the window; errors report the absolute file offset (`base` + offset).
 */
export class ByteView {
  readonly bytes: Uint8Array;
  /** File offset of the first byte. */
  readonly base: number;
  readonly #data: DataView;

  constructor(bytes: Uint8Array, base = 0) {
    this.bytes = bytes;
    this.base = base;
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.bytes.length;
  }

  /** True if `length` bytes at `offset` lie inside the window. Never throws, whatever the numbers are. */
  has(offset: number, length: number): boolean {
    return (
      Number.isSafeInteger(offset) &&
      Number.isSafeInteger(length) &&
      offset >= 0 &&
      length >= 0 &&
      offset <= this.length - length
    );
  }

  /** @throws BootImageError `truncated` if `length` bytes at `offset` do not lie inside the window. */
  require(offset: number, length: number, field?: string): void {
    if (!this.has(offset, length)) {
      throw new BootImageError(
        'truncated',
        `${String(length)} bytes are needed but the data ends at 0x${(this.base + this.length).toString(16)}`,
        {
          offset: this.base + offset,
          field,
        },
      );
    }
  }

  u8(offset: number, field?: string): number {
    this.require(offset, 1, field);
    return this.#data.getUint8(offset);
  }

  u16(offset: number, field?: string): number {
    this.require(offset, 2, field);
    return this.#data.getUint16(offset, true);
  }

  u32(offset: number, field?: string): number {
    this.require(offset, 4, field);
    return this.#data.getUint32(offset, true);
  }

  i32(offset: number, field?: string): number {
    this.require(offset, 4, field);
    return this.#data.getInt32(offset, true);
  }

  u64(offset: number, field?: string): bigint {
    this.require(offset, 8, field);
    return this.#data.getBigUint64(offset, true);
  }

  /** A window inside this one; shares its bytes. */
  view(offset: number, length: number, field?: string): ByteView {
    this.require(offset, length, field);
    return new ByteView(this.bytes.subarray(offset, offset + length), this.base + offset);
  }

  /** The bytes of a window inside this one, shared. */
  slice(offset: number, length: number, field?: string): Uint8Array {
    this.require(offset, length, field);
    return this.bytes.subarray(offset, offset + length);
  }

  /** True if `magic` stands at `offset`; false (never an error) if it lies outside. */
  startsWith(magic: Uint8Array | string, offset = 0): boolean {
    if (!this.has(offset, magic.length)) return false;
    for (let i = 0; i < magic.length; i++) {
      const expected = typeof magic === 'string' ? magic.charCodeAt(i) : magic[i];
      if (this.bytes[offset + i] !== expected) return false;
    }
    return true;
  }

  /**
   * The NUL-terminated Latin-1 string at `offset`, at most `limit` bytes long; null if no NUL follows within the
   * window and the limit.
   */
  cString(offset: number, limit: number): string | null {
    if (!this.has(offset, 0)) return null;
    const end = this.bytes.subarray(offset, Math.min(this.length, offset + limit)).indexOf(0);
    return end < 0 ? null : latin1(this.bytes.subarray(offset, offset + end));
  }
}

/** Bytes as Latin-1 text, one character a byte. */
export function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Latin-1 text as bytes. @throws BootImageError `bad-argument` for a character above U+00FF. */
export function latin1Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0xff) throw new BootImageError('bad-argument', `"${text}" contains a character beyond Latin-1`);
    bytes[i] = code;
  }
  return bytes;
}
