/**
 * QEMU's firmware configuration device (docs/specs/fw_cfg), read and written as firmware would: by DMA, the port being
 * written through the monitor while the CPU stands still.
 */
import { latin1 } from '../../bytes/byte-view.js';
import { BootImageError } from '../../bytes/error.js';
import type { GuestRam } from './guest-ram.js';
import type { Qmp } from './qmp.js';

const DMA_PORT_LOW = 0x518;
const FILE_DIRECTORY = 0x19;
const DIRECTORY_ENTRY = 64;
/** QEMU itself has a few dozen; a user may add some (fw_cfg's own limit is 64 in older machines, 127 since). */
const MOST_FILES = 128;
const CONTROL = { error: 1, read: 2, skip: 4, select: 8, write: 16 } as const;
/** The DMA descriptor's size; data follow it in the scratch memory. */
const DESCRIPTOR = 16;

export interface FwCfgFile {
  readonly key: number;
  readonly size: number;
}

function swap32(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value);
  return view.getUint32(0, true);
}

export class FwCfg {
  readonly #qmp: Qmp;
  readonly #ram: GuestRam;
  readonly #scratch: bigint;

  /** @param scratch guest memory below 4 GiB, as large as the largest file and 16 bytes more; zeroed after each use. */
  constructor(qmp: Qmp, ram: GuestRam, scratch: bigint) {
    this.#qmp = qmp;
    this.#ram = ram;
    this.#scratch = scratch;
  }

  /** The files by name. */
  async directory(): Promise<ReadonlyMap<string, FwCfgFile>> {
    // What lies behind an item's end reads as zeros.
    const bytes = await this.read({ key: FILE_DIRECTORY, size: 4 + MOST_FILES * DIRECTORY_ENTRY });
    const view = new DataView(bytes.buffer);
    const end = 4 + Math.min(view.getUint32(0), MOST_FILES) * DIRECTORY_ENTRY;
    const files = new Map<string, FwCfgFile>();
    for (let at = 4; at < end; at += DIRECTORY_ENTRY) {
      const name = latin1(bytes.subarray(at + 8, at + DIRECTORY_ENTRY)).split('\0')[0] ?? '';
      files.set(name, { size: view.getUint32(at), key: view.getUint16(at + 4) });
    }
    return files;
  }

  async read(file: FwCfgFile): Promise<Uint8Array> {
    await this.#transfer((file.key << 16) | CONTROL.select | CONTROL.read, file.size);
    const bytes = this.#ram.read(this.#scratch + BigInt(DESCRIPTOR), file.size);
    this.#clear(file.size);
    return bytes;
  }

  async write(file: FwCfgFile, offset: number, bytes: Uint8Array): Promise<void> {
    await this.#transfer((file.key << 16) | CONTROL.select | CONTROL.skip, offset);
    this.#ram.write(this.#scratch + BigInt(DESCRIPTOR), bytes);
    await this.#transfer(CONTROL.write, bytes.length);
    this.#clear(bytes.length);
  }

  async #transfer(control: number, length: number): Promise<void> {
    const descriptor = new Uint8Array(DESCRIPTOR);
    const view = new DataView(descriptor.buffer);
    view.setUint32(0, control >>> 0);
    view.setUint32(4, length);
    view.setBigUint64(8, this.#scratch + BigInt(DESCRIPTOR));
    this.#ram.write(this.#scratch, descriptor);
    const address = swap32(Number(this.#scratch));
    await this.#qmp.monitor(`o /w 0x${DMA_PORT_LOW.toString(16)} 0x${address.toString(16)}`);
    const left = new DataView(this.#ram.read(this.#scratch, 4).buffer).getUint32(0);
    if (left !== 0)
      throw new BootImageError('machine-failed', `QEMU's fw_cfg did not answer (control 0x${left.toString(16)})`);
  }

  #clear(length: number): void {
    this.#ram.write(this.#scratch, new Uint8Array(DESCRIPTOR + length));
  }
}
