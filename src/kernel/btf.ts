/** BTF, the kernel's type information (Documentation/bpf/btf.rst): section .BTF, part of .rodata at run time. */
import { ByteView } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { defineStruct } from '../bytes/struct.js';
import { findSection, sectionView } from '../elf/read-elf.js';
import { indexOfBytes } from './search.js';
import type { Vmlinux } from './vmlinux.js';

export const BTF_HEADER = defineStruct('btf_header', 24, 'include/uapi/linux/btf.h', [
  { name: 'magic', offset: 0, type: 'u16', shown: 'hex', doc: '0xeb9f' },
  { name: 'version', offset: 2, type: 'u8', doc: '1' },
  { name: 'flags', offset: 3, type: 'u8', doc: '0' },
  { name: 'hdr_len', offset: 4, type: 'u32', doc: 'bytes of this header, 24' },
  { name: 'type_off', offset: 8, type: 'u32', doc: 'offset of the types behind the header' },
  { name: 'type_len', offset: 12, type: 'u32', doc: 'bytes of the types' },
  { name: 'str_off', offset: 16, type: 'u32', doc: 'offset of the strings behind the header' },
  { name: 'str_len', offset: 20, type: 'u32', doc: 'bytes of the strings' },
]);

/** Magic, version 1, no flags, header length 24: what the kernel's own BTF begins with. */
const START = '\x9f\xeb\x01\x00\x18\x00\x00\x00';

/** The length of the BTF that begins at `at`, or null if its header contradicts the data. */
function btfLength(view: ByteView, at: number): number | null {
  if (!view.has(at, BTF_HEADER.size) || !view.startsWith(START, at)) return null;
  const { hdr_len, type_off, type_len, str_off, str_len } = BTF_HEADER.read(view, at);
  const length = hdr_len + Math.max(type_off + type_len, str_off + str_len);
  if (type_len === 0 || str_len === 0 || !view.has(at, length)) return null;
  // The strings begin with the empty one and end with a NUL.
  const strings = at + hdr_len + str_off;
  return view.u8(strings) === 0 && view.u8(strings + str_len - 1) === 0 ? length : null;
}

/** The kernel's BTF, shared: by its section or, where section headers are gone, by its header. Null if there is none. */
export function findBtf(vmlinux: Vmlinux): Uint8Array | null {
  const section = findSection(vmlinux.elf, '.BTF');
  if (section !== null) {
    const view = sectionView(vmlinux.elf, section);
    if (btfLength(view, 0) !== null) return view.bytes;
  }
  const view = new ByteView(vmlinux.elfBytes);
  for (let at = indexOfBytes(view.bytes, START); at >= 0; at = indexOfBytes(view.bytes, START, at + 1)) {
    const length = btfLength(view, at);
    if (length !== null) return view.slice(at, length);
  }
  return null;
}

/** As `findBtf`. @throws BootImageError `not-found-in-image` */
export function readBtf(vmlinux: Vmlinux): Uint8Array {
  const found = findBtf(vmlinux);
  if (found !== null) return found;
  throw new BootImageError('not-found-in-image', 'the kernel carries no BTF', {
    field: '.BTF',
    hint: 'it was built without CONFIG_DEBUG_INFO_BTF',
  });
}
