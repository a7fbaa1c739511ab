/** Lower-case hexadecimal with 0x, as addresses appear in JSON and text. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** Lower-case hexadecimal of a byte string, two digits a byte, no prefix. */
export function hexBytes(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

/** Rounds up to a multiple of `alignment`, a power of two. */
export function alignUp(value: bigint, alignment: bigint): bigint {
  return (value + alignment - 1n) & ~(alignment - 1n);
}

/** Rounds down to a multiple of `alignment`, a power of two. */
export function alignDown(value: bigint, alignment: bigint): bigint {
  return value & ~(alignment - 1n);
}

/** `alignUp` for plain numbers, exact up to 2^53. */
export function alignNumber(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

export function isPowerOfTwo(value: number | bigint): boolean {
  const big = BigInt(value);
  return big > 0n && (big & (big - 1n)) === 0n;
}

/** The number if it is exact as a double, else null: for sizes that come as 64-bit fields. */
export function safeNumber(value: bigint): number | null {
  return value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : null;
}
