/** What sysfs tells of the PCI device whose memory a file shows: its attributes lie beside resource0 to resource5. */
import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const NAME = /^resource([0-5])(?:_wc)?$/;

/** Configuration space's command register, and its bit that lets a device answer to its memory's addresses. */
const COMMAND = 4;
const COMMAND_MEMORY = 2;

export interface PciResource {
  /** Bus address of the memory's first byte; 0n if sysfs does not tell. */
  readonly start: bigint;
  /** False if the device does not answer to the addresses of its memory. */
  readonly decoded: boolean;
  /** The attribute that lets it answer once 1 is written there. */
  readonly enable: string;
}

/** A line "start end flags" for each resource. */
function startOf(directory: string, index: number): bigint {
  const lines = readFileSync(join(directory, 'resource'), 'latin1').split('\n');
  return BigInt(/^0x[0-9a-f]+/.exec(lines[index] ?? '')?.[0] ?? 0);
}

/** Reads no more than the register: a device need not bear that all of its configuration space is read. */
function isDecoded(directory: string): boolean {
  // A virtual function's bit reads as 0 whatever the physical one has switched on.
  if (existsSync(join(directory, 'physfn'))) return true;
  const fd = openSync(join(directory, 'config'), 'r');
  try {
    const register = new Uint8Array(1);
    return readSync(fd, register, 0, 1, COMMAND) === 0 || ((register[0] ?? 0) & COMMAND_MEMORY) !== 0;
  } finally {
    closeSync(fd);
  }
}

/** Null for every other file. */
export function pciResource(path: string): PciResource | null {
  const index = NAME.exec(basename(path))?.[1];
  const directory = dirname(path);
  if (index === undefined || !['config', 'resource'].every((name) => existsSync(join(directory, name)))) return null;
  return {
    start: startOf(directory, Number(index)),
    decoded: isDecoded(directory),
    enable: join(directory, 'enable'),
  };
}
