import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { artifactBytes } from '../../guest/artifact.js';
import { probe32 } from '../../guest/built/probe32.js';
import { setup } from '../../guest/built/setup.js';
import { readProbeReport } from './probe-report.js';
import { haveQemu, runQemu } from './qemu.js';

const END = /PROBE-END: .*\r?\n/;
/** The BIOS prints to the serial port, too. */
const SERIAL_BIOS = ['-vga', 'none', '-machine', 'graphics=off'];
const haveObjcopy = spawnSync('objcopy', ['--version']).status === 0;

test('a loader before protocol 2.02 cannot mistake our own code for its mark', () => {
  const bytes = artifactBytes(setup);
  expect(new DataView(bytes.buffer).getUint16(0x20, true)).not.toBe(0xa33f);
});

describe.skipIf(!haveQemu || !haveObjcopy)('the real-mode setup under SeaBIOS', () => {
  let flat: Uint8Array;

  /** The probe's memory image, which starts with its 32-bit entry; objcopy lays it out. */
  beforeAll(() => {
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-setup-'));
    try {
      writeFileSync(join(folder, 'probe'), artifactBytes(probe32));
      execFileSync('objcopy', ['-O', 'binary', 'probe', 'flat'], { cwd: folder });
      flat = execFileSync('cat', ['flat'], { cwd: folder });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  function image(patch: (header: DataView, bytes: Uint8Array) => void = () => undefined): Uint8Array {
    const bytes = new Uint8Array(setup.size + flat.length);
    bytes.set(artifactBytes(setup));
    bytes.set(flat, setup.size);
    patch(new DataView(bytes.buffer), bytes);
    return bytes;
  }

  test('fills in the zero page and enters as the 32-bit protocol says', async () => {
    const initrd = Uint8Array.of(1, 2, 3);
    const report = readProbeReport(await runQemu({ kernel: image(), initrd, append: 'console=ttyS0' }, END));
    expect(report.get('protocol')).toBe('linux32');
    expect(report.get('reg.cs')).toBe('0x10');
    for (const segment of ['ds', 'es', 'fs', 'gs', 'ss']) expect(report.get(`reg.${segment}`)).toBe('0x18');
    for (const register of ['bx', 'bp', 'di']) expect(report.get(`reg.${register}`)).toBe('0x0');
    expect(Number(report.get('reg.flags')) & 0x200).toBe(0);
    expect(report.get('reg.cr0')).toBe('0x11');
    expect(report.get('descriptor.cs')).toBe('0xcf9b000000ffff');
    expect(report.get('descriptor.ds')).toBe('0xcf93000000ffff');
    expect(report.get('boot_params.sentinel')).toBe('0x0');
    expect(report.get('hdr.type_of_loader')).toBe('0xb0');
    expect(report.get('hdr.ramdisk_size')).toBe('0x3');
    expect(report.get('command_line')).toBe('"console=ttyS0"');
    expect(report.get('screen_info.orig_video_mode')).toBe('3');
    expect(report.get('screen_info.orig_video_lines')).toBe('25');
    // 256 MiB without what SeaBIOS keeps at their end, three times over
    expect(report.all('memory')).toContain('0x100000 0xfee0000 1');
    expect(report.get('boot_params.alt_mem_k')).toBe(`0x${(0xfee0000 >> 10).toString(16)}`);
    expect(report.get('boot_params.ext_mem_k')).toBe('0xfc00');
    expect(report.failed).toEqual(['moved']); // at 1 MiB, where nobody relocated it to
  });

  test('goes where code32_start says', async () => {
    const header = artifactBytes(setup);
    new DataView(header.buffer).setUint32(0x214, 0x100007, true);
    const halts = new Uint8Array(7).fill(0xf4); // what an entry at offset 0 would run into
    const kernel = new Uint8Array([...header, ...halts, ...flat]);
    const report = readProbeReport(await runQemu({ kernel }, END));
    expect(report.get('moved.load_address')).toBe('0x100007');
  });

  test('takes the command line of a loader before protocol 2.02', async () => {
    // QEMU leaves the old mark for a 2.01 image that is loaded low, at 0x10000
    const kernel = image((header) => {
      header.setUint16(0x206, 0x201, true);
      header.setUint8(0x211, 0);
      header.setUint32(0x214, 0x10000, true);
    });
    const report = readProbeReport(await runQemu({ kernel, append: 'an old one' }, END));
    expect(report.get('moved.load_address')).toBe('0x10000');
    expect(report.get('command_line')).toBe('"an old one"');
  });

  test('asks the BIOS for its disks and the monitor, unless told not to', async () => {
    const hda = new Uint8Array(1 << 20);
    hda.set([0x11, 0x22, 0x33, 0x44], 0x1b8);
    hda.set([0x55, 0xaa], 0x1fe);
    const look = async (append: string): Promise<readonly unknown[]> => {
      const report = readProbeReport(await runQemu({ kernel: image(), hda, append }, END));
      return ['eddbuf_entries', 'edd_mbr_sig_buf_entries', 'edd_mbr_sig_buffer', 'edid_info'].map((key) =>
        report.get(`boot_params.${key}`),
      );
    };
    const EDID = '0xffffffffffff00'; // the eight bytes that every EDID begins with
    expect(await look('x')).toEqual(['1', '1', '0x44332211', EDID]);
    expect(await look('edd=on x edd=skipmbr')).toEqual(['1', '0', '0x0', EDID]);
    expect(await look('noedd=on edd=off')).toEqual(['0', '0', '0x0', EDID]);
    expect(await look('x-edd=off edd=')).toEqual(['1', '1', '0x44332211', EDID]);
  });

  test('calls realmode_swtch in place of turning interrupts off', async () => {
    // cli; mov $0x3f8, %dx; mov $'H', %al; out %al, (%dx); lret
    const hook = [0xfa, 0xba, 0xf8, 0x03, 0xb0, 0x48, 0xee, 0xcb];
    const kernel = image((header, bytes) => {
      bytes.set(hook, setup.symbols.version_string);
      header.setUint16(0x208, setup.symbols.version_string, true);
      header.setUint16(0x20a, 0x1000, true); // the segment at which QEMU loads it
    });
    const console = await runQemu({ kernel }, END);
    expect(console).toMatch(/H\s+PROBE-BEGIN/);
  });

  test('refuses a 64-bit kernel on a 32-bit processor', async () => {
    const kernel = image((header) => header.setUint16(0x236, 1, true));
    const console = await runQemu({ kernel, cpu: 'pentium3' }, /processor is not/, SERIAL_BIOS);
    expect(console).toMatch(/Cannot start the kernel: it is a 64-bit one/);
  });

  test('refuses to run when the loader left out its end', async () => {
    const kernel = image((_, bytes) => bytes.fill(0, setup.size - 4, setup.size));
    const console = await runQemu({ kernel }, /setup code\./, SERIAL_BIOS);
    expect(console).toMatch(/Cannot start the kernel: the boot loader did not load all/);
  });

  test('started as a boot sector it says so', async () => {
    const disk = new Uint8Array(1 << 20);
    disk.set(image());
    const console = await runQemu({ hda: disk }, /Press any key/, SERIAL_BIOS);
    expect(console).toContain('a kernel is started by a boot loader');
  });
});
