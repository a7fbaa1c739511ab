/**
 * What Xen's ELF library (xen/common/libelf) understands of a kernel: read with its own semantics, so that a verdict
 * or an initial domain built from it equals the real one. It differs from a strict ELF reader on purpose: EI_CLASS other
 * than 64 is read as 32, EI_DATA is honoured, an access outside the file marks the file broken and reads as zero.
 */
import { hex } from '../bytes/numbers.js';

/** Note types, from Xen's public header elfnote.h. */
const XEN_ELFNOTE = {
  ENTRY: 1,
  HYPERCALL_PAGE: 2,
  VIRT_BASE: 3,
  PADDR_OFFSET: 4,
  XEN_VERSION: 5,
  GUEST_OS: 6,
  GUEST_VERSION: 7,
  LOADER: 8,
  PAE_MODE: 9,
  FEATURES: 10,
  BSD_SYMTAB: 11,
  HV_START_LOW: 12,
  L1_MFN_VALID: 13,
  SUSPEND_CANCEL: 14,
  INIT_P2M: 15,
  MOD_START_PFN: 16,
  SUPPORTED_FEATURES: 17,
  PHYS32_ENTRY: 18,
  PHYS32_RELOC: 19,
} as const;

/** Feature bits by name, from Xen's public header features.h; only these names are known to FEATURES. */
export const XEN_FEATURES = {
  writable_page_tables: 0,
  writable_descriptor_tables: 1,
  auto_translated_physmap: 2,
  supervisor_mode_kernel: 3,
  pae_pgdir_above_4gb: 4,
  hvm_callback_vector: 8,
  dom0: 11,
} as const;

const U64 = 0xffff_ffff_ffff_ffffn;
const PT_LOAD = 1;
const PT_NOTE = 4;
const SHT_NOTE = 7;
const EM_386 = 3;
const EM_X86_64 = 62;
const MAX_STRING = 4096;
const MAX_NOTES = 65536;

/** Which of libelf's checks refused the kernel; each has a verification rule of its own. */
export type XenRefusalKind =
  | 'not-elf'
  | 'phdr-overflow'
  | 'shdr-overflow'
  | 'feature-unknown'
  | 'no-notes'
  | 'loader'
  | 'version'
  | 'paddr-offset-without-virt-base'
  | 'bounds'
  | 'p2m-bounds';

/** The verification rule behind each refusal. */
export const XEN_REFUSAL_RULES: Readonly<Record<XenRefusalKind, string>> = {
  'not-elf': 'elf.magic',
  'phdr-overflow': 'elf.phdr-table',
  'shdr-overflow': 'elf.shdr-table',
  'feature-unknown': 'notes.xen-feature-known',
  'no-notes': 'notes.present',
  loader: 'notes.xen-loader',
  version: 'notes.xen-version',
  'paddr-offset-without-virt-base': 'notes.xen-paddr-offset',
  bounds: 'notes.xen-bounds',
  'p2m-bounds': 'notes.xen-p2m',
};

export interface XenRefusal {
  readonly kind: XenRefusalKind;
  /** Xen's own words. */
  readonly says: string;
  /** Which header fields or notes are to blame. */
  readonly field: string;
}

export type XenPae = 'no' | 'yes' | 'extended-cr3' | 'bimodal';

export interface XenParameters {
  readonly bits: 32 | 64;
  readonly machine: number;
  readonly bigEndian: boolean;
  /** Where the notes came from; `none` also when there are none named "Xen". */
  readonly source: 'PT_NOTE' | 'SHT_NOTE' | '__xen_guest' | 'none';
  /** Lowest p_paddr and highest p_paddr + p_memsz of what libelf loads; modulo 2^64 like libelf's own arithmetic. */
  readonly pstart: bigint;
  readonly pend: bigint;
  /** The largest p_align. */
  readonly palign: bigint;
  readonly guestOs: string;
  readonly guestVersion: string;
  readonly xenVersion: string;
  readonly loader: string;
  readonly pae: XenPae;
  readonly bsdSymtab: boolean;
  /** As given by the note; null when unset. */
  readonly virtBase: bigint | null;
  readonly paddrOffset: bigint | null;
  readonly entry: bigint | null;
  readonly hypercallPage: bigint | null;
  readonly hvStartLow: bigint | null;
  readonly initP2m: bigint | null;
  readonly unmappedInitrd: boolean;
  /** Bit masks of feature numbers. */
  readonly supported: number;
  readonly required: number;
  readonly supportedFeaturesNote: boolean;
  /** 32 bits. */
  readonly phys32Entry: number | null;
  readonly phys32Reloc: { readonly align: number | null; readonly min: number; readonly max: number } | null;
  /** The addresses that libelf derives (elf_xen_addr_calc_check). */
  readonly virtKstart: bigint;
  readonly virtKend: bigint;
  readonly virtEntry: bigint;
  /** VIRT_BASE or its default. */
  readonly virtBaseUsed: bigint;
  /** The first access that libelf calls broken; it makes loading fail even when parsing went through. */
  readonly broken: string | null;
  /** The first check that fails; null for a kernel that libelf accepts. */
  readonly refusal: XenRefusal | null;
}

/** An ELF file as libelf sees it. */
class LibElf {
  readonly #data: DataView;
  readonly size: number;
  readonly bits: 32 | 64;
  readonly bigEndian: boolean;
  broken: string | null = null;

  constructor(bytes: Uint8Array) {
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.size = bytes.length;
    this.bits = bytes[4] === 2 ? 64 : 32;
    this.bigEndian = bytes[5] === 2;
  }

  get wide(): boolean {
    return this.bits === 64;
  }

  markBroken(reason: string): void {
    this.broken ??= reason;
  }

  ok(offset: bigint, size: bigint): boolean {
    const start = offset & U64;
    if (start <= BigInt(this.size) && size <= BigInt(this.size) - start) return true;
    this.markBroken('out of range access');
    return false;
  }

  read(offset: bigint, size: 1 | 2 | 4 | 8): bigint {
    if (!this.ok(offset, BigInt(size))) return 0n;
    const at = Number(offset & U64);
    const little = !this.bigEndian;
    switch (size) {
      case 1:
        return BigInt(this.#data.getUint8(at));
      case 2:
        return BigInt(this.#data.getUint16(at, little));
      case 4:
        return BigInt(this.#data.getUint32(at, little));
      case 8:
        return this.#data.getBigUint64(at, little);
    }
  }

  /** A field of class-dependent width: its offset in the 32-bit and in the 64-bit structure. */
  field(base: bigint, at32: readonly [number, 1 | 2 | 4 | 8], at64: readonly [number, 1 | 2 | 4 | 8]): bigint {
    const [offset, size] = this.wide ? at64 : at32;
    return this.read(base + BigInt(offset), size);
  }

  /** NUL-terminated, at most 4096 bytes; null marks the file broken. */
  string(start: bigint): string | null {
    let text = '';
    for (let length = 0; ; length++) {
      const at = start + BigInt(length);
      if (!this.ok(at, 1n)) return null;
      const byte = this.#data.getUint8(Number(at & U64));
      if (byte === 0) return text;
      if (length >= MAX_STRING) {
        this.markBroken('excessively long string');
        return null;
      }
      text += String.fromCharCode(byte);
    }
  }
}

interface Phdr {
  readonly type: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly paddr: bigint;
  readonly filesz: bigint;
  readonly memsz: bigint;
  readonly align: bigint;
}

function* programHeaders(elf: LibElf): Generator<Phdr> {
  const phoff = elf.field(0n, [28, 4], [32, 8]);
  const entsize = elf.field(0n, [42, 2], [54, 2]);
  const count = Number(elf.field(0n, [44, 2], [56, 2]));
  for (let i = 0; i < count; i++) {
    const base = phoff + entsize * BigInt(i);
    if (!elf.ok(base, 1n)) return;
    yield {
      type: Number(elf.field(base, [0, 4], [0, 4])),
      flags: Number(elf.field(base, [24, 4], [4, 4])),
      offset: elf.field(base, [4, 4], [8, 8]),
      paddr: elf.field(base, [12, 4], [24, 8]),
      filesz: elf.field(base, [16, 4], [32, 8]),
      memsz: elf.field(base, [20, 4], [40, 8]),
      align: elf.field(base, [28, 4], [48, 8]),
    };
  }
}

interface Shdr {
  readonly base: bigint;
  readonly type: number;
  readonly offset: bigint;
  readonly size: bigint;
  readonly nameOffset: bigint;
}

function sectionCount(elf: LibElf): number {
  const count = Number(elf.field(0n, [48, 2], [60, 2]));
  const most = Math.floor(elf.size / 40);
  if (count <= most) return count;
  elf.markBroken('far too many section headers');
  return most;
}

function* sectionHeaders(elf: LibElf): Generator<Shdr> {
  const shoff = elf.field(0n, [32, 4], [40, 8]);
  const entsize = elf.field(0n, [46, 2], [58, 2]);
  const count = sectionCount(elf);
  for (let i = 1; i < count; i++) {
    const base = shoff + entsize * BigInt(i);
    if (!elf.ok(base, 1n)) return;
    yield {
      base,
      nameOffset: elf.read(base, 4),
      type: Number(elf.read(base + 4n, 4)),
      offset: elf.field(base, [16, 4], [24, 8]),
      size: elf.field(base, [20, 4], [32, 8]),
    };
  }
}

/** The values that notes or __xen_guest set, while they are read. */
interface Draft {
  notes: number;
  foundNotes: boolean;
  supported: number;
  required: number;
  supportedFeaturesNote: boolean;
  numbers: Map<number, bigint>;
  strings: Map<number, string>;
  phys32Reloc: { align: number | null; min: number; max: number } | null;
  unknownFeature: string | null;
}

function newDraft(): Draft {
  return {
    notes: 0,
    foundNotes: false,
    supported: 0,
    required: 0,
    supportedFeaturesNote: false,
    numbers: new Map(),
    strings: new Map(),
    phys32Reloc: null,
    unknownFeature: null,
  };
}

/** Returns the first unknown required feature, or null. */
function parseFeatures(text: string, draft: Draft): string | null {
  for (let at = 0; at < text.length;) {
    const bar = text.indexOf('|', at);
    const end = bar < 0 ? text.length : bar;
    // Tokens longer than 63 characters are cut and go on as another token.
    const token = text.slice(at, Math.min(end, at + 63));
    at += token.length;
    if (at === bar && token.length < 63) at++;
    const required = token.startsWith('!');
    const bit = (XEN_FEATURES as Readonly<Record<string, number>>)[required ? token.slice(1) : token];
    if (bit !== undefined) {
      draft.supported |= 1 << bit;
      if (required) draft.required |= 1 << bit;
    } else if (required) {
      return token.slice(1);
    }
  }
  return null;
}

const STRING_NOTES: ReadonlySet<number> = new Set([
  XEN_ELFNOTE.XEN_VERSION,
  XEN_ELFNOTE.GUEST_OS,
  XEN_ELFNOTE.GUEST_VERSION,
  XEN_ELFNOTE.LOADER,
  XEN_ELFNOTE.PAE_MODE,
  XEN_ELFNOTE.FEATURES,
  XEN_ELFNOTE.BSD_SYMTAB,
]);

function noteNumber(elf: LibElf, desc: bigint, size: number): bigint {
  return size === 1 || size === 2 || size === 4 || size === 8 ? elf.read(desc, size) : 0n;
}

function noteWord(elf: LibElf, desc: bigint, size: number, index: number): number {
  if (size % 4 !== 0 || index >= size / 4) return 0;
  return Number(elf.read(desc + BigInt(4 * index), 4));
}

function parseNote(elf: LibElf, draft: Draft, type: number, desc: bigint, size: number): void {
  if (STRING_NOTES.has(type)) {
    const text = elf.string(desc);
    if (text === null) return;
    draft.strings.set(type, text);
    if (type === XEN_ELFNOTE.FEATURES) draft.unknownFeature ??= parseFeatures(text, draft);
  } else if (type === XEN_ELFNOTE.SUPPORTED_FEATURES) {
    draft.supportedFeaturesNote = true;
    draft.supported |= noteWord(elf, desc, size, 0);
  } else if (type === XEN_ELFNOTE.PHYS32_RELOC) {
    draft.phys32Reloc = {
      align: size >= 4 ? noteWord(elf, desc, size, 0) : null,
      min: size >= 8 ? noteWord(elf, desc, size, 1) : 0,
      max: size >= 12 ? noteWord(elf, desc, size, 2) : 0xffff_ffff,
    };
  } else {
    draft.numbers.set(type, noteNumber(elf, desc, size));
  }
}

/** Walks notes as libelf does: sizes rounded to 4 whatever p_align says, the list ends where the pointer leaves it. */
function parseNotes(elf: LibElf, draft: Draft, start: bigint, end: bigint): number {
  let found = 0;
  draft.foundNotes = true;
  for (let at = start; at < end;) {
    if (draft.notes >= MAX_NOTES) {
      elf.markBroken('too many ELF notes');
      break;
    }
    draft.notes++;
    const namesz = (elf.read(at, 4) + 3n) & ~3n & 0xffff_ffffn;
    const size = Number(elf.read(at + 4n, 4));
    const type = Number(elf.read(at + 8n, 4));
    const desc = at + 12n + namesz;
    if (elf.string(at + 12n) === 'Xen') {
      parseNote(elf, draft, type, desc, size);
      if (draft.unknownFeature !== null) return found;
      found++;
    }
    const next = desc + ((BigInt(size) + 3n) & ~3n & 0xffff_ffffn);
    // elf_note_next: what does not advance, or leaves the file, ends the walk.
    if (next <= at || !elf.ok(next, 0n)) break;
    at = next;
  }
  return found;
}

/** The legacy section: NAME=value pairs separated by commas (elf_xen_parse_guest_info). */
function parseGuestSection(elf: LibElf, draft: Draft, start: bigint): void {
  const text = elf.string(start) ?? '';
  const names: Readonly<Record<string, number>> = {
    LOADER: XEN_ELFNOTE.LOADER,
    GUEST_OS: XEN_ELFNOTE.GUEST_OS,
    GUEST_VER: XEN_ELFNOTE.GUEST_VERSION,
    XEN_VER: XEN_ELFNOTE.XEN_VERSION,
    PAE: XEN_ELFNOTE.PAE_MODE,
    VIRT_BASE: XEN_ELFNOTE.VIRT_BASE,
    VIRT_ENTRY: XEN_ELFNOTE.ENTRY,
    ELF_PADDR_OFFSET: XEN_ELFNOTE.PADDR_OFFSET,
    HYPERCALL_PAGE: XEN_ELFNOTE.HYPERCALL_PAGE,
  };
  for (const pair of text.split(',')) {
    const [name = '', value = ''] = pair.split('=', 2);
    const type = names[name];
    if (name === 'FEATURES') draft.unknownFeature ??= parseFeatures(value, draft);
    else if (name === 'BSD_SYMTAB') draft.strings.set(XEN_ELFNOTE.BSD_SYMTAB, 'yes');
    else if (type === undefined) continue;
    else if (STRING_NOTES.has(type)) draft.strings.set(type, value);
    else if (/^(0x[0-9a-f]+|\d+)$/i.test(value)) draft.numbers.set(type, BigInt(value));
  }
  const base = draft.numbers.get(XEN_ELFNOTE.VIRT_BASE);
  const page = draft.numbers.get(XEN_ELFNOTE.HYPERCALL_PAGE);
  if (page !== undefined) draft.numbers.set(XEN_ELFNOTE.HYPERCALL_PAGE, (page << 12n) + (base ?? 0n));
}

function paeMode(text: string | undefined, legacy: boolean): XenPae {
  if (text === undefined) return 'no';
  if (legacy) return text === 'yes[extended-cr3]' ? 'extended-cr3' : text.startsWith('yes') ? 'yes' : 'no';
  if (text.includes('bimodal')) return 'bimodal';
  return text === 'yes' ? 'extended-cr3' : 'no';
}

/**
 * Reads a kernel as Xen does.
 * @param bytes the blob that Xen gets: vmlinux with what follows it.
 * @param hvm true for PVH and HVM containers: PHYS32_ENTRY suffices and all addresses are physical.
 */
export function readXenParameters(bytes: Uint8Array, hvm: boolean): XenParameters {
  const elf = new LibElf(bytes);
  const draft = newDraft();
  const machine = Number(elf.field(0n, [18, 2], [18, 2]));
  const refusals: XenRefusal[] = [];
  const stopped = (): boolean => draft.unknownFeature !== null;
  const refuse = (kind: XenRefusalKind, says: string, field: string): void => {
    refusals.push({ kind, says, field });
  };

  if (bytes.length < 52 || !(bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46)) {
    refuse('not-elf', 'ELF: not an ELF binary', 'e_ident');
  }
  const phEnd = elf.field(0n, [28, 4], [32, 8]) + elf.field(0n, [42, 2], [54, 2]) * elf.field(0n, [44, 2], [56, 2]);
  if ((phEnd & U64) > BigInt(elf.size)) {
    refuse(
      'phdr-overflow',
      `ELF: phdr overflow (off ${(phEnd & U64).toString(16)} > size ${elf.size.toString(16)})`,
      'e_phoff',
    );
  }
  const shEnd = elf.field(0n, [32, 4], [40, 8]) + elf.field(0n, [46, 2], [58, 2]) * BigInt(sectionCount(elf));
  if ((shEnd & U64) > BigInt(elf.size)) {
    refuse(
      'shdr-overflow',
      `ELF: shdr overflow (off ${(shEnd & U64).toString(16)} > size ${elf.size.toString(16)})`,
      'e_shoff',
    );
  }

  let pstart = U64;
  let pend = 0n;
  let palign = 0n;
  let found = 0;
  let source: XenParameters['source'] = 'none';
  if (refusals.length === 0) {
    for (const phdr of programHeaders(elf)) {
      // PF_X | PF_W | PF_R: libelf ignores a segment without any of them.
      if (phdr.type !== PT_LOAD || (phdr.flags & 7) === 0) continue;
      if (phdr.paddr < pstart) pstart = phdr.paddr;
      const end = (phdr.paddr + phdr.memsz) & U64;
      if (end > pend) pend = end;
      if (phdr.align > palign) palign = phdr.align;
    }
    for (const phdr of programHeaders(elf)) {
      if (phdr.type !== PT_NOTE || phdr.offset === 0n || stopped()) continue;
      found += parseNotes(elf, draft, phdr.offset, phdr.offset + phdr.filesz);
      if (found > 0) source = 'PT_NOTE';
    }
    if (found === 0 && !stopped()) {
      for (const shdr of sectionHeaders(elf)) {
        if (shdr.type !== SHT_NOTE || stopped()) continue;
        found += parseNotes(elf, draft, shdr.offset, shdr.offset + shdr.size);
        if (found > 0) source = 'SHT_NOTE';
      }
    }
    if (found === 0 && !hvm && !stopped()) {
      const shoff = elf.field(0n, [32, 4], [40, 8]);
      const entsize = elf.field(0n, [46, 2], [58, 2]);
      const strings = shoff + entsize * elf.field(0n, [50, 2], [62, 2]);
      const table = elf.field(strings, [16, 4], [24, 8]);
      for (const shdr of sectionHeaders(elf)) {
        if (elf.string(table + shdr.nameOffset) !== '__xen_guest') continue;
        parseGuestSection(elf, draft, shdr.offset);
        source = '__xen_guest';
        break;
      }
    }
  }

  const number = (type: number): bigint | null => draft.numbers.get(type) ?? null;
  const string = (type: number): string => draft.strings.get(type) ?? '';
  const legacy = source === '__xen_guest';
  const loader = string(XEN_ELFNOTE.LOADER);
  const guestOs = string(XEN_ELFNOTE.GUEST_OS);
  const xenVersion = string(XEN_ELFNOTE.XEN_VERSION);
  const virtBase = number(XEN_ELFNOTE.VIRT_BASE);
  const paddrOffset = number(XEN_ELFNOTE.PADDR_OFFSET);
  const initP2m = number(XEN_ELFNOTE.INIT_P2M);
  const phys32 = number(XEN_ELFNOTE.PHYS32_ENTRY);
  const phys32Entry = phys32 === null ? null : Number(phys32 & 0xffff_ffffn);

  if (draft.unknownFeature !== null) {
    refuse('feature-unknown', `unknown required feature "${draft.unknownFeature}"`, 'XEN_ELFNOTE_FEATURES');
  }
  if (!draft.foundNotes && !legacy && (machine === EM_386 || machine === EM_X86_64)) {
    refuse('no-notes', "ERROR: Not a Xen-ELF image: No ELF notes or '__xen_guest' section found", 'PT_NOTE');
  }
  const pvh = hvm && phys32Entry !== null;
  if (!pvh) {
    if (!loader.startsWith('generic') && !guestOs.startsWith('linux')) {
      refuse(
        'loader',
        `ERROR: Will only load images built for the generic loader or Linux images (Not '${loader}' and '${guestOs}') or with PHYS32_ENTRY set`,
        'XEN_ELFNOTE_LOADER',
      );
    }
    if (!xenVersion.startsWith('xen-3.0')) {
      refuse(
        'version',
        `ERROR: Xen will only load images built for Xen v3.0 (Not '${xenVersion}')`,
        'XEN_ELFNOTE_XEN_VERSION',
      );
    }
  }
  if (paddrOffset !== null && virtBase === null && !hvm) {
    refuse(
      'paddr-offset-without-virt-base',
      'ERROR: ELF_PADDR_OFFSET set, VIRT_BASE unset',
      'XEN_ELFNOTE_PADDR_OFFSET',
    );
  }

  const virtBaseUsed = hvm ? 0n : (virtBase ?? 0n);
  const offsetUsed = hvm ? 0n : (paddrOffset ?? (legacy ? virtBaseUsed : 0n));
  const virtOffset = virtBaseUsed - offsetUsed;
  const virtKstart = (pstart + virtOffset) & U64;
  const virtKend = (pend + virtOffset) & U64;
  const elfEntry = elf.field(0n, [24, 4], [24, 8]);
  const noteEntry = number(XEN_ELFNOTE.ENTRY);
  const virtEntry = pvh ? BigInt(phys32Entry) : hvm ? elfEntry : (noteEntry ?? elfEntry);
  if (virtKstart > virtKend || virtEntry < virtKstart || virtEntry > virtKend || virtBaseUsed > virtKstart) {
    const blame =
      virtKstart > virtKend
        ? 'p_memsz'
        : virtBaseUsed > virtKstart
          ? 'XEN_ELFNOTE_VIRT_BASE'
          : pvh
            ? 'XEN_ELFNOTE_PHYS32_ENTRY'
            : 'XEN_ELFNOTE_ENTRY';
    refuse('bounds', 'ERROR: ELF start or entries are out of bounds', blame);
  }
  if (initP2m !== null && initP2m >= virtKstart && initP2m < virtKend) {
    refuse('p2m-bounds', 'ERROR: P->M table base is out of bounds', 'XEN_ELFNOTE_INIT_P2M');
  }

  return {
    bits: elf.bits,
    machine,
    bigEndian: elf.bigEndian,
    source,
    pstart,
    pend,
    palign,
    guestOs,
    guestVersion: string(XEN_ELFNOTE.GUEST_VERSION),
    xenVersion,
    loader,
    pae: paeMode(draft.strings.get(XEN_ELFNOTE.PAE_MODE), legacy),
    bsdSymtab: string(XEN_ELFNOTE.BSD_SYMTAB) === 'yes',
    virtBase,
    paddrOffset,
    entry: noteEntry,
    hypercallPage: number(XEN_ELFNOTE.HYPERCALL_PAGE),
    hvStartLow: number(XEN_ELFNOTE.HV_START_LOW),
    initP2m,
    unmappedInitrd: (number(XEN_ELFNOTE.MOD_START_PFN) ?? 0n) !== 0n,
    supported: draft.supported,
    required: draft.required,
    supportedFeaturesNote: draft.supportedFeaturesNote,
    phys32Entry,
    phys32Reloc: draft.phys32Reloc,
    virtKstart,
    virtKend,
    virtEntry,
    virtBaseUsed,
    broken: elf.broken,
    refusal: refusals[0] ?? null,
  };
}

/** "0x1000000 -> 0x1a2c000", as Xen's console prints a kernel's physical range. */
export function xenPhysicalRange(parameters: XenParameters): string {
  return `${hex(parameters.pstart)} -> ${hex(parameters.pend)}`;
}
