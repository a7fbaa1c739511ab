import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { writeSetupField } from '../../src/bzimage/setup-header.js';
import { ELF32_EHDR, ELF32_PHDR, ELF64_EHDR, ELF64_PHDR } from '../../src/elf/definitions.js';
import { corpusFile, readCorpus } from '../kernels/corpus.js';
import { packageFile } from '../kernels/packages.js';
import { edited } from './edit.js';

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** An ELF file of one segment. */
function elf(
  bits: 32 | 64,
  header: Partial<{ e_type: number; e_machine: number }> = {},
  segment: Partial<{ p_type: number; p_vaddr: number; p_paddr: number }> = {},
): Uint8Array {
  const { p_type = 1, p_vaddr = 0xc1000000, p_paddr = 0x1000000 } = segment;
  const common = { e_type: 2, e_machine: bits === 64 ? 62 : 3, e_version: 1, e_phnum: 1, ...header };
  const ident = latin1(`\x7fELF${bits === 64 ? '\x02' : '\x01'}\x01\x01`);
  const [ehdr, phdr] =
    bits === 64
      ? [
          ELF64_EHDR.build({
            ...common,
            e_ident: ident,
            e_phoff: 64n,
            e_ehsize: 64,
            e_phentsize: 56,
            e_entry: 0x1000000n,
          }),
          ELF64_PHDR.build({ p_type, p_vaddr: BigInt(p_vaddr), p_paddr: BigInt(p_paddr), p_memsz: 4096n, p_flags: 5 }),
        ]
      : [
          ELF32_EHDR.build({
            ...common,
            e_ident: ident,
            e_phoff: 52,
            e_ehsize: 52,
            e_phentsize: 32,
            e_entry: 0x1000000,
          }),
          ELF32_PHDR.build({ p_type, p_vaddr, p_paddr, p_memsz: 4096, p_flags: 5 }),
        ];
  return Uint8Array.of(...ehdr, ...phdr, ...new Uint8Array(64));
}

/** A file with an old header, as long as it says. */
function oldImage(setupSects: number, syssize: number): Uint8Array {
  const bytes = new Uint8Array((setupSects + 1) * 512 + syssize * 16);
  writeSetupField(bytes, 'setup_sects', setupSects);
  writeSetupField(bytes, 'syssize', syssize);
  writeSetupField(bytes, 'boot_flag', 0xaa55);
  return bytes;
}

describe('kinds, by files made for the purpose', () => {
  it('a zImage is loaded low', () => {
    const bytes = new Uint8Array(4096);
    writeSetupField(bytes, 'boot_flag', 0xaa55);
    writeSetupField(bytes, 'header', 0x53726448);
    bytes.set([0xeb, 0x24], 0x200);
    writeSetupField(bytes, 'version', 0x0201);
    writeSetupField(bytes, 'code32_start', 0x1000);
    writeSetupField(bytes, 'syssize', (4096 - 5 * 512) / 16);
    const image = readBootImage(bytes);
    expect(image.kind).toBe('zImage');
    expect(image.description).toContain('loaded low, protocol 2.01');
    writeSetupField(bytes, 'loadflags', 1);
    expect(readBootImage(bytes).kind).toBe('bzImage');
  });

  it('an old image is as long as it says; another boot sector is none', () => {
    const image = readBootImage(oldImage(4, 100));
    expect(image).toMatchObject({ kind: 'zImage', setup: { version: 0, protocol: 'old', headerEnd: 0x200 } });
    expect(Object.keys(image.setup?.values ?? {})).toHaveLength(7);
    expect(image.stages).toMatchObject({ setup: { length: 2560 }, protected_mode: { offset: 2560, length: 1600 } });
    const disk = new Uint8Array(1 << 20);
    disk.set([0x55, 0xaa], 0x1fe);
    expect(readBootImage(disk)).toMatchObject({ kind: 'unknown', setup: null, problems: [] });
    expect(readBootImage(disk).description).toContain('boot sector');
  });

  it('an ELF file is a kernel if it is linked at other virtual than physical addresses', () => {
    expect(readBootImage(elf(32))).toMatchObject({ kind: 'vmlinux', setup: null, payload: null });
    expect(readBootImage(elf(64)).description).toContain('x86_64');
    expect(readBootImage(elf(64, {}, { p_vaddr: 0x400000, p_paddr: 0x400000 })).kind).toBe('elf');
    expect(readBootImage(elf(64, { e_machine: 183 })).kind).toBe('elf');
    expect(readBootImage(elf(64, { e_type: 1 })).kind).toBe('elf');
    const banner = Uint8Array.of(
      ...elf(64, {}, { p_vaddr: 0x400000, p_paddr: 0x400000 }),
      ...latin1('Linux version 6.1.0'),
    );
    expect(readBootImage(banner).kind).toBe('vmlinux');
  });

  it('this program is an ELF file, not a kernel', () => {
    expect(readBootImage(readFileSync(process.execPath)).kind).toBe('elf');
  });

  it('a compressed file is a payload that has to be proved', () => {
    const image = readBootImage(gzipSync(elf(64)));
    expect(image).toMatchObject({ kind: 'compressed', payload: { offset: 0, compression: 'gzip', foundBy: 'scan' } });
  });

  it.each([
    ['!<arch>\ndebian-binary   ', 'Debian package'],
    ['070701', 'initramfs'],
    ['#!/bin/sh\n', 'script'],
    ['\x27\x05\x19\x56', 'U-Boot'],
    ['hello', 'no boot image'],
    ['', 'empty file'],
  ])('%j is explained', (start, words) => {
    const image = readBootImage(latin1(start));
    expect(image.kind).toBe('unknown');
    expect(image.description).toContain(words);
  });

  it.skipIf(corpusFile('k32-xz.bzImage') === null)('an ELF file behind the setup sectors is a stage ELF', () => {
    const base = readCorpus('k32-xz.bzImage');
    const start = readBootImage(base).stages.protected_mode?.offset ?? 0;
    const image = readBootImage(edited(base, (copy) => copy.set(elf(32).subarray(0, 84), start)));
    expect(image.stageElf).toMatchObject({ offset: start, elf: { class: 32, header: { e_phnum: 1 } } });
    expect(image.kind).toBe('bzImage');
    expect(image.payload?.compression).toBe('xz');
    const damaged = readBootImage(
      edited(base, (copy, view) => {
        copy.set(elf(32).subarray(0, 84), start);
        view.setUint32(start + 28, 0xfffffff0, true);
      }),
    );
    expect(damaged.problems.map(({ id }) => id)).toEqual(['stage-elf']);
  });
});

describe('kinds, by files of Debian packages', () => {
  const files = [
    ['boot/ipxe.lkrn', 'lkrn', /^iPXE or a relative of it \(1\./],
    ['boot/ipxe.efi', 'pe', /EFI or Windows program \(PE\) for x86_64/],
    ['boot/memtest86+x64.bin', 'memtest', /^Memtest86\+/],
    ['boot/memtest86+ia32.efi', 'memtest', /^Memtest86\+/],
    ['boot/memtest86+ia32.bin', 'memtest', /^Memtest86\+/],
    ['usr/lib/syslinux/memdisk', 'memdisk', /^MEMDISK /],
    ['usr/lib/systemd/boot/efi/linuxx64.efi.stub', 'pe', /EFI/],
    ['bin/ls', 'elf', /no x86 kernel/],
  ] as const;
  for (const [path, kind, description] of files) {
    const file = packageFile(path);
    it.skipIf(file === null)(path, () => {
      const image = readBootImage(readFileSync(file ?? ''));
      expect(image.kind).toBe(kind);
      expect(image.description).toMatch(description);
      expect(image.problems.filter(({ severity }) => severity === 'error')).toEqual([]);
    });
  }
});
