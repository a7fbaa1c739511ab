/** The kernel command line: its limits, and the words in it that are meant for the loader, too (boot.rst, "Special Command Line Options"). */
import { latin1Bytes } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';

/** Longest command line before protocol 2.06, without the NUL. */
export const OLD_COMMAND_LINE_SIZE = 255;

/**
 * For a guest whose console is watched: on the serial port from the first line on (`earlyprintk`: without it everything
 * waits until the driver is up), and an end instead of a frozen screen when the kernel panics.
 */
export const SERIAL_COMMAND_LINE = 'console=ttyS0 earlyprintk=serial,ttyS0 panic=-1';

/**
 * The command line with its terminating NUL.
 * @param limit longest allowed, without the NUL.
 * @throws BootImageError `does-not-fit` for a longer one, `bad-argument` for a NUL or a character beyond Latin-1.
 */
export function encodeCommandLine(text: string, limit: number): Uint8Array {
  if (text.includes('\0')) {
    throw new BootImageError('bad-argument', 'the command line contains a NUL character', { field: 'append' });
  }
  if (text.length > limit) {
    throw new BootImageError(
      'does-not-fit',
      `the command line has ${String(text.length)} characters; this kernel takes at most ${String(limit)}`,
      { field: 'cmdline_size', hint: 'shorten it' },
    );
  }
  return latin1Bytes(`${text}\0`);
}

/** The words meant for the kernel: those before `--`. */
function words(text: string): string[] {
  const all = text.split(/\s+/);
  const end = all.indexOf('--');
  return end < 0 ? all : all.slice(0, end);
}

export function hasWord(text: string, word: string): boolean {
  return words(text).includes(word);
}

/** The last `name=value` of the command line, or null. */
function lastValue(text: string, name: string): string | null {
  return (
    words(text)
      .findLast((word) => word.startsWith(`${name}=`))
      ?.slice(name.length + 1) ?? null
  );
}

/** A number in C notation: decimal, 0x hexadecimal or 0 octal. */
function cNumber(text: string): bigint | null {
  if (/^0x[0-9a-f]+$/i.test(text)) return BigInt(text);
  if (/^0[0-7]+$/.test(text)) return BigInt(`0o${text.slice(1)}`);
  return /^\d+$/.test(text) ? BigInt(text) : null;
}

const VIDEO_MODES: Readonly<Record<string, number>> = { normal: 0xffff, ext: 0xfffe, ask: 0xfffd };

/** What `vga=` asks vid_mode to be; null without it. @throws BootImageError `bad-argument` for a value that is no mode. */
export function videoMode(text: string): number | null {
  const value = lastValue(text, 'vga');
  if (value === null) return null;
  const mode = VIDEO_MODES[value] ?? cNumber(value);
  if (mode === null || mode > 0xffff) {
    throw new BootImageError('bad-argument', `vga=${value} is no video mode`, {
      field: 'append',
      hint: 'write a number, normal, ext or ask',
    });
  }
  return Number(mode);
}

/**
 * One past the highest address that `mem=` leaves the kernel, or null without a limit. The forms with an address
 * (`mem=size@start`) belong to memmap and limit nothing here.
 */
export function memoryLimit(text: string): bigint | null {
  const match = /^([0-9a-fx]+?)([kmgtpe]?)$/i.exec(lastValue(text, 'mem') ?? '');
  const number = cNumber(match?.[1] ?? '');
  if (match === null || number === null) return null;
  const shift = { '': 0n, k: 10n, m: 20n, g: 30n, t: 40n, p: 50n, e: 60n }[(match[2] ?? '').toLowerCase()] ?? 0n;
  return number << shift;
}
