import { COFF_HEADER, OPTIONAL_HEADER_64, SECTION_HEADER } from '../../src/bzimage/pe.js';

/** A unified kernel image with the fewest headers: EFI programs look like this. */
export function makeUki(sections: readonly (readonly [name: string, data: Uint8Array])[]): Uint8Array {
  const tableAt = 0x40 + 24 + 240;
  const place = (size: number): number => Math.ceil(size / 512) * 512;
  let at = place(tableAt + sections.length * 40);
  const total = sections.reduce((sum, [, data]) => sum + place(data.length), at);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  bytes.set([0x4d, 0x5a]);
  view.setUint32(0x3c, 0x40, true);
  bytes.set([0x50, 0x45], 0x40);
  COFF_HEADER.write(bytes, 0x44, { Machine: 0x8664, NumberOfSections: sections.length, SizeOfOptionalHeader: 240 });
  OPTIONAL_HEADER_64.write(bytes, 0x58, { Magic: 0x20b, Subsystem: 10, NumberOfRvaAndSizes: 16 });
  sections.forEach(([name, data], i) => {
    SECTION_HEADER.write(bytes, tableAt + i * 40, {
      Name: new TextEncoder().encode(name),
      VirtualSize: data.length,
      VirtualAddress: at,
      SizeOfRawData: place(data.length),
      PointerToRawData: at,
    });
    bytes.set(data, at);
    at += place(data.length);
  });
  return bytes;
}
