import { artifactBytes } from '../../guest/artifact.js';
import { init32 } from '../../guest/built/init32.js';
import { init64 } from '../../guest/built/init64.js';
import { writeCpio } from './newc.js';

/**
 * The smallest useful initramfs (under 2.5 KB, not compressed, so that every kernel can read it): its /init
 * (guest/init) prints `INIT-OK` and what kernel it runs on, `INIT-END`, then powers the machine off; with
 * `bzelf.shell` on the command line it stays and offers a small command loop.
 *
 * @param bits the kernel's word size: a 64-bit kernel need not be able to run 32-bit programs.
 */
export function demoInitramfs(bits: 32 | 64): Uint8Array {
  return writeCpio([
    { name: 'dev', type: 'directory' },
    { name: 'dev/console', type: 'character', mode: 0o600, device: [5, 1] },
    { name: 'proc', type: 'directory' },
    { name: 'init', type: 'file', mode: 0o755, data: artifactBytes(bits === 64 ? init64 : init32) },
  ]);
}
