// Set-up that every command of the README does by itself: dependencies and the build, each only when it is stale.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const stamp = join(root, 'dist', '.built');
const webStamp = join(root, 'dist', 'web', '.built');

function newest(path) {
  if (!existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))));
}

function modified(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

function run(what, command, args, env = {}) {
  process.stderr.write(`bzelf: ${what} ...\n`);
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', ...env },
  });
  if (status !== 0) {
    process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
    process.stderr.write(`bzelf: ${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}\n`);
    process.exit(3);
  }
}

/** Installs the dependencies if they are missing or older than their list. */
function ensureDependencies() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    process.stderr.write(`bzelf: Node 20.19 or newer is needed, this is ${process.versions.node}\n`);
    process.exit(3);
  }
  // npm leaves this file behind when an installation is complete.
  if (modified(join(root, 'node_modules', '.package-lock.json')) < modified(join(root, 'package-lock.json'))) {
    run('installing dependencies', 'npm', ['ci', '--no-audit', '--no-fund']);
  }
}

function isStale(built, sources) {
  return modified(built) < Math.max(...sources.map((path) => newest(join(root, path))));
}

function markBuilt(path) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '');
}

/** Installs the dependencies and builds dist/, if they are missing or older than what they come from. */
export function ensureSetup() {
  ensureDependencies();
  if (!isStale(stamp, ['src', 'guest/built', 'package.json', 'tsdown.config.ts'])) return;
  // The names of its parts change with their contents: what an older build left would stay.
  rmSync(dirname(stamp), { recursive: true, force: true });
  run('building', process.execPath, [join(root, 'node_modules/tsdown/dist/run.mjs')]);
  markBuilt(stamp);
}

/** The same for the page, dist/web: it is built from the library's sources. */
export function ensureWeb() {
  ensureDependencies();
  if (!isStale(webStamp, ['web', 'src', 'guest/built', 'package.json', 'package-lock.json'])) return;
  // Tests run with another NODE_ENV; the page is the same for everyone.
  const vite = join(root, 'node_modules/vite/bin/vite.js');
  run('building the page', process.execPath, [vite, 'build', 'web'], { NODE_ENV: 'production' });
  markBuilt(webStamp);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === 'web') ensureWeb();
  else ensureSetup();
}
