/** Numbers as the page writes them; the command line writes them alike. */
export { count, sizeText } from '../../src/index.js';

/** Lower-case hexadecimal with 0x. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

export function milliseconds(value: number | null): string {
  return value === null ? '–' : value < 10000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(1)} s`;
}
