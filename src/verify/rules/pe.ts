import { hex, isPowerOfTwo } from '../../bytes/numbers.js';
import {
  DLL_CHARACTERISTICS_NX_COMPAT,
  LINUX_EFISTUB_MAJOR_VERSION,
  SUBSYSTEM_EFI_APPLICATION,
} from '../../bzimage/pe.js';
import { finding, holds, type RuleTable } from '../finding.js';
import type { Finding } from '../rule.js';

const SOURCE = 'Microsoft PE Format; UEFI 2.10, 2.1.1 "UEFI Images"';
const MACHINES = { 32: 0x14c, 64: 0x8664 } as const;

/** The PE header, as EFI firmware sees the file. */
export const PE_RULES: RuleTable = [
  {
    id: 'pe.present',
    stage: 'pe',
    severity: 'note',
    checks: 'The file has a PE header.',
    why: 'EFI firmware starts nothing else.',
    cure: 'Build with CONFIG_EFI_STUB.',
    source: SOURCE,
    check: ({ image }) => (image.pe !== null ? holds : [finding('there is no PE header', 'MZ', 0)]),
  },
  {
    id: 'pe.headers',
    stage: 'pe',
    severity: 'error',
    checks:
      'The optional header is there and of a known kind, the subsystem is EFI application, alignments are powers of two.',
    why: 'Firmware answers "Load Error" or "Unsupported".',
    cure: 'Copy the file again.',
    source: SOURCE,
    check: ({ image }) => {
      const { pe } = image;
      if (pe === null) return holds;
      if (pe.optional === null) return [finding('there is no optional header', 'Magic', pe.offset + 24)];
      const { Subsystem, SectionAlignment, FileAlignment } = pe.optional;
      const found: Finding[] = [];
      if (Subsystem !== SUBSYSTEM_EFI_APPLICATION)
        found.push(finding(`the subsystem is ${Subsystem}, not 10`, 'Subsystem', pe.offset + 24 + 68));
      if (!isPowerOfTwo(SectionAlignment))
        found.push(finding(`SectionAlignment is ${SectionAlignment}`, 'SectionAlignment', pe.offset + 24 + 32));
      if (!isPowerOfTwo(FileAlignment))
        found.push(finding(`FileAlignment is ${FileAlignment}`, 'FileAlignment', pe.offset + 24 + 36));
      return found;
    },
  },
  {
    id: 'pe.machine',
    stage: 'pe',
    severity: 'error',
    checks: 'The PE machine is that of the kernel.',
    why: 'Firmware of the other word size refuses the image; the stub would run in the wrong mode.',
    cure: 'Copy the file again.',
    source: SOURCE,
    check: (s) => {
      const { pe } = s.image;
      if (pe === null || s.bits === null || s.image.kind !== 'bzImage') return holds;
      return pe.coff.Machine === MACHINES[s.bits]
        ? holds
        : [
            finding(
              `the PE machine is ${hex(pe.coff.Machine)}, the kernel has ${s.bits} bits`,
              'Machine',
              pe.offset + 4,
            ),
          ];
    },
  },
  {
    id: 'pe.sections-in-file',
    stage: 'pe',
    severity: 'error',
    checks: 'Each section’s raw data lies inside the file.',
    why: 'Firmware refuses the image.',
    cure: 'Copy the file again.',
    source: SOURCE,
    check: ({ image }) =>
      (image.pe?.sections ?? [])
        .filter(({ inFile }) => !inFile)
        .map(({ name, offset, length }) =>
          finding(
            `section ${name} takes ${hex(length)} bytes at ${hex(offset)}, beyond the file`,
            'PointerToRawData',
            offset,
          ),
        ),
  },
  {
    id: 'pe.sections-in-image',
    stage: 'pe',
    severity: 'error',
    checks: 'Sections lie inside SizeOfImage and do not overlap in memory.',
    why: 'Firmware allocates SizeOfImage bytes.',
    cure: 'Correct SizeOfImage.',
    source: SOURCE,
    check: ({ image }) => {
      const { pe } = image;
      if (pe?.optional == null) return holds;
      const size = pe.optional.SizeOfImage;
      const found = pe.sections
        .filter(({ virtualAddress, virtualSize }) => virtualAddress + virtualSize > size)
        .map(({ name }) =>
          finding(`section ${name} ends beyond SizeOfImage ${hex(size)}`, 'SizeOfImage', pe.offset + 24 + 56),
        );
      const sorted = [...pe.sections].sort((a, b) => a.virtualAddress - b.virtualAddress);
      for (const [i, section] of sorted.entries()) {
        const next = sorted[i + 1];
        if (
          next !== undefined &&
          section.virtualSize > 0 &&
          section.virtualAddress + section.virtualSize > next.virtualAddress
        ) {
          found.push(finding(`sections ${section.name} and ${next.name} overlap`, 'VirtualAddress', null));
        }
      }
      return found;
    },
  },
  {
    id: 'pe.entry',
    stage: 'pe',
    severity: 'error',
    checks: 'AddressOfEntryPoint lies inside a section.',
    why: 'Firmware jumps there.',
    cure: 'Copy the file again.',
    source: SOURCE,
    check: ({ image }) => {
      const { pe } = image;
      if (pe?.optional == null) return holds;
      const entry = pe.optional.AddressOfEntryPoint;
      return pe.sections.some(
        ({ virtualAddress, length }) => entry >= virtualAddress && entry < virtualAddress + length,
      )
        ? holds
        : [finding(`the entry ${hex(entry)} lies in no section`, 'AddressOfEntryPoint', pe.offset + 24 + 16)];
    },
  },
  {
    id: 'pe.size-of-image',
    stage: 'pe',
    severity: 'warning',
    checks: 'SizeOfImage is at least init_size rounded to pages, or the stub moves itself.',
    why: 'An old handover loader that allocates the file’s size has the kernel overwrite its neighbour.',
    cure: 'Raise SizeOfImage; kernels since 6.7 relocate themselves.',
    source: 'arch/x86/boot/header.S: SizeOfImage',
    check: (s) => {
      const { pe } = s.image;
      if (pe?.optional == null || s.image.kind !== 'bzImage') return holds;
      // The file at least: everything else the stub allocates for itself.
      return pe.optional.SizeOfImage >= (s.protectedMode?.length ?? 0)
        ? holds
        : [
            finding(
              `SizeOfImage is ${hex(pe.optional.SizeOfImage)}, smaller than the kernel`,
              'SizeOfImage',
              pe.offset + 24 + 56,
            ),
          ];
    },
  },
  {
    id: 'pe.certificates',
    stage: 'pe',
    severity: 'error',
    checks: 'The certificate table, if there is one, lies inside the file, 8-aligned, and parses.',
    why: 'Secure Boot answers "Access Denied".',
    cure: 'Sign the image again.',
    source: `${SOURCE}; attribute certificate table`,
    check: ({ image }) => {
      const table = image.pe?.certificateTable ?? null;
      if (image.pe === null || table === null) return holds;
      return table.offset % 8 === 0 && image.file.has(table.offset, table.length) && image.pe.certificates.length > 0
        ? holds
        : [
            finding(
              `the certificate table at ${hex(table.offset)} + ${hex(table.length)} does not parse`,
              'CertificateTable',
              table.offset,
            ),
          ];
    },
  },
  {
    id: 'pe.initrd-protocol',
    stage: 'pe',
    severity: 'note',
    checks: 'MajorImageVersion is at least 1: the stub takes its initrd by LINUX_EFI_INITRD_MEDIA_GUID.',
    why: 'systemd-stub and GRUB fall back to the old handover protocol.',
    cure: 'Use a kernel of 5.8 or newer.',
    source: 'include/linux/pe.h: LINUX_EFISTUB_MAJOR_VERSION',
    check: ({ image }) =>
      image.pe?.optional == null || image.pe.optional.MajorImageVersion >= LINUX_EFISTUB_MAJOR_VERSION
        ? holds
        : [
            finding(
              `MajorImageVersion is ${image.pe.optional.MajorImageVersion}`,
              'MajorImageVersion',
              image.pe.offset + 24 + 44,
            ),
          ],
  },
  {
    id: 'pe.nx-compatible',
    stage: 'pe',
    severity: 'note',
    checks: 'The image is marked NX compatible.',
    why: 'Firmware that enforces memory protection refuses others.',
    cure: 'Use a kernel of 6.7 or newer.',
    source: `${SOURCE}; DllCharacteristics`,
    check: ({ image }) =>
      image.pe?.optional == null || (image.pe.optional.DllCharacteristics & DLL_CHARACTERISTICS_NX_COMPAT) !== 0
        ? holds
        : [finding('NX_COMPAT is not set', 'DllCharacteristics', image.pe.offset + 24 + 70)],
  },
];
