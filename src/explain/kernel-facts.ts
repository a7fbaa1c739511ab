/** What the kernel inside says about itself, in words. */
import { hex, hexBytes } from '../bytes/numbers.js';
import type { Uki } from '../bzimage/uki.js';
import type { KernelNote } from '../kernel/notes.js';
import type { RelocationTable } from '../kernel/relocation-table.js';
import type { RecoveredKernel } from './inspect-document.js';
import { count, printable, sizeText } from './text.js';

function relocationText(relocations: RelocationTable | null): string {
  if (relocations === null) return 'none: it stays where it was linked for';
  const kinds: [number, string][] = [
    [relocations.abs64.length, '64-bit'],
    [relocations.abs32.length, '32-bit'],
    [relocations.inverse32.length, 'inverse 32-bit'],
  ];
  return kinds
    .filter(([number]) => number !== 0)
    .map(([number, name]) => `${count(number)} ${name}`)
    .join(', ');
}

/** Pairs of a heading and a text. */
export function kernelFacts({
  vmlinux,
  symbols,
  config,
}: RecoveredKernel): (readonly [heading: string, text: string])[] {
  return [
    ['relocations', relocationText(vmlinux.relocations)],
    ['symbols', symbols === null ? 'none (no kallsyms)' : `${count(symbols)} in kallsyms`],
    ['.config', config ? 'inside (IKCONFIG)' : 'not inside'],
  ];
}

/** A note's value, cut to so many characters. A note is the image's own text: control characters are replaced. */
export function noteText({ value, desc }: Pick<KernelNote, 'value' | 'desc'>, longest: number): string {
  const text =
    typeof value === 'string'
      ? value
      : typeof value === 'bigint'
        ? hex(value)
        : value === null
          ? hexBytes(desc)
          : value.map((word) => hex(word)).join(' ');
  return printable(text.length > longest ? `${text.slice(0, longest - 1)}…` : text);
}

/** What a unified kernel image brings along: pairs of a section and a text. */
export function ukiFacts({ cmdline, uname, osrel, initrd }: Uki): (readonly [section: string, text: string])[] {
  return [
    ['.cmdline', cmdline === null ? 'none' : printable(cmdline)],
    ['.uname', uname === null ? 'none' : printable(uname)],
    ['.osrel', printable(/^PRETTY_NAME="?([^"\n]*)/m.exec(osrel ?? '')?.[1] ?? 'none')],
    ['.initrd', initrd === null ? 'none' : sizeText(initrd.length)],
  ];
}
