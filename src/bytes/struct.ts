/**
 * Binary structures as tables: one table reads, writes, documents and prints a format. Everything is little-endian.
 */
import { ByteView } from './byte-view.js';
import { BootImageError } from './error.js';
import { hex, hexBytes } from './numbers.js';

/** How a field looks in text and JSON: a plain number, or lower-case hexadecimal (addresses, flags, magic numbers). */
export type Shown = 'number' | 'hex';

export interface Field {
  /** The name that the specification uses. */
  readonly name: string;
  /** Byte offset in the structure. */
  readonly offset: number;
  readonly type: 'u8' | 'u16' | 'u32' | 'u64' | 'bytes';
  /** Byte count; only for `bytes`. */
  readonly length?: number;
  readonly shown?: Shown;
  readonly doc: string;
}

type ValueOf<F extends Field> = F['type'] extends 'u64' ? bigint : F['type'] extends 'bytes' ? Uint8Array : number;

/** The structure's values by field name: numbers, `bigint` for 64-bit fields, views for byte fields. */
export type StructOf<T extends readonly Field[]> = { readonly [F in T[number] as F['name']]: ValueOf<F> };

export type FieldValue = number | bigint | Uint8Array;

export const FIELD_SIZES = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;

export function fieldSize(field: Field): number {
  return field.type === 'bytes' ? (field.length ?? 0) : FIELD_SIZES[field.type];
}

/** Reads one field of a structure at `at`. @throws BootImageError `truncated` */
export function readField(view: ByteView, at: number, field: Field): FieldValue {
  const offset = at + field.offset;
  switch (field.type) {
    case 'u8':
      return view.u8(offset, field.name);
    case 'u16':
      return view.u16(offset, field.name);
    case 'u32':
      return view.u32(offset, field.name);
    case 'u64':
      return view.u64(offset, field.name);
    case 'bytes':
      return view.slice(offset, fieldSize(field), field.name);
  }
}

/** Writes one field of a structure at `at`. @throws BootImageError `does-not-fit` if the target or the value's width is too small. */
export function writeField(target: Uint8Array, at: number, field: Field, value: FieldValue): void {
  const size = fieldSize(field);
  const offset = at + field.offset;
  if (offset < 0 || offset + size > target.length) {
    throw new BootImageError('does-not-fit', `${field.name} lies outside the buffer`, { offset, field: field.name });
  }
  if (value instanceof Uint8Array) {
    if (value.length > size) {
      throw new BootImageError('does-not-fit', `${String(value.length)} bytes do not fit ${field.name}`, {
        offset,
        field: field.name,
      });
    }
    target.fill(0, offset, offset + size);
    target.set(value, offset);
    return;
  }
  const big = BigInt(value);
  if (big < 0n || big >= 1n << BigInt(size * 8)) {
    throw new BootImageError('does-not-fit', `${hex(big)} does not fit ${field.name}`, { offset, field: field.name });
  }
  for (let i = 0; i < size; i++) target[offset + i] = Number((big >> BigInt(8 * i)) & 0xffn);
}

export interface Struct<T extends readonly Field[]> {
  readonly name: string;
  readonly size: number;
  /** Document and section, or header file, that defines it. */
  readonly source: string;
  readonly fields: T;
  /** @throws BootImageError `truncated` */
  read(view: ByteView, at?: number): StructOf<T>;
  /** Writes the fields given, leaving other bytes as they are. @throws BootImageError `does-not-fit` */
  write(target: Uint8Array, at: number, values: Partial<StructOf<T>>): void;
  /** A new zeroed structure with the fields given. */
  build(values: Partial<StructOf<T>>): Uint8Array;
}

/** Makes a structure from its table. Offsets are checked against `size` once, at load time. */
export function defineStruct<const T extends readonly Field[]>(
  name: string,
  size: number,
  source: string,
  fields: T,
): Struct<T> {
  for (const field of fields) {
    if (field.offset + fieldSize(field) > size)
      throw new RangeError(`${name}.${field.name} lies outside the structure`);
  }
  const struct: Struct<T> = {
    name,
    size,
    source,
    fields,
    read(view, at = 0) {
      view.require(at, size, name);
      return Object.fromEntries(fields.map((field) => [field.name, readField(view, at, field)])) as StructOf<T>;
    },
    write(target, at, values) {
      for (const field of fields) {
        const value = (values as Record<string, FieldValue | undefined>)[field.name];
        if (value !== undefined) writeField(target, at, field, value);
      }
    },
    build(values) {
      const bytes = new Uint8Array(size);
      struct.write(bytes, 0, values);
      return bytes;
    },
  };
  return struct;
}

/** A field's value as JSON has it (see the command line contract): numbers, or lower-case hex for addresses and 64-bit values. */
export function fieldToJson(field: Field, value: FieldValue): number | string {
  if (value instanceof Uint8Array) return hexBytes(value);
  if (field.shown === 'hex' || typeof value === 'bigint') return hex(value);
  return value;
}
