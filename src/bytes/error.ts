/**
 * The one error type that leaves the library.
 *
 * Codes are stable: scripts may compare them. What a code means, and whether it blames the image or something
 * outside it, stands in one table.
 */

/** Who is to blame; the command line turns `image` into exit status 1, `usage` into 2 and `outside` into 3. */
export type Blame = 'image' | 'usage' | 'outside';

interface CodeRow {
  readonly blame: Blame;
  readonly meaning: string;
}

/** Every code with its meaning. Add rows; never rename one. */
export const ERROR_CODES = {
  truncated: { blame: 'image', meaning: 'the file ends before something that it announces' },
  'out-of-bounds': { blame: 'image', meaning: 'an offset or a length points outside the file or the region' },
  'bad-magic': { blame: 'image', meaning: 'a magic number is missing: this is not what it was taken for' },
  'bad-field': { blame: 'image', meaning: 'a field holds a value that cannot be right' },
  unsupported: { blame: 'image', meaning: 'a valid file that this operation does not apply to' },
  'payload-missing': { blame: 'image', meaning: 'no compressed or plain kernel was found in the image' },
  'payload-corrupt': { blame: 'image', meaning: 'the compressed kernel does not decompress to what it announces' },
  'payload-truncated': { blame: 'image', meaning: 'the compressed kernel ends too early' },
  'payload-too-large': { blame: 'image', meaning: 'the decompressed kernel would exceed the limit' },
  'payload-not-elf': { blame: 'image', meaning: 'the decompressed kernel is not an ELF file' },
  'elf-malformed': { blame: 'image', meaning: 'an ELF header, table or segment contradicts the file' },
  'note-malformed': { blame: 'image', meaning: 'an ELF note does not parse' },
  'relocations-malformed': {
    blame: 'image',
    meaning: 'the relocation table does not parse or points outside the kernel',
  },
  'rule-violated': {
    blame: 'image',
    meaning: 'verification calls it an error for the chosen start; field names the rule id',
  },
  'not-relocatable': { blame: 'image', meaning: 'the kernel cannot run at another address' },
  'does-not-fit': { blame: 'image', meaning: 'a region does not fit where it has to go' },
  overlap: { blame: 'image', meaning: 'two regions claim the same memory' },
  'protocol-unavailable': { blame: 'image', meaning: 'the kernel does not offer this boot protocol' },
  'not-found-in-image': { blame: 'image', meaning: 'the image does not contain what was asked for' },
  'guest-failed': { blame: 'image', meaning: 'the guest stopped, hung or misbehaved' },
  'bad-argument': { blame: 'usage', meaning: 'an option or argument is wrong' },
  'file-not-found': { blame: 'outside', meaning: 'a file is missing' },
  'file-unreadable': { blame: 'outside', meaning: 'a file cannot be read' },
  'file-unwritable': { blame: 'outside', meaning: 'a file cannot be written' },
  'tool-missing': { blame: 'outside', meaning: 'a program or library that is needed is not installed' },
  'machine-failed': { blame: 'outside', meaning: 'the emulator or device failed' },
  aborted: { blame: 'outside', meaning: 'the caller cancelled the operation' },
} as const satisfies Record<string, CodeRow>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface ErrorDetails {
  /** Byte offset in the file (or in the region that `field` names). */
  readonly offset?: number | undefined;
  /** The field, in the words of the specification (`setup_sects`, `e_phoff`, ...), or a rule id. */
  readonly field?: string | undefined;
  /** What the user can do about it. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/** What was wrong, where, and what to do. `message` is one line without offset and hint. */
export class BootImageError extends Error {
  override readonly name = 'BootImageError';
  readonly code: ErrorCode;
  readonly offset: number | undefined;
  readonly field: string | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.offset = details.offset;
    this.field = details.field;
    this.hint = details.hint;
  }

  get blame(): Blame {
    return ERROR_CODES[this.code].blame;
  }
}

/** The whole error as one line: message, field, offset and hint. */
export function describeError(error: BootImageError): string {
  const where = [
    error.field === undefined ? undefined : `field ${error.field}`,
    error.offset === undefined ? undefined : `offset 0x${error.offset.toString(16)}`,
  ].filter((part) => part !== undefined);
  const place = where.length > 0 ? ` (${where.join(', ')})` : '';
  const hint = error.hint === undefined ? '' : `; ${error.hint}`;
  return `${error.message}${place}${hint}`;
}
