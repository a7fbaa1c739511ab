/** The initramfs of the guest that is a card's host: this Node as its first program, bzelf, and what it is to load. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { type CpioEntry, writeCpio } from '../../../src/cpio/newc.js';

const root = resolve(import.meta.dirname, '../../..');
const KOFFI = 'node_modules/koffi';

/** Of bzelf and koffi: what runs, without sources and documents. */
const DIRECTORIES = ['bin', 'dist/cli', KOFFI, 'node_modules/@koromix'];
const RUNS = /(?:^bzelf|\.(?:c?js|json|node))$/;

/** The program that runs in the guest. */
export const NODE = '/node';
/** Its script. */
export const AGENT = '/agent.cjs';

/** True if all of it is there: a Node that such a guest can run, koffi and the built program. */
export const haveHostPrograms =
  process.platform === 'linux' &&
  process.arch === 'x64' &&
  [KOFFI, 'node_modules/@koromix', 'dist/cli/cli.cjs'].every((path) => existsSync(join(root, path)));

/** The libraries that Node and koffi have loaded, by their own account; the vDSO is no file. */
async function sharedObjects(): Promise<string[]> {
  const script = `require(${JSON.stringify(join(root, KOFFI))}); JSON.stringify(process.report.getReport().sharedObjects)`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-p', script], { maxBuffer: 1 << 24 });
  return (JSON.parse(stdout) as string[]).filter((path) => path.startsWith('/') && !path.startsWith(root));
}

function filesBelow(directory: string): string[] {
  return readdirSync(join(root, directory), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && RUNS.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
}

/** Every directory above the files, each before what is in it. */
function directoriesOf(names: readonly string[]): string[] {
  const found = new Set<string>();
  const add = (directory: string): void => {
    if (directory === '.' || found.has(directory)) return;
    add(dirname(directory));
    found.add(directory);
  };
  names.forEach((name) => add(dirname(name)));
  return [...found];
}

/** @param files further files, by their path in the guest. */
export async function hostInitramfs(files: Readonly<Record<string, Uint8Array>>): Promise<Uint8Array> {
  const programs = ['package.json', ...DIRECTORIES.flatMap(filesBelow)];
  const contents = new Map<string, Uint8Array>([
    [NODE.slice(1), readFileSync(process.execPath)],
    [AGENT.slice(1), readFileSync(join(import.meta.dirname, 'host-agent.cjs'))],
    ...(await sharedObjects()).map((path) => [path.slice(1), readFileSync(path)] as const),
    ...programs.map((path) => [`bzelf/${path}`, readFileSync(join(root, path))] as const),
    ...Object.entries(files).map(([path, data]) => [path.slice(1), data] as const),
  ]);
  const names = [...contents.keys()];
  return writeCpio([
    ...directoriesOf([...names, 'dev/console']).map((name): CpioEntry => ({ name, type: 'directory' })),
    { name: 'dev/console', type: 'character', mode: 0o600, device: [5, 1] },
    ...[...contents].map(([name, data]): CpioEntry => ({ name, type: 'file', mode: 0o755, data })),
  ]);
}
