/** Reads and writes the setup header by its table (setup-fields.ts). */
import type { ByteView } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { hex } from '../bytes/numbers.js';
import { fieldSize, readField, writeField } from '../bytes/struct.js';
import type { ProblemList } from './problems.js';
import {
  BOOT_FLAG,
  fieldOfVersion,
  NEWEST_PROTOCOL,
  protocolText,
  SETUP_HEADER_START,
  SETUP_JUMP_BASE,
  SETUP_MAGIC,
  setupField,
  setupFieldsOf,
  type SetupFieldName,
  type SetupValue,
  type SetupValues,
} from './setup-fields.js';

export * from './setup-fields.js';

export interface SetupHeader {
  /** (major << 8) + minor; 0 for an old header without "HdrS". */
  readonly version: number;
  /** "2.15", or "old". */
  readonly protocol: string;
  /** File offset of the first byte behind the header: 0x202 + the byte at 0x201; 0x200 for an old one. */
  readonly headerEnd: number;
  /** Absent: not in this protocol version, or behind the header's own end. */
  readonly values: SetupValues;
  /** setup_sects with 0 read as 4. */
  readonly setupSects: number;
  /** What kernel_version points at; null if it points nowhere, or outside the setup part. */
  readonly versionString: string | null;
  /** The header itself, from 0x1f1 to its end: what goes into boot_params. A view on the file. */
  readonly bytes: Uint8Array;
}

const SECTOR = 512;
const OLD_HEADER_END = 0x200;
const SHORT_JUMP = 0xeb;
/** boot_params has room for the header up to here; behind it lies edd_mbr_sig_buffer. */
const HEADER_END_LIMIT = 0x290;
const VERSION_END = 0x208;
const FIRST_PROTOCOL = 0x0200;
const VERSION_STRING_LIMIT = 4096;

/** True if "HdrS" stands where a header of protocol 2.00 and newer has it, and the version behind it. */
export function hasSetupMagic(file: ByteView): boolean {
  return file.has(0, VERSION_END) && file.u32(SETUP_JUMP_BASE) === SETUP_MAGIC;
}

/** True if the file begins with a boot sector. */
export function hasBootFlag(file: ByteView): boolean {
  return file.has(OLD_HEADER_END - 2, 2) && file.u16(OLD_HEADER_END - 2) === BOOT_FLAG;
}

/** Where the fields that this protocol version defines end. */
export function definedHeaderEnd(version: number): number {
  return Math.max(...setupFieldsOf(version).map((field) => field.offset + fieldSize(field)));
}

function readHeaderEnd(file: ByteView, version: number, problems: ProblemList): number {
  if (version === 0) return OLD_HEADER_END;
  const defined = definedHeaderEnd(version);
  const opcode = file.u8(0x200);
  if (opcode !== SHORT_JUMP) {
    problems.add(
      'warning',
      'setup-jump',
      `the setup code begins with ${hex(opcode)}, not with the short jump 0xeb that tells the header's length`,
      0x200,
      'jump',
    );
    return defined;
  }
  const end = SETUP_JUMP_BASE + file.u8(0x201);
  if (end < defined) {
    problems.add(
      'warning',
      'setup-header-short',
      `the header ends at ${hex(end)}, but protocol ${protocolText(version)} has fields up to ${hex(defined)}`,
      0x201,
      'jump',
    );
  } else if (end > HEADER_END_LIMIT) {
    problems.add(
      'warning',
      'setup-header-long',
      `the header ends at ${hex(end)}, beyond the room that boot_params has for it (${hex(HEADER_END_LIMIT)})`,
      0x201,
      'jump',
    );
  }
  return end;
}

function readValues(file: ByteView, version: number, headerEnd: number): SetupValues {
  const values: Record<string, unknown> = {};
  for (const row of setupFieldsOf(version)) {
    const field = fieldOfVersion(row, version);
    const end = field.offset + fieldSize(field);
    // Every header with "HdrS" has the fields of 2.00, whatever length it gives itself.
    if ((row.since <= FIRST_PROTOCOL || end <= headerEnd) && file.has(0, end))
      values[field.name] = readField(file, 0, field);
  }
  return values;
}

function readVersionString(file: ByteView, pointer: number, setupSects: number, problems: ProblemList): string | null {
  if (pointer === 0) return null;
  const offset = pointer + 0x200;
  const text =
    pointer < setupSects * SECTOR
      ? file.cString(offset, Math.min(VERSION_STRING_LIMIT, (setupSects + 1) * SECTOR - offset))
      : null;
  if (text === null) {
    problems.add(
      'warning',
      'version-string-outside',
      `kernel_version points at ${hex(offset)}; no text ends inside the setup part there`,
      setupField('kernel_version').offset,
      'kernel_version',
    );
  }
  return text;
}

/**
 * The setup header of a file that begins with one (`hasSetupMagic` or `hasBootFlag`). Never throws: what is
 * wrong goes into `problems`.
 */
export function readSetupHeader(file: ByteView, problems: ProblemList): SetupHeader {
  const version = hasSetupMagic(file) ? file.u16(setupField('version').offset) : 0;
  const headerEnd = readHeaderEnd(file, version, problems);
  const values = readValues(file, version, headerEnd);
  const setupSects = (values.setup_sects ?? 0) || 4;
  const complain = (id: string, message: string, name: SetupFieldName): void =>
    problems.add('warning', id, message, setupField(name).offset, name);

  if (values.boot_flag !== BOOT_FLAG) {
    complain('boot-flag', `boot_flag is ${hex(values.boot_flag ?? 0)}, not 0xaa55`, 'boot_flag');
  }
  if (version !== 0 && (version < FIRST_PROTOCOL || version > NEWEST_PROTOCOL)) {
    complain('protocol-unknown', `protocol ${protocolText(version)} is not defined (2.00 to 2.15 are)`, 'version');
  } else if (version === 0x020e) {
    complain('protocol-withdrawn', 'protocol 2.14 was withdrawn; the header is read as 2.13', 'version');
  }
  return {
    version,
    protocol: protocolText(version),
    headerEnd,
    values,
    setupSects,
    versionString: readVersionString(file, values.kernel_version ?? 0, setupSects, problems),
    bytes: file.bytes.subarray(SETUP_HEADER_START, headerEnd),
  };
}

/**
 * Writes one field into a file or a boot_params page: both have it at the same offset.
 * @param version decides the field's width (syssize before 2.04); the newest protocol by default.
 * @throws BootImageError `does-not-fit` if the value is too wide or the target too short; `bad-argument` if this
 * protocol version does not have the field.
 */
export function writeSetupField<N extends SetupFieldName>(
  target: Uint8Array,
  name: N,
  value: SetupValue<N>,
  version = NEWEST_PROTOCOL,
): void {
  const field = setupField(name);
  if (!setupFieldsOf(version).includes(field)) {
    throw new BootImageError('bad-argument', `protocol ${protocolText(version)} has no ${name}`, {
      field: name,
      offset: field.offset,
    });
  }
  writeField(target, 0, fieldOfVersion(field, version), value);
}
