/** Changed copies of images for tests. */
import { writeSetupField, type SetupFieldName, type SetupValue } from '../../src/bzimage/setup-header.js';

/** A copy with some bytes changed. */
export function edited(bytes: Uint8Array, change: (copy: Uint8Array, view: DataView) => void): Uint8Array {
  // Not slice(): that of a Buffer shares its bytes.
  const copy = new Uint8Array(bytes);
  change(copy, new DataView(copy.buffer, copy.byteOffset, copy.byteLength));
  return copy;
}

/** A copy with one setup field changed. */
export function withField<N extends SetupFieldName>(bytes: Uint8Array, name: N, value: SetupValue<N>): Uint8Array {
  return edited(bytes, (copy) => writeSetupField(copy, name, value));
}
