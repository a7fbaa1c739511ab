/** The real-mode part of an image of ours: our own setup code or the image's, with every header field set. */
import { artifactBytes } from '../../guest/artifact.js';
import { BootImageError } from '../bytes/error.js';
import { latin1Bytes } from '../bytes/byte-view.js';
import { LOADFLAGS, writeSetupField, XLOADFLAGS } from '../bzimage/setup-header.js';
import type { Layout, PackedStage } from './stage.js';
import type { PackSource } from './source.js';

/** Where the protected-mode part of a bzImage is loaded. */
const LOAD_ADDRESS = 0x100000;

async function ownSetup(source: PackSource): Promise<Uint8Array> {
  const { setup } = await import('../../guest/built/setup.js');
  const bytes = artifactBytes(setup);
  const { version_string: start, version_string_end: end } = setup.symbols;
  const text = latin1Bytes(source.versionString).subarray(0, end - start - 1);
  bytes.fill(0, start, end);
  bytes.set(text, start);
  return bytes;
}

/** The image's own setup code. Its PE header describes another stage: without "MZ" nobody takes it for one. */
function keptSetup(source: PackSource): Uint8Array {
  const { image } = source;
  if (image === null || image.stages.setup === null || image.setup === null) {
    throw new BootImageError('unsupported', 'a bare vmlinux has no setup code to keep', {
      field: '--setup',
      hint: 'leave out --setup keep',
    });
  }
  if (image.setup.version < 0x20f) {
    throw new BootImageError(
      'unsupported',
      `the setup code speaks protocol ${image.setup.protocol}, 2.15 is needed to describe the new stage`,
      {
        field: '--setup',
        hint: 'leave out --setup keep',
      },
    );
  }
  const { offset, length } = image.stages.setup;
  const bytes = new Uint8Array(image.file.slice(offset, length));
  if (bytes[0] === 0x4d && bytes[1] === 0x5a) bytes.fill(0, 0, 2);
  return bytes;
}

/** @throws BootImageError `unsupported` where there is no setup to keep */
export async function packSetup(
  source: PackSource,
  stage: PackedStage,
  layout: Layout,
  keep: boolean,
): Promise<Uint8Array> {
  const bytes = keep ? keptSetup(source) : await ownSetup(source);
  const { bits, relocatable, la57 } = source;
  const announced = layout !== 'stage';
  writeSetupField(bytes, 'syssize', stage.bytes.length / 16);
  writeSetupField(bytes, 'loadflags', LOADFLAGS.LOADED_HIGH);
  writeSetupField(bytes, 'code32_start', LOAD_ADDRESS + stage.entry32);
  writeSetupField(bytes, 'initrd_addr_max', source.initrdAddrMax);
  writeSetupField(bytes, 'kernel_alignment', source.kernelAlignment);
  writeSetupField(bytes, 'relocatable_kernel', relocatable ? 1 : 0);
  writeSetupField(bytes, 'min_alignment', source.minAlignment);
  writeSetupField(
    bytes,
    'xloadflags',
    bits === 32
      ? 0
      : XLOADFLAGS.XLF_KERNEL_64 |
          (relocatable ? XLOADFLAGS.XLF_CAN_BE_LOADED_ABOVE_4G : 0) |
          (source.efiKexec ? XLOADFLAGS.XLF_EFI_KEXEC : 0) |
          (la57.capable ? XLOADFLAGS.XLF_5LEVEL : 0) |
          (la57.capable && la57.wanted ? XLOADFLAGS.XLF_5LEVEL_ENABLED : 0),
  );
  writeSetupField(bytes, 'cmdline_size', source.cmdlineSize);
  writeSetupField(bytes, 'payload_offset', announced ? stage.payloadOffset : 0);
  writeSetupField(bytes, 'payload_length', announced ? stage.payloadLength : 0);
  writeSetupField(bytes, 'pref_address', source.loadPhysicalAddr);
  writeSetupField(bytes, 'init_size', stage.initSize);
  writeSetupField(bytes, 'handover_offset', 0);
  writeSetupField(bytes, 'kernel_info_offset', stage.kernelInfoOffset);
  return bytes;
}
