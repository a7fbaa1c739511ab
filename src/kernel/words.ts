const HOST_IS_LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/**
 * Little-endian 32-bit words as a typed array: a view where alignment and the host's byte order allow it, else a copy.
 * The length is rounded down to whole words.
 */
export function wordsOf(bytes: Uint8Array): Int32Array {
  const count = bytes.length >>> 2;
  if (HOST_IS_LITTLE_ENDIAN) {
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes.subarray(0, count * 4));
    return new Int32Array(aligned.buffer, aligned.byteOffset, count);
  }
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: count }, (_, i) => data.getInt32(i * 4, true));
}
