/**
 * Every field of the setup header, boot protocols "old" to 2.15, in one table: it reads, writes, prints and documents
 * the header. Names, offsets and access are those of Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header").
 */
import type { Field, FieldValue } from '../bytes/struct.js';

/** Who sets a field: `read` the kernel, `write` the boot loader, `modify` both; `internal` is not for loaders. */
export type SetupAccess = 'read' | 'write' | 'modify' | 'read/modify' | 'internal';

export interface SetupField extends Field {
  /** First protocol version that has it; 0 for fields that old kernels have too. */
  readonly since: number;
  readonly access: SetupAccess;
  /** boot.rst's remark: which loaders have to care. */
  readonly duty?: 'obligatory' | 'optional' | 'reloc' | 'optional, reloc' | 'special' | 'subarch-dependent';
  /** The field was narrower in protocols before this one. */
  readonly narrow?: { readonly before: number; readonly type: 'u16' };
  /** Names of single bits, by bit number. */
  readonly bits?: Readonly<Record<number, string>>;
}

/** Bits of loadflags. */
export const LOADFLAGS = {
  LOADED_HIGH: 1 << 0,
  KASLR_FLAG: 1 << 1,
  QUIET_FLAG: 1 << 5,
  KEEP_SEGMENTS: 1 << 6,
  CAN_USE_HEAP: 1 << 7,
} as const;

/** Bits of xloadflags (boot.rst and arch/x86/include/uapi/asm/bootparam.h). */
export const XLOADFLAGS = {
  XLF_KERNEL_64: 1 << 0,
  XLF_CAN_BE_LOADED_ABOVE_4G: 1 << 1,
  XLF_EFI_HANDOVER_32: 1 << 2,
  XLF_EFI_HANDOVER_64: 1 << 3,
  XLF_EFI_KEXEC: 1 << 4,
  XLF_5LEVEL: 1 << 5,
  XLF_5LEVEL_ENABLED: 1 << 6,
  XLF_MEM_ENCRYPTION: 1 << 7,
} as const;

function bitNames(flags: Readonly<Record<string, number>>): Readonly<Record<number, string>> {
  return Object.fromEntries(Object.entries(flags).map(([name, mask]) => [Math.log2(mask), name]));
}

/** "HdrS" as a little-endian word. */
export const SETUP_MAGIC = 0x53726448;
export const BOOT_FLAG = 0xaa55;

/** File offset of the first field, and of the first byte that `jump` counts from. */
export const SETUP_HEADER_START = 0x1f1;
export const SETUP_JUMP_BASE = 0x202;

/** The newest protocol version that is defined. 2.14 was withdrawn: assume 2.13. */
export const NEWEST_PROTOCOL = 0x020f;

export const SETUP_FIELDS = [
  {
    name: 'setup_sects',
    offset: 0x1f1,
    type: 'u8',
    since: 0,
    access: 'read',
    doc: 'size of the setup code in 512-byte sectors, without the boot sector; 0 means 4',
  },
  {
    name: 'root_flags',
    offset: 0x1f2,
    type: 'u16',
    since: 0,
    access: 'modify',
    duty: 'optional',
    doc: 'not 0: the root is mounted read-only; deprecated in favour of "ro" and "rw"',
  },
  {
    name: 'syssize',
    offset: 0x1f4,
    type: 'u32',
    since: 0,
    access: 'read',
    narrow: { before: 0x0204, type: 'u16' },
    doc: 'size of the protected-mode code in 16-byte paragraphs; before 2.04 only its low 16 bits',
  },
  {
    name: 'ram_size',
    offset: 0x1f8,
    type: 'u16',
    since: 0,
    access: 'internal',
    doc: 'obsolete; for bootsect.S only',
  },
  {
    name: 'vid_mode',
    offset: 0x1fa,
    type: 'u16',
    shown: 'hex',
    since: 0,
    access: 'modify',
    duty: 'obligatory',
    doc: 'video mode: 0xffff normal, 0xfffe extended, 0xfffd ask',
  },
  {
    name: 'root_dev',
    offset: 0x1fc,
    type: 'u16',
    shown: 'hex',
    since: 0,
    access: 'modify',
    duty: 'optional',
    doc: 'default root device number ((major << 8) + minor); deprecated in favour of "root="',
  },
  {
    name: 'boot_flag',
    offset: 0x1fe,
    type: 'u16',
    shown: 'hex',
    since: 0,
    access: 'read',
    doc: '0xaa55, the mark of a boot sector',
  },
  {
    name: 'jump',
    offset: 0x200,
    type: 'u16',
    shown: 'hex',
    since: 0x0200,
    access: 'read',
    doc: 'x86 short jump: 0xeb, then the length of the header counted from 0x202',
  },
  {
    name: 'header',
    offset: 0x202,
    type: 'u32',
    shown: 'hex',
    since: 0x0200,
    access: 'read',
    doc: 'the magic number "HdrS", 0x53726448',
  },
  {
    name: 'version',
    offset: 0x206,
    type: 'u16',
    shown: 'hex',
    since: 0x0200,
    access: 'read',
    doc: 'boot protocol version, (major << 8) + minor',
  },
  {
    name: 'realmode_swtch',
    offset: 0x208,
    type: 'u32',
    shown: 'hex',
    since: 0x0200,
    access: 'modify',
    duty: 'optional',
    doc: 'loader hook: far pointer (segment:offset) called before entering protected mode',
  },
  {
    name: 'start_sys_seg',
    offset: 0x20c,
    type: 'u16',
    shown: 'hex',
    since: 0x0200,
    access: 'read',
    doc: 'load-low segment, 0x1000; obsolete',
  },
  {
    name: 'kernel_version',
    offset: 0x20e,
    type: 'u16',
    since: 0x0200,
    access: 'read',
    doc: 'file offset of the NUL-terminated version string, less 0x200; 0: none',
  },
  {
    name: 'type_of_loader',
    offset: 0x210,
    type: 'u8',
    shown: 'hex',
    since: 0x0200,
    access: 'write',
    duty: 'obligatory',
    doc: '(loader id << 4) + its version; 0xff: no id assigned',
  },
  {
    name: 'loadflags',
    offset: 0x211,
    type: 'u8',
    since: 0x0200,
    access: 'modify',
    duty: 'obligatory',
    bits: bitNames(LOADFLAGS),
    doc: 'option flags; LOADED_HIGH makes it a bzImage',
  },
  {
    name: 'setup_move_size',
    offset: 0x212,
    type: 'u16',
    since: 0x0200,
    access: 'modify',
    duty: 'obligatory',
    doc: 'bytes of real-mode memory to move to 0x90000; protocols 2.00 and 2.01 only',
  },
  {
    name: 'code32_start',
    offset: 0x214,
    type: 'u32',
    shown: 'hex',
    since: 0x0200,
    access: 'modify',
    duty: 'optional, reloc',
    doc: 'address that the setup code jumps to in protected mode: load address of the kernel, or a loader hook',
  },
  {
    name: 'ramdisk_image',
    offset: 0x218,
    type: 'u32',
    shown: 'hex',
    since: 0x0200,
    access: 'write',
    duty: 'obligatory',
    doc: 'address of the initial RAM disk (low 32 bits); 0: none',
  },
  {
    name: 'ramdisk_size',
    offset: 0x21c,
    type: 'u32',
    since: 0x0200,
    access: 'write',
    duty: 'obligatory',
    doc: 'bytes of the initial RAM disk (low 32 bits); 0: none',
  },
  {
    name: 'bootsect_kludge',
    offset: 0x220,
    type: 'u32',
    shown: 'hex',
    since: 0x0200,
    access: 'internal',
    doc: 'obsolete; for bootsect.S only',
  },
  {
    name: 'heap_end_ptr',
    offset: 0x224,
    type: 'u16',
    since: 0x0201,
    access: 'write',
    duty: 'obligatory',
    doc: 'end of the setup code’s heap and stack, from the start of the real-mode code, less 0x200',
  },
  {
    name: 'ext_loader_ver',
    offset: 0x226,
    type: 'u8',
    since: 0x0202,
    access: 'write',
    duty: 'optional',
    doc: 'high bits of the loader’s version',
  },
  {
    name: 'ext_loader_type',
    offset: 0x227,
    type: 'u8',
    since: 0x0202,
    access: 'write',
    duty: 'optional',
    doc: 'loader id less 0x10, when type_of_loader says 0xe; obligatory then',
  },
  {
    name: 'cmd_line_ptr',
    offset: 0x228,
    type: 'u32',
    shown: 'hex',
    since: 0x0202,
    access: 'write',
    duty: 'obligatory',
    doc: 'address of the NUL-terminated command line (low 32 bits)',
  },
  {
    name: 'initrd_addr_max',
    offset: 0x22c,
    type: 'u32',
    shown: 'hex',
    since: 0x0203,
    access: 'read',
    doc: 'highest address that a byte of the initial RAM disk may have; before 2.03: 0x37ffffff',
  },
  {
    name: 'kernel_alignment',
    offset: 0x230,
    type: 'u32',
    since: 0x0205,
    access: 'read/modify',
    duty: 'reloc',
    doc: 'alignment in bytes that a relocatable kernel wants',
  },
  {
    name: 'relocatable_kernel',
    offset: 0x234,
    type: 'u8',
    since: 0x0205,
    access: 'read',
    duty: 'reloc',
    doc: 'not 0: the protected-mode part may be loaded at any address of that alignment',
  },
  {
    name: 'min_alignment',
    offset: 0x235,
    type: 'u8',
    since: 0x020a,
    access: 'read',
    duty: 'reloc',
    doc: 'smallest alignment that works, as a power of two; 0: only kernel_alignment',
  },
  {
    name: 'xloadflags',
    offset: 0x236,
    type: 'u16',
    since: 0x020c,
    access: 'read',
    bits: bitNames(XLOADFLAGS),
    doc: 'what the kernel can do: 64-bit entry, loading above 4 GiB, EFI handover, kexec, 5-level paging',
  },
  {
    name: 'cmdline_size',
    offset: 0x238,
    type: 'u32',
    since: 0x0206,
    access: 'read',
    doc: 'longest command line in bytes, without its NUL; before 2.06: 255',
  },
  {
    name: 'hardware_subarch',
    offset: 0x23c,
    type: 'u32',
    since: 0x0207,
    access: 'write',
    duty: 'optional',
    doc: 'kind of machine: 0 PC, 1 lguest, 2 Xen, 3 Moorestown, 4 CE4100',
  },
  {
    name: 'hardware_subarch_data',
    offset: 0x240,
    type: 'u64',
    shown: 'hex',
    since: 0x0207,
    access: 'write',
    duty: 'subarch-dependent',
    doc: 'address of data for that kind of machine',
  },
  {
    name: 'payload_offset',
    offset: 0x248,
    type: 'u32',
    since: 0x0208,
    access: 'read',
    doc: 'offset of the (compressed) kernel from the start of the protected-mode part; 0: unknown',
  },
  {
    name: 'payload_length',
    offset: 0x24c,
    type: 'u32',
    since: 0x0208,
    access: 'read',
    doc: 'bytes of the payload, with the size word that follows all formats but gzip',
  },
  {
    name: 'setup_data',
    offset: 0x250,
    type: 'u64',
    shown: 'hex',
    since: 0x0209,
    access: 'write',
    duty: 'special',
    doc: 'physical address of a linked list of struct setup_data',
  },
  {
    name: 'pref_address',
    offset: 0x258,
    type: 'u64',
    shown: 'hex',
    since: 0x020a,
    access: 'read',
    duty: 'reloc',
    doc: 'preferred load address; a kernel that is not relocatable moves itself there',
  },
  {
    name: 'init_size',
    offset: 0x260,
    type: 'u32',
    since: 0x020a,
    access: 'read',
    doc: 'bytes of memory that the kernel needs from its start address on until it reads the memory map',
  },
  {
    name: 'handover_offset',
    offset: 0x264,
    type: 'u32',
    since: 0x020b,
    access: 'read',
    doc: 'offset of the EFI handover entry from the start of the protected-mode part; the 64-bit one is 0x200 higher',
  },
  {
    name: 'kernel_info_offset',
    offset: 0x268,
    type: 'u32',
    since: 0x020f,
    access: 'read',
    doc: 'offset of kernel_info from the start of the protected-mode part',
  },
] as const satisfies readonly SetupField[];

type Row = (typeof SETUP_FIELDS)[number];

/** A field's name as boot.rst spells it. */
export type SetupFieldName = Row['name'];

/** A field's value: `bigint` for the 64-bit ones. */
export type SetupValue<N extends SetupFieldName> = Extract<Row, { name: N }>['type'] extends 'u64' ? bigint : number;

/** Values by name; a field that the protocol version or the header's length does not have is absent. */
export type SetupValues = { readonly [N in SetupFieldName]?: SetupValue<N> };

const byName = Object.fromEntries(SETUP_FIELDS.map((field) => [field.name, field])) as Record<
  SetupFieldName,
  SetupField
>;

/** The table's row of a field. */
export function setupField(name: SetupFieldName): SetupField {
  return byName[name];
}

/** True if the setup header has a field of this name. */
export function isSetupFieldName(name: string): name is SetupFieldName {
  return Object.hasOwn(byName, name);
}

/** The row as this protocol version has it: syssize is narrower before 2.04. */
export function fieldOfVersion(field: SetupField, version: number): SetupField {
  return field.narrow !== undefined && version < field.narrow.before ? { ...field, type: field.narrow.type } : field;
}

/** Fields of a protocol version, in the order of their offsets. Version 0 means an old header without "HdrS". */
export function setupFieldsOf(version: number): readonly SetupField[] {
  // 2.14 was withdrawn before a release: it has what 2.13 has.
  // "HdrS" came with 2.00: a lower number is damage.
  const effective = version === 0x020e ? 0x020d : version === 0 ? 0 : Math.max(version, 0x0200);
  return SETUP_FIELDS.filter(({ since }) => since <= effective);
}

/** Names of the bits that are set: from the table, or "bit 9" for one without a name. */
export function setBitNames(field: SetupField, value: FieldValue): string[] {
  if (field.bits === undefined || typeof value !== 'number') return [];
  const names: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    if (((value >>> bit) & 1) !== 0) names.push(field.bits[bit] ?? `bit ${bit}`);
  }
  return names;
}

/** 0x020f as "2.15", 0x0207 as "2.07", 0 as "old": the way boot.rst writes versions. */
export function protocolText(version: number): string {
  return version === 0 ? 'old' : `${version >> 8}.${String(version & 0xff).padStart(2, '0')}`;
}
