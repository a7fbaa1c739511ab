/** What a command needs of the terminal: streams, colour, progress. */
import { styleText } from 'node:util';

export interface CommonOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  /** Commander's `--no-color`. */
  readonly color?: boolean;
}

type Style = Parameters<typeof styleText>[0];

export interface CliIo {
  /** Writes a result to standard output. */
  out(text: string): void;
  /** Writes a line to standard error unless `--quiet`. */
  note(line: string): void;
  /** One JSON document on standard output, and nothing else. */
  json(document: unknown): void;
  /** Styles text if standard output shows colours. */
  paint(style: Style, text: string): string;
  /** Columns of the terminal; 100 when there is none. */
  readonly width: number;
  /** True if progress bars may be drawn on standard error. */
  readonly interactive: boolean;
  readonly quiet: boolean;
  readonly asJson: boolean;
  readonly colour: boolean;
}

/** JSON as the contract has it: bigint as lower-case hex strings, byte strings as lower-case hex. */
export function toJson(document: unknown): string {
  return JSON.stringify(document, replacer, 2);
}

/** The same on one line, for output of one document a line. */
export function toJsonLine(document: unknown): string {
  return JSON.stringify(document, replacer);
}

/** Buffers arrive already turned into objects by their own toJSON, so the value is taken from its holder. */
function replacer(this: Readonly<Record<string, unknown>>, key: string): unknown {
  const value = this[key];
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex');
  return value;
}

export function createIo(options: CommonOptions): CliIo {
  const quiet = options.quiet === true;
  const forced = process.env['FORCE_COLOR'];
  const colour =
    options.color !== false &&
    (process.env['NO_COLOR'] ?? '') === '' &&
    process.env['TERM'] !== 'dumb' &&
    (process.stdout.isTTY || (forced !== undefined && forced !== '0'));
  return {
    out: (text) => void process.stdout.write(text),
    note: (line) => {
      if (!quiet) process.stderr.write(`${line}\n`);
    },
    json: (document) => void process.stdout.write(`${toJson(document)}\n`),
    paint: (style, text) => (colour ? styleText(style, text, { validateStream: false }) : text),
    width: process.stdout.isTTY ? Math.max(60, process.stdout.columns) : 100,
    interactive: process.stderr.isTTY && !quiet,
    quiet,
    asJson: options.json === true,
    colour,
  };
}
