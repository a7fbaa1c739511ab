import type { CodecExports } from './arena.js';

/** What lzma.c exports. All arguments are addresses, except `properties`, lengths and flags. */
export interface LzmaExports extends CodecExports {
  lzma_begin(properties: number, input: number, inputEnd: number, output: number): number;
  lzma_run(target: number): number;
  lzma_finish(): number;
  lzma2_begin(input: number, output: number): void;
  lzma2_run(inputEnd: number, target: number, end: number): number;
  x86_filter(data: number, length: number, encode: number): void;
  crc32(data: number, length: number): number;
  crc64(data: number, length: number): bigint;
}
