/** v86 in Node: where its files and a BIOS are. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { BootImageError } from '../../bytes/error.js';
import type { Machine } from '../machine.js';
import type { V86Constructor } from './internals.js';
import { createV86Machine, type V86Bios, type V86Parts } from './v86-machine.js';

/** Where Debian's package seabios and others put SeaBIOS as built for QEMU. */
const BIOS_DIRECTORIES = ['/usr/share/seabios', '/usr/share/qemu', '/usr/local/share/qemu'];
const BIOS_FILE = 'bios.bin';
/** The VGA BIOS for the display that v86 emulates, Bochs' as in QEMU's "std". */
const VGA_BIOS_FILE = 'vgabios-stdvga.bin';

export interface NodeV86Options {
  /** A BIOS file; a vgabios-stdvga.bin beside it is used too. Absent: looked for where packages put it. */
  readonly bios?: string;
}

let parts: Promise<V86Parts> | undefined;

/** Loaded and compiled once for this process. */
async function loadParts(): Promise<V86Parts> {
  parts ??= Promise.all([
    import('v86'),
    readFile(createRequire(import.meta.url).resolve('v86/build/v86.wasm')).then((bytes) => WebAssembly.compile(bytes)),
  ]).then(([module, wasm]) => ({ V86: module.V86 as unknown as V86Constructor, wasm }));
  try {
    return await parts;
  } catch (error) {
    parts = undefined;
    throw new BootImageError('tool-missing', 'the npm package v86 cannot be loaded', {
      hint: 'run npm ci',
      cause: error,
    });
  }
}

async function readIfPresent(path: string): Promise<Uint8Array | null> {
  try {
    return await readFile(path);
  } catch {
    return null;
  }
}

async function loadBios(file: string | undefined): Promise<V86Bios> {
  const candidates = file === undefined ? BIOS_DIRECTORIES.map((directory) => join(directory, BIOS_FILE)) : [file];
  for (const path of candidates) {
    const bios = await readIfPresent(path);
    if (bios !== null) return { bios, vgaBios: await readIfPresent(join(dirname(path), VGA_BIOS_FILE)) };
  }
  throw new BootImageError('tool-missing', `this start needs a BIOS and there is no ${candidates.join(' or ')}`, {
    hint: 'install Debian package seabios, or name a SeaBIOS file with --bios',
  });
}

/** The machine, with v86 from the npm package and SeaBIOS from the system. */
export function createNodeV86Machine(options: NodeV86Options = {}): Machine {
  return createV86Machine({ load: loadParts, loadBios: () => loadBios(options.bios) });
}
