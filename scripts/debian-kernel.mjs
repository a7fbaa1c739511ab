// npm run kernels [-- FLAVOUR...]: fetches Debian's kernels, and Xen, into the cache, for the tests and the demonstration.
//
// apt does it, from the mirrors and with the keys that this system is set up for, but with lists, cache and state of
// its own: no root is needed and nothing outside the cache changes.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './setup.mjs';

/** The names of the packages that a record depends on. */
const dependencies = (record) =>
  [...(/^Depends:(.*)/m.exec(record)?.[1] ?? '').matchAll(/[^,|\s()]+(?=\s*(?:\(|,|\||$))/g)].map(([name]) => name);

const kernel = (architecture, name, suite) => ({
  architecture,
  suite,
  start: `linux-image-${name}`,
  packages: /^linux-(?:image|binary)-[0-9]/,
  members: ['./boot/vmlinuz-*', './usr/lib/modules/*/vmlinuz*'],
  keep: /^vmlinuz/,
});

/**
 * What can be fetched: from `start` on, dependencies whose names match `packages` are unpacked, from the system's own
 * release of Debian or from `suite`. The cache keeps the file that `keep` matches, or the whole tree.
 */
export const FLAVOURS = {
  686: kernel('i386', '686'),
  'cloud-amd64': kernel('amd64', 'cloud-amd64'),
  amd64: kernel('amd64', 'amd64'),
  'bullseye-cloud-amd64': kernel('amd64', 'cloud-amd64', 'bullseye'),
  'sid-cloud-amd64': kernel('amd64', 'cloud-amd64', 'sid'),
  xen: {
    architecture: 'amd64',
    start: 'xen-system-amd64',
    packages: /^xen-hypervisor-/,
    members: ['./boot/xen-*.gz'],
    keep: /^xen-.*\.gz$/,
  },
  libxenguest: {
    architecture: 'amd64',
    start: 'libxen-dev',
    packages: /^libxen/,
    members: ['./usr/include/*', './usr/lib/x86_64-linux-gnu/*'],
    keep: null,
  },
};

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

export function cacheDirectory() {
  const base = process.env.XDG_CACHE_HOME;
  return base === undefined || base === '' ? join(root, '.cache') : join(base, 'bzelf');
}

const homeOf = (flavour) => join(cacheDirectory(), 'kernels', flavour);

/** What is cached of a flavour: the path of the file, or of the tree; null if nothing is. Newest first. */
export function cachedKernel(flavour) {
  const { keep } = FLAVOURS[flavour];
  const directory = homeOf(flavour);
  if (!existsSync(directory)) return null;
  if (keep === null) return existsSync(join(directory, 'usr')) ? directory : null;
  const files = readdirSync(directory)
    .filter((name) => keep.test(name))
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

/** A list of sources for another release, at the mirror that this system is set up for. */
function sourcesOf(directory, suite) {
  const targets = run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(COMPONENT)', 'Created-By: Packages']);
  const mirror = /^(\S+\/debian\/?) main$/m.exec(targets)?.[1];
  if (mirror === undefined) throw new Error('this system is set up for no mirror of Debian');
  const signed = existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : '';
  const file = join(directory, 'sources.list');
  writeFileSync(file, `deb ${signed}${mirror} ${suite} main\n`);
  return file;
}

/** An apt configuration that keeps everything below `directory`; read after the system's own. */
function writeAptConfiguration(directory, architecture, suite) {
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
    ...(suite === undefined
      ? {}
      : { 'Dir::Etc::sourcelist': sourcesOf(directory, suite), 'Dir::Etc::sourceparts': '-' }),
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

/** The packages that a flavour stands for at present. */
function realPackages(configuration, { start, packages }) {
  const names = new Set([start]);
  // A set goes on to what is added while it is walked.
  for (const name of names) {
    const record = run('apt-cache', ['-c', configuration, 'show', '--no-all-versions', name]);
    for (const other of dependencies(record)) if (packages.test(other)) names.add(other);
  }
  if (!packages.test(start)) names.delete(start);
  if (names.size === 0) throw new Error(`${start} depends on nothing that is wanted`);
  return [...names];
}

/** Unpacks those members of a .deb that match, if there are any. */
function unpack(deb, members, directory) {
  const tar = run('dpkg-deb', ['--fsys-tarfile', deb], { encoding: 'buffer', maxBuffer: 2 ** 31 - 1 });
  // For tar, a pattern that matches nothing is a failure; what counts is what is there afterwards.
  spawnSync('tar', ['-x', '-C', directory, '--wildcards', ...members], { input: tar });
}

/** Moves what was unpacked into the cache. */
function keepUnpacked(directory, { keep }, home) {
  if (keep === null) {
    for (const name of readdirSync(directory)) renameSync(join(directory, name), join(home, name));
    return home;
  }
  const found = readdirSync(directory, { recursive: true }).find((path) => keep.test(basename(path)));
  if (found === undefined) throw new Error('the package does not hold what is wanted');
  // Newer packages keep the kernel as modules/VERSION/vmlinuz.
  const name = basename(found);
  const path = join(home, /^vmlinuz(\.|$)/.test(name) ? `vmlinuz-${basename(dirname(found))}` : name);
  renameSync(join(directory, found), path);
  return path;
}

/**
 * Fetches a kernel into the cache, unless it is there already; its path.
 * @throws Error if apt or Debian's packages are out of reach.
 */
export function fetchKernel(flavour, note = () => {}) {
  const cached = cachedKernel(flavour);
  if (cached !== null) return cached;
  const wanted = FLAVOURS[flavour];
  const home = homeOf(flavour);
  mkdirSync(home, { recursive: true });
  const work = mkdtempSync(join(cacheDirectory(), 'apt-'));
  const removeWork = () => rmSync(work, { recursive: true, force: true });
  process.once('exit', removeWork);
  try {
    const configuration = writeAptConfiguration(work, wanted.architecture, wanted.suite);
    note(`reading Debian's package lists for ${wanted.architecture}${wanted.suite ? `, ${wanted.suite}` : ''}`);
    // Another vendor's source may lack this architecture: what counts is whether the package is found.
    let refused = null;
    try {
      run('apt-get', ['-c', configuration, '-q', 'update']);
    } catch (error) {
      refused = error;
    }
    let names;
    try {
      names = realPackages(configuration, wanted);
    } catch (error) {
      throw refused ?? error;
    }
    note(`fetching ${names.join(' ')} (${wanted.architecture})`);
    run('apt-get', ['-c', configuration, '-q', 'download', ...names], { cwd: work });
    const unpacked = join(work, 'unpacked');
    mkdirSync(unpacked);
    const debs = readdirSync(work).filter((entry) => entry.endsWith('.deb'));
    for (const deb of debs) unpack(join(work, deb), wanted.members, unpacked);
    return keepUnpacked(unpacked, wanted, home);
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
