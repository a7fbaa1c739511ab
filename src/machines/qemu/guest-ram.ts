/** A QEMU guest's memory: a file without a name that this process and QEMU share. */
import { closeSync, readSync } from 'node:fs';
import type { Region } from '../../boot/plan.js';
import { writeRegions } from '../ram-file/write-regions.js';
import { createAnonymousFile } from './anonymous-file.js';
import { fileOffset, type RamLayout } from './ram-layout.js';

export class GuestRam {
  readonly layout: RamLayout;
  readonly fd: number;
  #open = true;

  /** @throws BootImageError `machine-failed` if there is no room for `needed` bytes of it. */
  constructor(layout: RamLayout, needed: number) {
    this.layout = layout;
    this.fd = createAnonymousFile(Number(layout.low + layout.high), needed);
  }

  /**
   * @param fresh nothing has been written yet: zeros need not be.
   * @throws BootImageError `does-not-fit` before anything is written, `machine-failed`
   */
  place(regions: readonly Region[], fresh: boolean): void {
    writeRegions(this.fd, regions, ({ address, size }) => fileOffset(this.layout, address, BigInt(size)), fresh);
  }

  /** @throws BootImageError `does-not-fit` */
  read(address: bigint, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const offset = fileOffset(this.layout, address, BigInt(length));
    for (let at = 0; at < length;) {
      const count = readSync(this.fd, bytes, at, length - at, offset + at);
      if (count === 0) break;
      at += count;
    }
    return bytes;
  }

  write(address: bigint, bytes: Uint8Array): void {
    this.place([{ address, size: bytes.length, bytes, purpose: 'firmware', label: 'memory' }], false);
  }

  /** Gives the file back to the system, once QEMU has ended too. */
  close(): void {
    if (this.#open) closeSync(this.fd);
    this.#open = false;
  }
}
