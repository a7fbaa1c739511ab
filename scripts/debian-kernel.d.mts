/** Debian's name of a kernel flavour: the metapackage is linux-image-FLAVOUR. */
export type Flavour = '686' | 'cloud-amd64';
export const FLAVOURS: Readonly<Record<Flavour, { readonly architecture: string }>>;
export function cacheDirectory(): string;
/** The path of the cached kernel of a flavour, or null. */
export function cachedKernel(flavour: Flavour): string | null;
/** Fetches a kernel into the cache, unless it is there already. @throws Error if apt or Debian's packages are out of reach. */
export function fetchKernel(flavour: Flavour, note?: (line: string) => void): string;
