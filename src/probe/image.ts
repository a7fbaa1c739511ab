/** The probe kernel (guest/probe) as an image: a test instrument for loaders, ours and others'. */
import { artifactBytes } from '../../guest/artifact.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { readBootImage } from '../bzimage/read-boot-image.js';
import { pack, type PackRequest } from '../pack/pack.js';

/** The ELF file, with the relocations that its linker kept. */
export async function probeElf(bits: 32 | 64): Promise<BootImage> {
  const artifact =
    bits === 32
      ? (await import('../../guest/built/probe32.js')).probe32
      : (await import('../../guest/built/probe64.js')).probe64;
  return readBootImage(artifactBytes(artifact));
}

/** A boot image of it, gzip in the payload layout unless asked otherwise. @throws BootImageError as `pack` */
export async function probeImage(bits: 32 | 64, request: PackRequest = {}): Promise<BootImage> {
  const { bytes } = await pack(await probeElf(bits), { compression: 'gzip', ...request });
  return readBootImage(bytes);
}
