/** Debian's own kernels, as `npm run kernels` put them into the cache; what is missing is skipped, visibly. */
import { cachedKernel, type Flavour } from '../../scripts/debian-kernel.mjs';

/** The path of the kernel: `686` is 32-bit and xz, `cloud-amd64` 64-bit (lz4 in Debian 12). Null if it is not cached. */
export function debianKernel(flavour: Flavour): string | null {
  return cachedKernel(flavour);
}
