/** linux_banner (init/version.c, init/version-timestamp.c): "Linux version 6.1.0 (user@host) (compiler) #1 SMP ...". */
import { latin1 } from '../bytes/byte-view.js';
import { indexOfBytes } from './search.js';

const START = 'Linux version ';
/** UTS_RELEASE has at most 64 characters; compiler names and build users make the rest. */
const LONGEST = 1024;

/**
 * The kernel's banner without its newline, or null. Newer kernels carry two: the first is a placeholder that the link
 * overrides and lacks the build number behind "#"; the complete one wins.
 */
export function findBanner(bytes: Uint8Array): string | null {
  let incomplete: string | null = null;
  for (let at = indexOfBytes(bytes, START); at >= 0; at = indexOfBytes(bytes, START, at + 1)) {
    const text = /^Linux version \d[^\n\0]*/.exec(latin1(bytes.subarray(at, at + LONGEST)))?.[0];
    if (text === undefined || text.includes('%')) continue;
    if (/#\d/.test(text)) return text;
    incomplete ??= text;
  }
  return incomplete;
}

/** What `uname -r` prints, from the banner. */
export function releaseOf(banner: string | null): string | null {
  return /^Linux version (\S+)/.exec(banner ?? '')?.[1] ?? null;
}
