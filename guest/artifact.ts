import { bytesOfBase64 } from '../src/bytes/base64.js';

/**
 * A built piece of guest code as it is committed under guest/built: made by `npm run guest` (scripts/guest.mjs) from
 * the sources named in `source`.
 */
export interface GuestArtifact {
  /** Folder of the sources, relative to the repository. */
  readonly source: string;
  /** Length of the decoded bytes. */
  readonly size: number;
  /** Offsets of the symbols that a user of these bytes needs, from where the module's own comment says. */
  readonly symbols: Readonly<Record<string, number>>;
  /** The bytes, in base64. */
  readonly base64: string;
}

/** Decodes a built artifact; every call returns a fresh array that the caller may patch. */
export function artifactBytes(artifact: GuestArtifact): Uint8Array {
  return bytesOfBase64(artifact.base64);
}
