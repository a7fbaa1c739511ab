/**
 * The setup header in a loader's hands: a private copy of the image's, in which the loader fills its fields.
 * Fields that the image's protocol version does not have read as 0 and are not written (boot.rst, "The Real-Mode
 * Kernel Header").
 */
import { BootImageError } from '../bytes/error.js';
import { hex } from '../bytes/numbers.js';
import {
  BOOT_FLAG,
  definedHeaderEnd,
  LOADFLAGS,
  protocolText,
  SETUP_HEADER_START,
  SETUP_JUMP_BASE,
  SETUP_MAGIC,
  type SetupFieldName,
  type SetupHeader,
  setupField,
  setupFieldsOf,
  type SetupValue,
  type SetupValues,
  writeSetupField,
  XLOADFLAGS,
} from '../bzimage/setup-header.js';
import { OLD_COMMAND_LINE_SIZE } from './command-line.js';

/** type_of_loader of a loader without an assigned number. */
export const UNDEFINED_LOADER = 0xff;

/** initrd_addr_max before protocol 2.03. */
const OLD_INITRD_ADDR_MAX = 0x37ffffff;

/** What a kernel has a right to expect of a header when its image brings none: a bare vmlinux. */
const SYNTHETIC: SetupValues = {
  boot_flag: BOOT_FLAG,
  header: SETUP_MAGIC,
  loadflags: LOADFLAGS.LOADED_HIGH,
  initrd_addr_max: 0x7fffffff,
  cmdline_size: 2047,
  xloadflags: 0,
};

export class LoaderHeader {
  /** (major << 8) + minor; 0 for the protocol before 2.00. */
  readonly version: number;
  /** What the image says; the loader's own values do not show here. */
  readonly values: SetupValues;
  readonly #start: Uint8Array;
  readonly #written = new Map<SetupFieldName, number | bigint>();
  readonly #known: ReadonlySet<string>;

  private constructor(version: number, values: SetupValues, start: Uint8Array, known: Iterable<string>) {
    this.version = version;
    this.values = values;
    this.#start = start;
    this.#known = new Set(known);
  }

  static of(setup: SetupHeader): LoaderHeader {
    return new LoaderHeader(setup.version, setup.values, setup.bytes, Object.keys(setup.values));
  }

  /** A header for a kernel that comes without one. */
  static synthetic(values: SetupValues): LoaderHeader {
    // The newest without kernel_info, which only an image can have.
    const version = 0x020d;
    const end = definedHeaderEnd(version);
    const jump = 0xeb | ((end - SETUP_JUMP_BASE) << 8);
    const all = { ...SYNTHETIC, ...values, version, jump };
    const start = new Uint8Array(end - SETUP_HEADER_START);
    const header = new LoaderHeader(
      version,
      all,
      start,
      setupFieldsOf(version).map(({ name }) => name),
    );
    for (const [name, value] of Object.entries(all)) header.#written.set(name as SetupFieldName, value);
    return header;
  }

  /** A field of at most 32 bits; 0 if the image has none. */
  number(name: SetupFieldName): number {
    return Number(this.values[name] ?? 0);
  }

  big(name: SetupFieldName): bigint {
    return BigInt(this.values[name] ?? 0);
  }

  has(name: SetupFieldName): boolean {
    return this.#known.has(name);
  }

  /** Notes a field that the version has; leaves out one that it has not. */
  set<N extends SetupFieldName>(name: N, value: SetupValue<N>): void {
    if (this.has(name)) this.#written.set(name, value);
  }

  /** Sets and clears bits of loadflags. */
  setLoadflags(set: number, clear: number): void {
    this.set('loadflags', ((Number(this.#written.get('loadflags') ?? this.number('loadflags')) & ~clear) | set) & 0xff);
  }

  /** The header's bytes as the image has them, from 0x1f1 on: its own length decides what goes into boot_params. */
  get bytes(): Uint8Array {
    return this.#start;
  }

  /** Writes what has been set into a copy of the header: file or boot_params, both have it at the same offsets. */
  writeTo(target: Uint8Array): void {
    for (const [name, value] of this.#written) {
      writeSetupField(target, name, value as SetupValue<typeof name>, this.version);
    }
  }

  get loadedHigh(): boolean {
    return (this.number('loadflags') & LOADFLAGS.LOADED_HIGH) !== 0;
  }

  get relocatable(): boolean {
    return this.number('relocatable_kernel') !== 0;
  }

  /** True if kernel, boot_params, command line and initrd may lie above 4 GiB. */
  get above4G(): boolean {
    return (this.number('xloadflags') & XLOADFLAGS.XLF_CAN_BE_LOADED_ABOVE_4G) !== 0;
  }

  /** One past the highest address that an initrd byte may have. */
  get initrdLimit(): bigint {
    return BigInt(this.values.initrd_addr_max ?? OLD_INITRD_ADDR_MAX) + 1n;
  }

  /** Longest command line without its NUL. */
  get commandLineSize(): number {
    return this.values.cmdline_size ?? OLD_COMMAND_LINE_SIZE;
  }

  /**
   * Makes sure that there is a field to tell something by.
   * @throws BootImageError `protocol-unavailable` for a protocol that is too old, `bad-field` for a header that ends
   * before it.
   */
  require(name: SetupFieldName, why: string): void {
    if (this.has(name)) return;
    const { since, offset } = setupField(name);
    if (this.version < since) {
      throw new BootImageError(
        'protocol-unavailable',
        `${why} needs boot protocol ${protocolText(since)}; this image has ${protocolText(this.version)}`,
        { field: 'version', offset: setupField('version').offset, hint: 'enter it at the setup stage' },
      );
    }
    throw new BootImageError('bad-field', `${why} needs ${name}, and the setup header ends before it`, {
      field: 'jump',
      offset,
    });
  }

  /** Notes a physical address in a 32-bit field. @throws BootImageError `does-not-fit` */
  setAddress(name: 'cmd_line_ptr' | 'code32_start', address: bigint): void {
    if (address > 0xffffffffn) {
      throw new BootImageError('does-not-fit', `${name} cannot hold ${hex(address)}`, { field: name });
    }
    this.set(name, Number(address));
  }
}
