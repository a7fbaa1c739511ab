// npm run kernels [-- FLAVOUR...]: fetches Debian's kernels into the cache, for the tests and the demonstration.
//
// apt does it, from the mirrors and with the keys that this system is set up for, but with lists, cache and state of
// its own: no root is needed and nothing outside the cache changes.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './setup.mjs';

/** Debian's names: the metapackage is linux-image-FLAVOUR. */
export const FLAVOURS = { 686: { architecture: 'i386' }, 'cloud-amd64': { architecture: 'amd64' } };

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

export function cacheDirectory() {
  const base = process.env.XDG_CACHE_HOME;
  return base === undefined || base === '' ? join(root, '.cache') : join(base, 'bzelf');
}

/** The cached kernel of a flavour, or null. Newest first where there are several. */
export function cachedKernel(flavour) {
  const directory = join(cacheDirectory(), 'kernels', flavour);
  if (!existsSync(directory)) return null;
  const files = readdirSync(directory)
    .filter((name) => name.startsWith('vmlinuz-'))
    .map((name) => join(directory, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  return files[0] ?? null;
}

/** Runs a program; its output, or an Error with the end of what it said. */
function run(program, args, options = {}) {
  const result = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: { ...process.env, LC_ALL: 'C' },
    ...options,
  });
  if (result.error?.code === 'ENOENT') throw new Error(`${program} is not installed`);
  if (result.status !== 0) {
    const said = String(result.stderr ?? '')
      .trim()
      .split('\n')
      .slice(-3)
      .join('; ');
    throw new Error(`${program} failed: ${said || result.error?.message || `status ${result.status}`}`);
  }
  return result.stdout;
}

/** An apt configuration that keeps everything below `directory`; read after the system's own. */
function writeAptConfiguration(directory, architecture) {
  const state = join(directory, 'state');
  for (const part of ['state/lists/partial', 'cache/archives/partial', 'log']) {
    mkdirSync(join(directory, part), { recursive: true });
  }
  writeFileSync(join(state, 'status'), '');
  const settings = {
    'APT::Architecture': architecture,
    'APT::Sandbox::User': process.getuid() === 0 ? 'root' : '',
    'Dir::State': state,
    'Dir::State::lists': join(state, 'lists'),
    'Dir::State::status': join(state, 'status'),
    'Dir::Cache': join(directory, 'cache'),
    'Dir::Cache::archives': join(directory, 'cache/archives'),
    'Dir::Log': join(directory, 'log'),
    'Acquire::Languages': 'none',
    'Acquire::PDiffs': 'false',
    'Acquire::Retries': '2',
    ...(existsSync(KEYRING) ? { 'Dir::Etc::trusted': KEYRING } : {}),
  };
  // The system's hooks would act on the system, its extra targets would only cost time.
  const cleared = [
    'APT::Architectures',
    'APT::Update::Pre-Invoke',
    'APT::Update::Post-Invoke',
    'APT::Update::Post-Invoke-Success',
    'DPkg::Post-Invoke',
    'Acquire::IndexTargets::deb::DEP-11',
    'Acquire::IndexTargets::deb::CNF',
  ];
  const file = join(directory, 'apt.conf');
  writeFileSync(
    file,
    [
      ...cleared.map((name) => `#clear ${name};`),
      ...Object.entries(settings).map(([name, value]) => `${name} "${value}";`),
      `APT::Architectures { "${architecture}"; };`,
      '',
    ].join('\n'),
  );
  return file;
}

/** The package that a metapackage stands for at present. */
function realPackage(configuration, metapackage) {
  const record = run('apt-cache', ['-c', configuration, 'show', '--no-all-versions', metapackage]);
  const name = /^Depends:.*?\b(linux-image-[0-9][\w.+~-]*)/m.exec(record)?.[1];
  if (name === undefined) throw new Error(`${metapackage} depends on no kernel`);
  return name;
}

/** Unpacks /boot/vmlinuz-* of a .deb into a directory; the path of the kernel. */
function unpackKernel(deb, directory) {
  const tar = run('dpkg-deb', ['--fsys-tarfile', deb], { encoding: 'buffer', maxBuffer: 2 ** 31 - 1 });
  run('tar', ['-x', '-C', directory, '--wildcards', '--strip-components=2', './boot/vmlinuz-*'], { input: tar });
  const [name] = readdirSync(directory).filter((entry) => entry.startsWith('vmlinuz-'));
  if (name === undefined) throw new Error(`${deb} holds no kernel`);
  return name;
}

/**
 * Fetches a kernel into the cache, unless it is there already; its path.
 * @throws Error if apt or Debian's packages are out of reach.
 */
export function fetchKernel(flavour, note = () => {}) {
  const cached = cachedKernel(flavour);
  if (cached !== null) return cached;
  const { architecture } = FLAVOURS[flavour];
  const home = join(cacheDirectory(), 'kernels', flavour);
  mkdirSync(home, { recursive: true });
  const work = mkdtempSync(join(cacheDirectory(), 'apt-'));
  const removeWork = () => rmSync(work, { recursive: true, force: true });
  process.once('exit', removeWork);
  try {
    const configuration = writeAptConfiguration(work, architecture);
    note(`reading Debian's package lists for ${architecture}`);
    // Another vendor's source may lack this architecture: what counts is whether the package is found.
    let refused = null;
    try {
      run('apt-get', ['-c', configuration, '-q', 'update']);
    } catch (error) {
      refused = error;
    }
    let name;
    try {
      name = realPackage(configuration, `linux-image-${flavour}`);
    } catch (error) {
      throw refused ?? error;
    }
    note(`fetching ${name} (${architecture})`);
    run('apt-get', ['-c', configuration, '-q', 'download', name], { cwd: work });
    const deb = readdirSync(work).find((entry) => entry.endsWith('.deb'));
    if (deb === undefined) throw new Error(`apt-get downloaded no ${name}`);
    const kernel = unpackKernel(join(work, deb), work);
    renameSync(join(work, kernel), join(home, kernel));
    return join(home, kernel);
  } finally {
    removeWork();
    process.removeListener('exit', removeWork);
  }
}

function main(wanted) {
  const unknown = wanted.filter((flavour) => !(flavour in FLAVOURS));
  if (unknown.length > 0) {
    console.error(`kernels: no flavour ${unknown.join(', ')}; there are ${Object.keys(FLAVOURS).join(', ')}`);
    return 2;
  }
  let status = 0;
  for (const flavour of wanted.length > 0 ? wanted : Object.keys(FLAVOURS)) {
    try {
      console.log(fetchKernel(flavour, (line) => console.error(`kernels: ${line}`)));
    } catch (error) {
      console.error(`kernels: ${flavour}: ${error.message}`);
      status = 3;
    }
  }
  return status;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv.slice(2));
