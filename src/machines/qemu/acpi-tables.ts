/**
 * Plays the firmware's part for ACPI: takes QEMU's tables from fw_cfg and installs them by the script that comes with
 * them (QEMU's docs/specs and include/hw/acpi/bios-linker-loader; the same that SeaBIOS and OVMF execute).
 */
import { ByteView } from '../../bytes/byte-view.js';
import { BootImageError } from '../../bytes/error.js';
import { alignUp } from '../../bytes/numbers.js';
import { defineStruct } from '../../bytes/struct.js';
import type { FwCfg } from './fw-cfg.js';
import type { GuestRam } from './guest-ram.js';

const ENTRY_SIZE = 128;
const SOURCE = "QEMU's hw/acpi/bios-linker-loader.c";
const COMMANDS = { allocate: 1, addPointer: 2, addChecksum: 3, writePointer: 4 } as const;
const ZONE_FSEG = 2;

const ALLOCATE = defineStruct('allocate', ENTRY_SIZE, SOURCE, [
  { name: 'command', offset: 0, type: 'u32', doc: '1' },
  { name: 'file', offset: 4, type: 'bytes', length: 56, doc: 'what to load' },
  { name: 'align', offset: 60, type: 'u32', doc: 'a power of two' },
  { name: 'zone', offset: 64, type: 'u8', doc: '1 anywhere below 4 GiB, 2 where the RSDP is searched' },
]);
const POINTER = defineStruct('add_pointer, write_pointer', ENTRY_SIZE, SOURCE, [
  { name: 'command', offset: 0, type: 'u32', doc: '2; 4 with the source offset' },
  { name: 'dest_file', offset: 4, type: 'bytes', length: 56, doc: 'file that holds the pointer' },
  { name: 'src_file', offset: 60, type: 'bytes', length: 56, doc: 'file that it points into' },
  { name: 'offset', offset: 116, type: 'u32', doc: 'of the pointer in dest_file' },
  { name: 'size', offset: 120, type: 'u8', doc: 'add_pointer: 1, 2, 4 or 8 bytes' },
  { name: 'src_offset', offset: 120, type: 'u32', doc: 'write_pointer: what to add to the address' },
  { name: 'write_size', offset: 124, type: 'u8', doc: 'write_pointer: 1, 2, 4 or 8 bytes' },
]);
const CHECKSUM = defineStruct('add_checksum', ENTRY_SIZE, SOURCE, [
  { name: 'command', offset: 0, type: 'u32', doc: '3' },
  { name: 'file', offset: 4, type: 'bytes', length: 56, doc: 'file that holds the checksum' },
  { name: 'offset', offset: 60, type: 'u32', doc: 'of the checksum' },
  { name: 'start', offset: 64, type: 'u32', doc: 'first byte that it covers' },
  { name: 'length', offset: 68, type: 'u32', doc: 'bytes that it covers' },
]);

interface LoadedFile {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

function nameOf(field: Uint8Array): string {
  return new ByteView(field).cString(0, field.length) ?? '';
}

function readInteger(bytes: Uint8Array, offset: number, size: number): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[offset + i] ?? 0);
  return value;
}

function integerBytes(value: bigint, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}

export interface AcpiArea {
  readonly address: bigint;
  /** Bytes. */
  readonly size: bigint;
}

/**
 * Installs the tables in `area`, the root pointer (RSDP) at its first byte.
 * @returns the RSDP's bytes, or null if this machine offers no tables.
 * @throws BootImageError `does-not-fit`, `machine-failed`
 */
export async function installAcpiTables(fwCfg: FwCfg, ram: GuestRam, area: AcpiArea): Promise<Uint8Array | null> {
  const directory = await fwCfg.directory();
  const script = directory.get('etc/table-loader');
  if (script === undefined) return null;
  const view = new ByteView(await fwCfg.read(script));
  const loaded = new Map<string, LoadedFile>();
  const fileOf = (field: Uint8Array): LoadedFile => {
    const file = loaded.get(nameOf(field));
    if (file === undefined)
      throw new BootImageError('machine-failed', `QEMU's table loader uses "${nameOf(field)}" before loading it`);
    return file;
  };
  let next = area.address;
  let rsdp: Uint8Array | null = null;
  // The root pointer goes first, wherever the script allocates it.
  const entries = Array.from({ length: Math.floor(view.length / ENTRY_SIZE) }, (_, index) => index * ENTRY_SIZE);
  const allocations = entries.filter((at) => view.u32(at) === COMMANDS.allocate).map((at) => ALLOCATE.read(view, at));
  for (const { file, align, zone } of allocations.sort((a, b) => b.zone - a.zone)) {
    const source = directory.get(nameOf(file));
    if (source === undefined) throw new BootImageError('machine-failed', `QEMU's fw_cfg has no file "${nameOf(file)}"`);
    const address = alignUp(next, BigInt(Math.max(align, 1)));
    next = address + BigInt(source.size);
    if (next > area.address + area.size) {
      throw new BootImageError('does-not-fit', `QEMU's ACPI tables need more than ${String(area.size)} bytes`);
    }
    const bytes = await fwCfg.read(source);
    loaded.set(nameOf(file), { address, bytes });
    if (zone === ZONE_FSEG) rsdp = bytes;
  }
  for (const at of entries) {
    switch (view.u32(at)) {
      case COMMANDS.addPointer: {
        const { dest_file, src_file, offset, size } = POINTER.read(view, at);
        const target = fileOf(dest_file).bytes;
        const value = readInteger(target, offset, size) + fileOf(src_file).address;
        target.set(integerBytes(value, size), offset);
        break;
      }
      case COMMANDS.addChecksum: {
        const { file, offset, start, length } = CHECKSUM.read(view, at);
        const { bytes } = fileOf(file);
        const sum = bytes.subarray(start, start + length).reduce((total, byte) => total + byte, 0);
        bytes[offset] = ((bytes[offset] ?? 0) - sum) & 0xff;
        break;
      }
      case COMMANDS.writePointer: {
        const { dest_file, src_file, offset, src_offset, write_size } = POINTER.read(view, at);
        const target = directory.get(nameOf(dest_file));
        if (target === undefined) break;
        await fwCfg.write(target, offset, integerBytes(fileOf(src_file).address + BigInt(src_offset), write_size));
        break;
      }
      default:
    }
  }
  for (const { address, bytes } of loaded.values()) ram.write(address, bytes);
  return rsdp;
}
