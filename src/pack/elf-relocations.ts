/**
 * The relocation table from the relocations that the linker kept (--emit-relocs), as the kernel's own tool makes it
 * (arch/x86/tools/relocs.c): addresses of words that move with the kernel, and on 64-bit of words relative to the
 * per-CPU area, which does not.
 */
import { BootImageError } from '../bytes/error.js';
import { hex } from '../bytes/numbers.js';
import { SHF_ALLOC, SHN_ABS, SHT_NOTE, SHT_REL, SHT_RELA, SHT_SYMTAB } from '../elf/definitions.js';
import type { ElfFile, SectionHeader } from '../elf/elf-file.js';
import { sectionView } from '../elf/read-elf.js';
import type { ByteView } from '../bytes/byte-view.js';
import type { Vmlinux } from '../kernel/vmlinux.js';

/** x86-64 and i386 psABI. */
const R_X86_64 = { NONE: 0, 64: 1, PC32: 2, PLT32: 4, 32: 10, '32S': 11, PC64: 24 } as const;
const R_386 = { NONE: 0, 32: 1, PC32: 2, PLT32: 4, 16: 20, PC16: 21, 8: 22, PC8: 23 } as const;

/** Symbols of the link script that are absolute in the symbol table but move with the kernel. */
const RELATIVE_ABSOLUTES =
  /^(__init_(begin|end)|__x86_cpu_dev_(start|end)|(__parainstructions|__alt_instructions|__iommu_table|__apicdrivers|__smp_locks)(_end)?|__(start|end)_(pci_.*|builtin_fw)|__(start|stop)___(ksymtab(_gpl)?|kcrctab(_gpl)?|param|modver|bug_table)|__tracedata_(start|end)|__(start|stop)_notes|__end_rodata(_aligned|_hpage_align)?|__initramfs_start|jiffies(_64)?|__per_cpu_load|init_per_cpu__.*|__vvar_page|_end)$/;
/** Absolute symbols whose value is no address. */
const TRUE_ABSOLUTES =
  /^(xen_irq_disable_direct_reloc$|xen_save_fl_direct_reloc$|xen_elfnote_.+_offset$|VDSO|__kcfi_typeid_|__crc_)/;

interface PerCpu {
  /** Index of the section that is linked at 0. */
  readonly index: number;
  /** Where it is loaded: what its relocations count from. */
  readonly loadAddress: bigint;
}

interface Symbols {
  readonly section: (index: number) => number;
  readonly value: (index: number) => bigint;
  readonly name: (index: number) => string;
  readonly count: number;
}

function symbolsOf(elf: ElfFile): Symbols | null {
  const table = elf.sectionHeaders.find(({ sh_type }) => sh_type === SHT_SYMTAB);
  const strings = table === undefined ? undefined : elf.sectionHeaders[table.sh_link];
  if (table === undefined || strings === undefined) return null;
  const view = sectionView(elf, table);
  const names = sectionView(elf, strings);
  const wide = elf.class === 64;
  const size = wide ? 24 : 16;
  return {
    count: Math.floor(view.length / size),
    section: (index) => view.u16(index * size + (wide ? 6 : 14)),
    value: (index) => (wide ? view.u64(index * size + 8) : BigInt(view.u32(index * size + 4))),
    name: (index) => names.cString(view.u32(index * size), 4096) ?? '',
  };
}

function findPerCpu(elf: ElfFile, symbols: Symbols): PerCpu | null {
  const index = elf.sectionHeaders.findIndex(({ name }) => name === '.data..percpu');
  const section = elf.sectionHeaders[index];
  if (elf.class === 32 || section === undefined || section.sh_addr !== 0n || section.sh_size === 0n) return null;
  for (let i = 0; i < symbols.count; i++) {
    if (symbols.name(i) === '__per_cpu_load') return { index, loadAddress: symbols.value(i) };
  }
  throw new BootImageError('relocations-malformed', 'there is a per-CPU area but no symbol __per_cpu_load', {
    field: '.data..percpu',
  });
}

/** Collects addresses by group. */
class Collector {
  readonly abs64: number[] = [];
  readonly inverse32: number[] = [];
  readonly abs32: number[] = [];
  readonly #elf: ElfFile;
  readonly #symbols: Symbols;
  readonly #perCpu: PerCpu | null;

  constructor(elf: ElfFile, symbols: Symbols, perCpu: PerCpu | null) {
    this.#elf = elf;
    this.#symbols = symbols;
    this.#perCpu = perCpu;
  }

  #isPerCpu(symbol: number): boolean {
    if (this.#perCpu === null || this.#symbols.section(symbol) !== this.#perCpu.index) return false;
    const name = this.#symbols.name(symbol);
    return name !== '__init_begin' && name !== '__per_cpu_load' && !name.startsWith('init_per_cpu_');
  }

  /** Absolute symbols either do not move, or have no business in a relocatable kernel. */
  #moves(symbol: number, address: bigint): boolean {
    // An offset into the per-CPU area is no address.
    if (this.#isPerCpu(symbol)) return false;
    if (this.#symbols.section(symbol) !== SHN_ABS) return true;
    const name = this.#symbols.name(symbol);
    if (RELATIVE_ABSOLUTES.test(name)) return true;
    if (TRUE_ABSOLUTES.test(name)) return false;
    throw new BootImageError(
      'relocations-malformed',
      `the word at ${hex(address)} refers to the absolute symbol ${name}`,
      {
        field: name,
        hint: 'the kernel’s own build refuses this too',
      },
    );
  }

  section(section: SectionHeader): void {
    const view = sectionView(this.#elf, section);
    const load = this.#perCpu !== null && section.sh_info === this.#perCpu.index ? this.#perCpu.loadAddress : 0n;
    if (this.#elf.class === 64) this.#rela64(view, load);
    else this.#rel32(view);
  }

  #rela64(view: ByteView, load: bigint): void {
    for (let at = 0; at + 24 <= view.length; at += 24) {
      const address = view.u64(at) + load;
      const type = view.u32(at + 8);
      const symbol = view.u32(at + 12);
      const word = Number(address & 0xffff_ffffn);
      switch (type) {
        case R_X86_64.NONE:
        case R_X86_64.PC64:
          break;
        case R_X86_64.PC32:
        case R_X86_64.PLT32:
          if (this.#isPerCpu(symbol)) this.inverse32.push(word);
          break;
        case R_X86_64[64]:
          if (this.#moves(symbol, address)) this.abs64.push(word);
          break;
        case R_X86_64[32]:
        case R_X86_64['32S']:
          if (this.#moves(symbol, address)) this.abs32.push(word);
          break;
        default:
          throw unknownType(type, address);
      }
    }
  }

  #rel32(view: ByteView): void {
    for (let at = 0; at + 8 <= view.length; at += 8) {
      const address = view.u32(at);
      const info = view.u32(at + 4);
      switch (info & 0xff) {
        case R_386.NONE:
        case R_386.PC32:
        case R_386.PLT32:
        case R_386.PC16:
        case R_386.PC8:
          break;
        case R_386[32]:
          if (this.#moves(info >>> 8, BigInt(address))) this.abs32.push(address);
          break;
        default:
          throw unknownType(info & 0xff, BigInt(address));
      }
    }
  }
}

function unknownType(type: number, address: bigint): BootImageError {
  return new BootImageError('relocations-malformed', `relocation type ${type} at ${hex(address)} cannot be kept`, {
    hint: 'the kernel’s own build refuses this too',
  });
}

/** Linux 6.15 and newer link the per-CPU area like everything else and write two groups. */
function hasInverseGroup(vmlinux: Vmlinux, perCpu: PerCpu | null): boolean {
  if (perCpu !== null) return true;
  const [major = 0, minor = 0] = (vmlinux.release ?? '').split('.').map(Number);
  return major < 6 || (major === 6 && minor < 15);
}

/**
 * The table as it stands behind vmlinux in a payload; null if the linker kept no relocations.
 * @throws BootImageError `relocations-malformed` for what the kernel's own tool refuses, `elf-malformed`
 */
export function relocationsFromElf(vmlinux: Vmlinux): Uint8Array | null {
  const { elf } = vmlinux;
  const symbols = symbolsOf(elf);
  const sections = elf.sectionHeaders.filter(({ sh_type, sh_info }) => {
    const target = elf.sectionHeaders[sh_info];
    return (
      sh_type === (elf.class === 64 ? SHT_RELA : SHT_REL) &&
      target !== undefined &&
      (target.sh_flags & SHF_ALLOC) !== 0n &&
      // Notes are for whoever loads the kernel: they keep the addresses that it was linked for.
      target.sh_type !== SHT_NOTE
    );
  });
  if (symbols === null || sections.length === 0) return null;
  const perCpu = findPerCpu(elf, symbols);
  const collector = new Collector(elf, symbols, perCpu);
  for (const section of sections) collector.section(section);
  const groups =
    elf.class === 32
      ? [collector.abs32]
      : hasInverseGroup(vmlinux, perCpu)
        ? [collector.abs64, collector.inverse32, collector.abs32]
        : [collector.abs64, collector.abs32];
  const bytes = new Uint8Array(4 * groups.reduce((count, group) => count + 1 + group.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const group of groups) {
    at += 4;
    for (const address of Uint32Array.from(group).sort()) {
      view.setUint32(at, address, true);
      at += 4;
    }
  }
  return bytes;
}
