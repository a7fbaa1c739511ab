import { hex, isPowerOfTwo } from '../../bytes/numbers.js';
import { definedHeaderEnd, XLOADFLAGS, type SetupFieldName } from '../../bzimage/setup-header.js';
import { finding, holds, type RuleTable } from '../finding.js';
import type { Finding } from '../rule.js';
import type { Subject } from '../subject.js';

const DOCUMENT = 'boot.rst, "The Real-Mode Kernel Header"';
/** Boot protocol 2.15. */
const NEWEST = 0x20f;

/** A rule about a protocol version that some loaders ask for. */
function atLeast(version: number, name: string, brings: string): RuleTable[number] {
  return {
    id: `setup.protocol-${name}`,
    stage: 'setup',
    severity: 'note',
    checks: `The boot protocol is ${name} or newer.`,
    why: `Older images lack ${brings}.`,
    cure: 'Use a newer kernel, or start it by an older path (linux16).',
    source: `${DOCUMENT}, protocol versions`,
    check: (s) =>
      s.image.setup === null || s.version >= version
        ? holds
        : [finding(`the boot protocol is ${s.versionText}`, 'version', s.offsetOf('version'))],
  };
}

/** Applies a check only where the header has the field. */
function field(s: Subject, name: SetupFieldName, bad: (value: number) => string | null): readonly Finding[] {
  const value = s.number(name);
  const message = value === null ? null : bad(value);
  return message === null ? holds : [finding(message, name, s.offsetOf(name))];
}

/** Setup header fields. */
export const SETUP_RULES: RuleTable = [
  {
    id: 'setup.present',
    stage: 'setup',
    severity: 'note',
    checks: 'The file begins with a real-mode setup part.',
    why: 'Loaders that follow the Linux boot protocol have nothing to start in a bare ELF kernel.',
    cure: 'Wrap the kernel with `bzelf pack`.',
    source: DOCUMENT,
    check: ({ image }) => (image.stages.setup !== null ? holds : [finding('the file has no setup part', null, 0)]),
  },
  {
    id: 'setup.boot-flag',
    stage: 'setup',
    severity: 'error',
    checks: 'boot_flag is 0xAA55.',
    why: 'Loaders take it as the mark of a boot sector.',
    cure: 'Restore the bytes 55 aa at offset 0x1fe.',
    source: `${DOCUMENT}, boot_flag`,
    check: (s) =>
      field(s, 'boot_flag', (value) => (value === 0xaa55 ? null : `boot_flag is ${hex(value)}, not 0xaa55`)),
  },
  {
    id: 'setup.hdrs',
    stage: 'setup',
    severity: 'warning',
    checks: 'The header has its magic number "HdrS".',
    why: 'Without it the image counts as older than protocol 2.00, and most loaders refuse it.',
    cure: 'Restore the bytes "HdrS" at offset 0x202.',
    source: `${DOCUMENT}, header`,
    check: (s) => (!s.hasBootSector || s.hasMagic ? holds : [finding('there is no "HdrS"', 'header', 0x202)]),
  },
  atLeast(0x200, '2.00', 'every field a loader needs'),
  atLeast(0x202, '2.02', 'cmd_line_ptr, the 32-bit pointer to the command line'),
  atLeast(0x203, '2.03', 'initrd_addr_max'),
  atLeast(0x205, '2.05', 'relocatable_kernel and kernel_alignment'),
  atLeast(0x206, '2.06', 'cmdline_size'),
  atLeast(0x208, '2.08', 'payload_offset and payload_length'),
  atLeast(0x20a, '2.10', 'pref_address and init_size'),
  atLeast(0x20c, '2.12', 'xloadflags and the 64-bit entry'),
  {
    id: 'setup.version-known',
    stage: 'setup',
    severity: 'warning',
    checks: 'The protocol version is one that exists: 2.00 to 2.15.',
    why: 'Loaders decide by the version which fields they may read.',
    cure: 'Check the two bytes at offset 0x206.',
    source: `${DOCUMENT}, protocol versions`,
    check: (s) =>
      s.version === 0 || (s.version >= 0x200 && s.version <= NEWEST)
        ? holds
        : [finding(`there is no boot protocol ${s.versionText}`, 'version', s.offsetOf('version'))],
  },
  {
    id: 'setup.sects-in-file',
    stage: 'setup',
    severity: 'error',
    checks: 'The boot sector and setup_sects sectors lie inside the file, and something follows them.',
    why: 'Everything behind them is the kernel.',
    cure: 'Copy the file again, or correct setup_sects.',
    source: `${DOCUMENT}, setup_sects`,
    check: (s) => {
      const sects = s.number('setup_sects');
      if (sects === null) return holds;
      const size = ((sects === 0 ? 4 : sects) + 1) * 512;
      return size < s.image.file.length
        ? holds
        : [
            finding(
              `setup takes ${size} bytes, the file has ${s.image.file.length}`,
              'setup_sects',
              s.offsetOf('setup_sects'),
            ),
          ];
    },
  },
  {
    id: 'setup.sects-64',
    stage: 'setup',
    severity: 'warning',
    checks: 'setup_sects is at most 64.',
    why: 'GRUB reserves 32 KiB for the setup code and refuses more.',
    cure: 'Make the setup part smaller.',
    source: `${DOCUMENT}, setup_sects`,
    check: (s) => field(s, 'setup_sects', (value) => (value <= 64 ? null : `setup_sects is ${value}`)),
  },
  {
    id: 'setup.sects-explicit',
    stage: 'setup',
    severity: 'note',
    checks: 'setup_sects is not 0.',
    why: 'Zero means four, but Xen’s toolstack takes it as zero and looks for the payload too early.',
    cure: 'Write 4 into setup_sects.',
    source: `${DOCUMENT}, setup_sects`,
    check: (s) => field(s, 'setup_sects', (value) => (value !== 0 ? null : 'setup_sects is 0')),
  },
  {
    id: 'setup.jump',
    stage: 'setup',
    severity: 'warning',
    checks: 'Offset 0x200 holds a short jump.',
    why: 'The real-mode entry is that jump, and its displacement tells where the header ends.',
    cure: 'Restore the bytes "eb xx" at offset 0x200.',
    source: `${DOCUMENT}, jump`,
    check: (s) => {
      if (!s.hasMagic) return holds;
      const opcode = s.image.file.u8(0x200);
      return opcode === 0xeb
        ? holds
        : [finding(`the byte at the real-mode entry is ${hex(opcode)}, not a short jump`, 'jump', 0x200)];
    },
  },
  {
    id: 'setup.jump-target',
    stage: 'setup',
    severity: 'warning',
    checks: 'The jump at offset 0x200 goes no further than the last field of the newest protocol, 2.15.',
    why: 'The real-mode code begins right behind the header; a longer jump runs into the middle of it.',
    cure: 'Correct the displacement of the jump at offset 0x200.',
    source: `${DOCUMENT}, jump`,
    check: (s) => {
      const kernel = s.image.kind === 'bzImage' || s.image.kind === 'zImage';
      const end = s.headerEnd;
      return !kernel || end === null || s.version > NEWEST || end <= definedHeaderEnd(NEWEST)
        ? holds
        : [finding(`the jump goes to ${hex(end)}, the fields end at ${hex(definedHeaderEnd(NEWEST))}`, 'jump', 0x201)];
    },
  },
  {
    id: 'setup.header-end',
    stage: 'setup',
    severity: 'error',
    checks:
      'The header (0x202 + the byte at 0x201) reaches as far as its protocol version needs and not into boot_params’ other fields.',
    why: 'Loaders copy the header by this length: too short loses fields, too long is refused ("Linux setup header too big") or overwrites the EDD table.',
    cure: 'Correct the displacement of the jump at offset 0x200.',
    source: 'boot.rst, "32-bit Boot Protocol"',
    check: (s) => {
      const end = s.headerEnd;
      if (end === null || !s.hasMagic) return holds;
      const needed = definedHeaderEnd(s.version);
      if (end < needed)
        return [
          finding(`the header ends at ${hex(end)}, protocol ${s.versionText} needs ${hex(needed)}`, 'jump', 0x201),
        ];
      return end > 0x290 ? [finding(`the header ends at ${hex(end)}, beyond 0x290`, 'jump', 0x201)] : holds;
    },
  },
  {
    id: 'setup.loaded-high',
    stage: 'setup',
    severity: 'note',
    checks: 'The kernel is loaded high (loadflags bit 0).',
    why: 'A zImage goes to 0x10000 and only old loaders do that.',
    cure: 'Use a bzImage.',
    source: `${DOCUMENT}, loadflags`,
    check: (s) =>
      field(s, 'loadflags', (value) => ((value & 1) !== 0 ? null : 'LOADED_HIGH is not set: this is a zImage')),
  },
  {
    id: 'setup.kernel-version',
    stage: 'setup',
    severity: 'warning',
    checks: 'kernel_version points at a string inside the setup part.',
    why: 'Boot menus show it; a wild pointer shows rubbish.',
    cure: 'Write 0 into kernel_version, or point it at a string.',
    source: `${DOCUMENT}, kernel_version`,
    check: (s) =>
      field(s, 'kernel_version', (value) => {
        const setup = s.image.stages.setup;
        if (value === 0 || setup === null) return null;
        if (value + 0x200 >= setup.length)
          return `kernel_version points to ${hex(value + 0x200)}, setup ends at ${hex(setup.length)}`;
        return s.image.file.cString(value + 0x200, setup.length - value - 0x200) === null
          ? 'the version string does not end inside setup'
          : null;
      }),
  },
  {
    id: 'setup.code32-start',
    stage: 'setup',
    severity: 'error',
    checks:
      'code32_start is the address that the protected-mode part is loaded at or, where that part is an ELF file, lies inside it.',
    why: 'The real-mode setup jumps there.',
    cure: 'Use 0x100000 for a bzImage and 0x1000 for a zImage; in a stage ELF, the address behind its headers.',
    source: `${DOCUMENT}, code32_start`,
    check: (s) =>
      field(s, 'code32_start', (value) => {
        const part = s.image.stages.protected_mode;
        if (part === null) return null;
        const load = s.flag('loadflags', 1) ? 0x100000 : 0x1000;
        return value === load || (s.image.stageElf !== null && value > load && value < load + part.length)
          ? null
          : `code32_start is ${hex(value)}, the kernel is loaded at ${hex(load)}`;
      }),
  },
  {
    id: 'setup.entry-at-load-address',
    stage: 'setup',
    severity: 'note',
    checks: 'code32_start is the load address: the first byte of the protected-mode part is executable.',
    why: 'Some loaders jump to the load address instead of code32_start.',
    cure: 'Use the payload layout for these loaders.',
    source: 'boot.rst, code32_start and "32-bit Boot Protocol"',
    check: (s) =>
      field(s, 'code32_start', (value) =>
        value === (s.flag('loadflags', 1) ? 0x100000 : 0x1000)
          ? null
          : `code32_start is ${hex(value)}: the kernel does not begin with code`,
      ),
  },
  {
    id: 'setup.kernel-alignment',
    stage: 'setup',
    severity: 'error',
    checks: 'kernel_alignment of a relocatable kernel is a power of two and at least a page.',
    why: 'Loaders choose the address by it and refuse anything else.',
    cure: 'Correct kernel_alignment; the kernel’s own build uses 2 MiB or more for 64-bit kernels.',
    source: `${DOCUMENT}, kernel_alignment`,
    check: (s) =>
      s.relocatable
        ? field(s, 'kernel_alignment', (value) =>
            value >= 4096 && isPowerOfTwo(value) ? null : `kernel_alignment is ${hex(value)}`,
          )
        : holds,
  },
  {
    id: 'setup.min-alignment',
    stage: 'setup',
    severity: 'warning',
    checks: 'min_alignment (a power of two’s exponent) is not above kernel_alignment.',
    why: 'A loader that cannot have kernel_alignment falls back to it.',
    cure: 'Correct min_alignment.',
    source: `${DOCUMENT}, min_alignment`,
    check: (s) =>
      s.relocatable
        ? field(s, 'min_alignment', (value) => {
            const alignment = s.number('kernel_alignment') ?? 0;
            return value >= 12 && value < 32 && 2 ** value <= alignment
              ? null
              : `min_alignment is 2^${value}, kernel_alignment ${hex(alignment)}`;
          })
        : holds,
  },
  {
    id: 'setup.pref-address',
    stage: 'setup',
    severity: 'error',
    checks: 'pref_address is at least 1 MiB and a multiple of kernel_alignment.',
    why: 'A kernel that is not relocatable runs there and nowhere else; a relocatable one prefers it.',
    cure: 'Correct pref_address: LOAD_PHYSICAL_ADDR of the kernel.',
    source: `${DOCUMENT}, pref_address`,
    check: (s) => {
      const address = s.big('pref_address');
      const alignment = s.number('kernel_alignment');
      if (address === null) return holds;
      const aligned = alignment === null || alignment === 0 || address % BigInt(alignment) === 0n;
      return address >= 0x100000n && aligned
        ? holds
        : [finding(`pref_address is ${hex(address)}`, 'pref_address', s.offsetOf('pref_address'))];
    },
  },
  {
    id: 'setup.init-size-given',
    stage: 'setup',
    severity: 'error',
    checks: 'init_size is not 0.',
    why: 'Loaders reserve that much memory for the kernel; with 0 they reserve nothing, or refuse.',
    cure: 'Fill in init_size.',
    source: `${DOCUMENT}, init_size`,
    check: (s) => field(s, 'init_size', (value) => (value > 0 ? null : 'init_size is 0')),
  },
  {
    id: 'setup.xloadflags-64',
    stage: 'setup',
    severity: 'error',
    checks: 'XLF_KERNEL_64 is set exactly when the kernel is a 64-bit one.',
    why: '64-bit loaders enter at offset 0x200 when it is set, and refuse the image when it is not.',
    cure: 'Correct bit 0 of xloadflags.',
    source: `${DOCUMENT}, xloadflags`,
    check: (s) => {
      const flags = s.number('xloadflags');
      if (flags === null || s.vmlinux === null) return holds;
      const set = (flags & XLOADFLAGS.XLF_KERNEL_64) !== 0;
      return set === (s.vmlinux.bits === 64)
        ? holds
        : [
            finding(
              `XLF_KERNEL_64 is ${set ? 'set' : 'not set'} but the kernel is a ${s.vmlinux.bits}-bit one`,
              'xloadflags',
              s.offsetOf('xloadflags'),
            ),
          ];
    },
  },
  {
    id: 'setup.kernel-64-flag',
    stage: 'setup',
    severity: 'note',
    checks: 'XLF_KERNEL_64 is set: there is a 64-bit entry at offset 0x200.',
    why: 'Loaders of the 64-bit protocol need it.',
    cure: 'Use a 64-bit kernel of protocol 2.12 or newer.',
    source: `${DOCUMENT}, xloadflags`,
    check: (s) =>
      s.image.setup === null || s.flag('xloadflags', XLOADFLAGS.XLF_KERNEL_64)
        ? holds
        : [finding('XLF_KERNEL_64 is not set', 'xloadflags', s.offsetOf('xloadflags'))],
  },
  {
    id: 'setup.entry-64',
    stage: 'setup',
    severity: 'error',
    checks: 'With XLF_KERNEL_64, code stands at offset 0x200 of the protected-mode part.',
    why: 'The 64-bit boot protocol enters there.',
    cure: 'Clear XLF_KERNEL_64, or put the 64-bit entry at offset 0x200.',
    source: 'boot.rst, "64-bit Boot Protocol"',
    check: (s) => {
      const part = s.protectedMode;
      if (part === null || !s.flag('xloadflags', XLOADFLAGS.XLF_KERNEL_64)) return holds;
      const at = 0x200;
      if (!part.has(at, 16))
        return [
          finding('the protected-mode part ends before its 64-bit entry', 'xloadflags', s.offsetOf('xloadflags')),
        ];
      const code = part.slice(at, 16);
      return code.every((byte) => byte === 0) || code.every((byte) => byte === 0xff)
        ? [finding('there is no code at the 64-bit entry', 'xloadflags', part.base + at)]
        : holds;
    },
  },
  {
    id: 'setup.xloadflags-above-4g',
    stage: 'setup',
    severity: 'note',
    checks: 'The kernel, boot_params and initrd may lie above 4 GiB (XLF_CAN_BE_LOADED_ABOVE_4G).',
    why: 'kexec loads the 64-bit kernel there.',
    cure: 'Use a relocatable 64-bit kernel.',
    source: `${DOCUMENT}, xloadflags`,
    check: (s) =>
      field(s, 'xloadflags', (value) =>
        (value & XLOADFLAGS.XLF_CAN_BE_LOADED_ABOVE_4G) !== 0 ? null : 'XLF_CAN_BE_LOADED_ABOVE_4G is not set',
      ),
  },
  {
    id: 'setup.xloadflags-consistent',
    stage: 'setup',
    severity: 'warning',
    checks: 'xloadflags do not contradict each other or relocatable_kernel.',
    why: 'A flag that another one excludes makes loaders choose an entry that does not work.',
    cure: 'Clear the flag that does not apply.',
    source: `${DOCUMENT}, xloadflags`,
    check: (s) => {
      const flags = s.number('xloadflags');
      if (flags === null) return holds;
      const at = s.offsetOf('xloadflags');
      const found: Finding[] = [];
      if ((flags & XLOADFLAGS.XLF_CAN_BE_LOADED_ABOVE_4G) !== 0 && !s.relocatable)
        found.push(finding('XLF_CAN_BE_LOADED_ABOVE_4G is set but the kernel is not relocatable', 'xloadflags', at));
      if ((flags & XLOADFLAGS.XLF_CAN_BE_LOADED_ABOVE_4G) !== 0 && (flags & XLOADFLAGS.XLF_KERNEL_64) === 0)
        found.push(finding('XLF_CAN_BE_LOADED_ABOVE_4G is set without a 64-bit entry', 'xloadflags', at));
      if ((flags & XLOADFLAGS.XLF_5LEVEL_ENABLED) !== 0 && (flags & XLOADFLAGS.XLF_5LEVEL) === 0)
        found.push(finding('XLF_5LEVEL_ENABLED is set without XLF_5LEVEL', 'xloadflags', at));
      if ((flags & XLOADFLAGS.XLF_EFI_KEXEC) !== 0 && (flags & XLOADFLAGS.XLF_KERNEL_64) === 0)
        found.push(finding('XLF_EFI_KEXEC is set without a 64-bit entry', 'xloadflags', at));
      return found;
    },
  },
  {
    id: 'setup.handover-offset',
    stage: 'setup',
    severity: 'warning',
    checks: 'handover_offset lies inside the protected-mode part exactly when a handover flag is set.',
    why: 'EFI loaders jump there.',
    cure: 'Clear the XLF_EFI_HANDOVER bits, or fill in handover_offset.',
    source: 'boot.rst, "EFI Handover Protocol"',
    check: (s) => {
      const offset = s.number('handover_offset');
      const flags = s.number('xloadflags');
      if (offset === null || flags === null) return holds;
      const wanted = (flags & (XLOADFLAGS.XLF_EFI_HANDOVER_32 | XLOADFLAGS.XLF_EFI_HANDOVER_64)) !== 0;
      const inside = offset > 0 && offset + 0x200 < (s.protectedMode?.length ?? 0);
      if (wanted && !inside)
        return [
          finding(
            `handover_offset is ${hex(offset)} but the flags promise a handover entry`,
            'handover_offset',
            s.offsetOf('handover_offset'),
          ),
        ];
      return offset !== 0 && !inside
        ? [
            finding(
              `handover_offset ${hex(offset)} lies outside the kernel`,
              'handover_offset',
              s.offsetOf('handover_offset'),
            ),
          ]
        : holds;
    },
  },
  {
    id: 'setup.relocatable',
    stage: 'setup',
    severity: 'note',
    checks: 'The kernel is relocatable.',
    why: 'A crash kernel, and any loader that cannot have pref_address, needs that.',
    cure: 'Build with CONFIG_RELOCATABLE.',
    source: `${DOCUMENT}, relocatable_kernel`,
    check: (s) => field(s, 'relocatable_kernel', (value) => (value !== 0 ? null : 'relocatable_kernel is 0')),
  },
  {
    id: 'setup.cmdline-size',
    stage: 'setup',
    severity: 'warning',
    checks: 'cmdline_size leaves room for a command line.',
    why: 'Loaders cut or refuse command lines by it.',
    cure: 'Fill in cmdline_size; the kernel’s own value is 2047.',
    source: `${DOCUMENT}, cmdline_size`,
    check: (s) =>
      field(s, 'cmdline_size', (value) => (value >= 255 && value <= 0xffff ? null : `cmdline_size is ${value}`)),
  },
  {
    id: 'setup.initrd-addr-max',
    stage: 'setup',
    severity: 'warning',
    checks: 'initrd_addr_max leaves room above the kernel.',
    why: 'Loaders put the initrd below it.',
    cure: 'Fill in initrd_addr_max; the kernel’s own value is 0x7fffffff.',
    source: `${DOCUMENT}, initrd_addr_max`,
    check: (s) =>
      field(s, 'initrd_addr_max', (value) => (value >= 0x1000000 ? null : `initrd_addr_max is ${hex(value)}`)),
  },
  {
    id: 'setup.kernel-info',
    stage: 'setup',
    severity: 'error',
    checks: 'kernel_info_offset points at a kernel_info structure ("LToP") inside the protected-mode part.',
    why: 'Loaders read further facts there.',
    cure: 'Write 0 into kernel_info_offset, or the right offset.',
    source: 'boot.rst, "The kernel_info"',
    check: (s) =>
      field(s, 'kernel_info_offset', (value) =>
        value === 0 || s.protectedMode?.startsWith('LToP', value) === true
          ? null
          : `there is no kernel_info at ${hex(value)}`,
      ),
  },
  {
    id: 'setup.runtime-fields-zero',
    stage: 'setup',
    severity: 'warning',
    checks:
      'Fields that a loader fills in are zero in the file: setup_data, cmd_line_ptr, ramdisk_image, ramdisk_size.',
    why: 'A loader that does not know the field leaves the wild pointer in place.',
    cure: 'Clear these fields.',
    source: `${DOCUMENT}, field types (write)`,
    check: (s) =>
      (['setup_data', 'cmd_line_ptr', 'ramdisk_image', 'ramdisk_size'] as const).flatMap((name) => {
        const value = s.big(name);
        return value === null || value === 0n
          ? []
          : [finding(`${name} is ${hex(value)} in the file`, name, s.offsetOf(name))];
      }),
  },
];
