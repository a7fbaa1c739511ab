import { finding, holds, type RuleTable } from '../finding.js';

/** The file as a whole. */
export const FILE_RULES: RuleTable = [
  {
    id: 'file.recognised',
    stage: 'file',
    severity: 'error',
    checks: 'The file is a boot image or an ELF kernel for x86.',
    why: 'No loader can start anything else.',
    cure: 'Give a bzImage, a zImage, a unified kernel image or a vmlinux.',
    source: 'boot.rst, "The Real-Mode Kernel Header"; elf.h',
    check: ({ image }) =>
      ['bzImage', 'zImage', 'vmlinux', 'uki'].includes(image.kind)
        ? holds
        : [finding(`this is ${image.description}`, null, 0)],
  },
  {
    id: 'file.complete',
    stage: 'file',
    severity: 'error',
    checks: 'The protected-mode part is as long as syssize says.',
    why: 'A truncated image starts and then decompresses what is not there.',
    cure: 'Copy the file again.',
    source: 'boot.rst, syssize',
    check: (s) => {
      const syssize = s.number('syssize');
      const part = s.image.stages.protected_mode;
      if (syssize === null || part === null) return holds;
      const claimed = syssize * 16;
      // Before 2.04 the field has 16 bits only.
      const available = s.version < 0x204 ? part.length % 0x100000 : part.length;
      const complete =
        s.version < 0x204 ? ((Math.ceil(available / 16) - syssize) & 0xffff) < 0x100 : claimed - available < 16;
      return complete
        ? holds
        : [finding(`syssize promises ${claimed} bytes, the file has ${part.length}`, 'syssize', s.offsetOf('syssize'))];
    },
  },
  {
    id: 'file.trailing-data',
    stage: 'file',
    severity: 'note',
    checks: 'Nothing follows the protected-mode part but a signature that the PE header announces.',
    why: 'Loaders that load up to the end of the file put what follows into the guest’s memory.',
    cure: 'Loaders should load syssize * 16 bytes; cut the file if it is not a signature.',
    source: 'boot.rst, syssize; PE format, certificate table',
    check: (s) => {
      const syssize = s.number('syssize');
      const part = s.image.stages.protected_mode;
      if (syssize === null || part === null || s.version < 0x204) return holds;
      const excess = part.length - syssize * 16;
      if (excess < 16) return holds;
      const signed = (s.image.pe?.certificates.length ?? 0) > 0;
      return [
        finding(
          `${excess} bytes follow the kernel${signed ? ': the signature' : ''}`,
          'syssize',
          part.offset + syssize * 16,
        ),
      ];
    },
  },
  {
    id: 'file.multiple-of-4',
    stage: 'file',
    severity: 'note',
    checks: 'The file’s length is a multiple of 4.',
    why: 'v86’s own loader views it as 32-bit words and throws.',
    cure: 'Append zero bytes, unless the image is signed.',
    source: 'v86, src/kernel.js',
    check: ({ image }) =>
      image.file.length % 4 === 0
        ? holds
        : [finding(`the file has ${image.file.length} bytes`, null, image.file.length)],
  },
  {
    id: 'file.crc32',
    stage: 'file',
    severity: 'warning',
    checks: 'The CRC-32 that the kernel’s build put into the last four bytes holds.',
    why: 'A byte has changed since the build, unless the image was signed afterwards.',
    cure: 'Copy the file again, or accept it if a signature was added.',
    source: 'boot.rst, "The Image Checksum"',
    check: (s) =>
      s.image.crc32Ok !== false || s.version < 0x208
        ? holds
        : [finding('the CRC-32 over the file does not match its last four bytes', 'crc32', s.image.file.length - 4)],
  },
];
