/** Debian's names of kernel flavours, with the release where it is not the system's own, and Xen. */
export type Flavour =
  '686' | 'cloud-amd64' | 'amd64' | 'bullseye-cloud-amd64' | 'sid-cloud-amd64' | 'xen' | 'libxenguest';
export const FLAVOURS: Readonly<Record<Flavour, { readonly architecture: string }>>;
export function cacheDirectory(): string;
/** The path of the cached kernel (or hypervisor, or tree of libraries) of a flavour, or null. */
export function cachedKernel(flavour: Flavour): string | null;
/** Fetches a kernel into the cache, unless it is there already. @throws Error if apt or Debian's packages are out of reach. */
export function fetchKernel(flavour: Flavour, note?: (line: string) => void): string;
