/** Tells kernels from the other files that people hand to boot tools, and explains what those are. */
import type { ByteView } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { detectCompression } from '../compression/formats.js';
import { EM_386, EM_NAMES, EM_X86_64, ET_DYN, ET_EXEC, PT_INTERP, PT_LOAD, PT_TLS } from '../elf/definitions.js';
import type { ElfFile } from '../elf/elf-file.js';
import { isElf, readElf } from '../elf/read-elf.js';
import type { ImageKind } from './boot-image.js';
import { MACHINE_NAMES, type PeImage } from './pe.js';
import { definedHeaderEnd, LOADFLAGS, XLOADFLAGS, type SetupHeader } from './setup-header.js';
import { PARAGRAPH, SECTOR } from './stages.js';
import { isUki } from './uki.js';

export interface Recognised {
  readonly kind: ImageKind;
  /** One sentence without a full stop. */
  readonly description: string;
}

const MIB = 2 ** 20;

function contains(file: ByteView, text: string, limit: number): boolean {
  return new TextDecoder('latin1').decode(file.bytes.subarray(0, limit)).includes(text);
}

/** An old image says with setup_sects and syssize how long it is; a boot sector of another kind does not. */
function isOldKernel(file: ByteView, setup: SetupHeader): boolean {
  const { syssize = 0 } = setup.values;
  const expected = (setup.setupSects + 1) * SECTOR + syssize * PARAGRAPH;
  return syssize > 0 && file.length > expected - PARAGRAPH && file.length <= expected + SECTOR;
}

const MEMTEST: Recognised = {
  kind: 'memtest',
  description: 'Memtest86+, a memory test that loaders start like a Linux kernel; no kernel inside',
};

/** Versions before 6 have no header with a version string, or come as an ELF file for multiboot. */
function isMemtest(file: ByteView): boolean {
  return file.length <= MIB && contains(file, 'Memtest86', MIB);
}

function bitsText(setup: SetupHeader, pe: PeImage | null): string[] {
  const { xloadflags } = setup.values;
  if (xloadflags !== undefined && (xloadflags & XLOADFLAGS.XLF_KERNEL_64) !== 0) return ['64-bit'];
  const machine = pe === null ? undefined : { [0x14c]: '32-bit', [0x8664]: '64-bit' }[pe.coff.Machine];
  if (machine !== undefined) return [machine];
  return xloadflags === undefined ? [] : ['32-bit'];
}

/** A file with a setup header, of whatever protocol. */
export function recogniseSetup(file: ByteView, setup: SetupHeader, pe: PeImage | null): Recognised {
  const { values, versionString, version } = setup;
  if (version === 0) {
    if (!isOldKernel(file, setup)) return recogniseOther(file);
    if (isMemtest(file)) return MEMTEST;
    return {
      kind: 'zImage',
      description: 'Linux kernel x86 boot image (zImage) older than protocol 2.00, loaded low',
    };
  }
  if (versionString?.startsWith('Memtest86') === true) return MEMTEST;
  if (versionString?.startsWith('MEMDISK') === true) {
    return {
      kind: 'memdisk',
      description: `${versionString}: SYSLINUX’ disk emulator, which takes a disk image as its initrd; no kernel inside`,
    };
  }
  // iPXE's prefix puts its version string right behind the last field and has no protected-mode entry.
  if (
    values.code32_start === 0 &&
    values.payload_offset === undefined &&
    (values.kernel_version ?? 0) + 0x200 === definedHeaderEnd(version)
  ) {
    return {
      kind: 'lkrn',
      description: `iPXE or a relative of it${versionString === null ? '' : ` (${versionString})`}, a network boot loader packaged like a Linux kernel (.lkrn); no kernel inside`,
    };
  }
  const high = ((values.loadflags ?? 0) & LOADFLAGS.LOADED_HIGH) !== 0;
  const facts = [`protocol ${setup.protocol}`, ...bitsText(setup, pe), ...(pe === null ? [] : ['with EFI stub'])];
  return high
    ? { kind: 'bzImage', description: `Linux kernel x86 boot image (bzImage), ${facts.join(', ')}` }
    : { kind: 'zImage', description: `Linux kernel x86 boot image (zImage), loaded low, ${facts.join(', ')}` };
}

/** A PE file without a setup header. */
export function recognisePe(pe: PeImage): Recognised {
  const machine = MACHINE_NAMES[pe.coff.Machine] ?? `machine 0x${pe.coff.Machine.toString(16)}`;
  if (isUki(pe)) {
    return {
      kind: 'uki',
      description: `unified kernel image for ${machine}: an EFI program with a Linux kernel inside`,
    };
  }
  if (pe.linuxMagic) {
    return { kind: 'pe', description: `Linux kernel for ${machine} as an EFI program, without an x86 setup header` };
  }
  return {
    kind: 'pe',
    description: `EFI or Windows program (PE) for ${machine}; no Linux setup header and no .linux section`,
  };
}

/** Kernels are linked at other virtual than physical addresses; programs are not, and name an interpreter or use TLS. */
function isKernel(elf: ElfFile, file: ByteView): boolean {
  const { e_machine, e_type } = elf.header;
  if ((e_machine !== EM_386 && e_machine !== EM_X86_64) || (e_type !== ET_EXEC && e_type !== ET_DYN)) return false;
  const types = new Set(elf.programHeaders.map(({ p_type }) => p_type));
  if (types.has(PT_INTERP) || types.has(PT_TLS) || !types.has(PT_LOAD)) return false;
  return (
    elf.programHeaders.some(({ p_type, p_vaddr, p_paddr }) => p_type === PT_LOAD && p_vaddr !== p_paddr) ||
    contains(file, 'Linux version ', 16 * MIB)
  );
}

function recogniseElf(file: ByteView): Recognised {
  try {
    const elf = readElf(file, { tolerant: true });
    const machine = EM_NAMES[elf.header.e_machine] ?? `machine ${elf.header.e_machine}`;
    if (isMemtest(file)) return MEMTEST;
    return isKernel(elf, file)
      ? { kind: 'vmlinux', description: `Linux kernel as a bare ELF file (vmlinux), ${machine}, ${elf.class}-bit` }
      : { kind: 'elf', description: `ELF file for ${machine} that is no x86 kernel` };
  } catch (error) {
    if (!(error instanceof BootImageError)) throw error;
    return { kind: 'elf', description: `ELF file that cannot be read: ${error.message}` };
  }
}

/** Files that are no boot image at all, but that people try. */
const STRANGERS: readonly { readonly offset: number; readonly magic: string; readonly description: string }[] = [
  { offset: 0, magic: '!<arch>\ndebian-binary', description: 'Debian package; `bzelf scan` finds the kernels inside' },
  { offset: 0, magic: '!<arch>\n', description: 'ar archive (a static library, say)' },
  { offset: 0, magic: '070701', description: 'cpio archive: an initramfs, not a kernel' },
  { offset: 0, magic: '070702', description: 'cpio archive: an initramfs, not a kernel' },
  { offset: 0, magic: '\xed\xab\xee\xdb', description: 'RPM package' },
  { offset: 0, magic: '\x27\x05\x19\x56', description: 'U-Boot legacy image (uImage)' },
  { offset: 0, magic: '\xd0\x0d\xfe\xed', description: 'device tree or U-Boot FIT image' },
  { offset: 0, magic: 'ANDROID!', description: 'Android boot image' },
  { offset: 0, magic: 'hsqs', description: 'squashfs file system' },
  { offset: 0, magic: 'QFI\xfb', description: 'QCOW2 disk image' },
  { offset: 0, magic: '#!', description: 'script' },
  { offset: 0, magic: 'PK\x03\x04', description: 'ZIP archive' },
  { offset: 0x24, magic: '\x18\x28\x6f\x01', description: 'Linux kernel for 32-bit ARM (zImage)' },
  { offset: 0x38, magic: 'ARM\x64', description: 'Linux kernel for 64-bit ARM (Image)' },
  { offset: 0x30, magic: 'RISCV', description: 'Linux kernel for RISC-V (Image)' },
  { offset: 0x8001, magic: 'CD001', description: 'ISO 9660 image of a CD or DVD; the kernel is a file inside' },
  { offset: 0x101, magic: 'ustar', description: 'tar archive' },
];

/** A file without a setup header and without a PE header. */
export function recogniseOther(file: ByteView): Recognised {
  if (file.length === 0) return { kind: 'unknown', description: 'empty file' };
  if (isElf(file)) return recogniseElf(file);
  const stranger = STRANGERS.find(({ offset, magic }) => file.startsWith(magic, offset));
  if (stranger !== undefined) return { kind: 'unknown', description: stranger.description };
  const compression = detectCompression(file.bytes);
  if (compression !== null && compression !== 'none') {
    return { kind: 'compressed', description: `${compression} file by itself, without the setup part of a boot image` };
  }
  if (file.startsWith('\x55\xaa', 0x1fe)) {
    return { kind: 'unknown', description: 'boot sector or disk image, not a Linux kernel' };
  }
  return { kind: 'unknown', description: 'no boot image, no ELF file and no compressed kernel' };
}
