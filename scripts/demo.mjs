// npm run demo [-- KERNEL [OPTION...]]: sets everything up and boots a real 32-bit Linux kernel in v86, by putting its
// ELF file where the kernel runs: no BIOS, no boot loader, no decompression in the guest. Options are those of
// `bzelf boot` (--enter setup, --machine qemu, ...).
import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchKernel } from './debian-kernel.mjs';
import { ensureSetup, root } from './setup.mjs';

const TIMEOUT_SECONDS = '600';
/** What `bzelf boot` takes by default; said here so that the picture of the plan shows it, too. */
const COMMAND_LINE = 'console=ttyS0 earlyprintk=serial,ttyS0 panic=-1';
/** Options of `bzelf boot` that `bzelf plan` does not have; each takes a value. */
const BOOT_ONLY = ['--machine', '--smp', '--qemu-machine', '--bios'];
const say = (line = '') => process.stdout.write(`${line}\n`);

/** True for a bzImage whose header says that it is no 64-bit kernel (XLF_KERNEL_64; protocol 2.12 and newer). */
function is32BitKernel(path) {
  const header = Buffer.alloc(0x240);
  const fd = openSync(path, 'r');
  try {
    if (readSync(fd, header, 0, header.length, 0) < header.length) return false;
  } finally {
    closeSync(fd);
  }
  const magic = header.toString('latin1', 0x202, 0x206);
  return magic === 'HdrS' && header.readUInt16LE(0x206) >= 0x20c && (header.readUInt16LE(0x236) & 1) === 0;
}

/** The first 32-bit kernel in a directory, by name. */
function kernelIn(directory) {
  if (directory === undefined || !existsSync(directory)) return null;
  try {
    return (
      readdirSync(directory)
        .sort()
        .map((name) => join(directory, name))
        .find((path) => statSync(path).isFile() && is32BitKernel(path)) ?? null
    );
  } catch {
    return null;
  }
}

function findKernel() {
  const local = kernelIn(process.env.BZELF_KERNELS) ?? kernelIn(join(root, '../shared/kernels'));
  if (local !== null) return { path: local, origin: 'found in the directory of test kernels' };
  try {
    const path = fetchKernel('686', (line) => process.stderr.write(`bzelf: ${line} ...\n`));
    return { path, origin: "Debian's i386 kernel package" };
  } catch (error) {
    const path = kernelIn('/boot');
    if (path !== null) return { path, origin: 'this system' };
    process.stderr.write(
      `bzelf: no 32-bit kernel: ${error.message}, and none in /boot; name one: npm run demo -- KERNEL\n`,
    );
    return null;
  }
}

/** Runs `bzelf boot` with the terminal connected; resolves with its status and the line of `--timing`. */
function boot(args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, 'bin/bzelf'), 'boot', ...args], {
      stdio: ['inherit', 'inherit', 'pipe'],
    });
    // What arrives goes on at once, except the last line, which may be the times.
    let rest = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      const last = lines.pop();
      for (const line of lines) process.stderr.write(`${line}\n`);
      if (last !== undefined) rest = `${last}\n${rest}`;
    });
    // The child ends first, in good order, and then this does.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
    child.on('close', (status) => {
      try {
        resolve({ status: status ?? 1, times: JSON.parse(rest) });
      } catch {
        process.stderr.write(rest);
        resolve({ status: status ?? 1, times: null });
      }
    });
  });
}

function printTimes({ host_ms: host, first_output_ms: first, total_ms: total, instructions }) {
  const rows = [
    ['read the image', host.read],
    ['decompress the kernel', host.decompress],
    ['plan and relocate', host.relocate],
    ['place it in guest memory', host.place],
    ['first line of the console after', first],
    ['power off after', total],
  ];
  for (const [what, ms] of rows) if (ms !== null) say(`  ${what.padEnd(34)}${ms.toFixed(1).padStart(10)} ms`);
  if (instructions !== undefined) {
    say(`  ${'instructions that the guest executed'.padEnd(34)}${(instructions / 1e6).toFixed(1).padStart(8)} million`);
  }
}

async function main(args) {
  ensureSetup();
  const named =
    args[0] !== undefined && !args[0].startsWith('-') ? { path: args.shift(), origin: 'named by you' } : null;
  const kernel = named ?? findKernel();
  if (kernel === null) return 3;
  const { demoInitramfs } = await import('../dist/index.js');
  const work = mkdtempSync(join(tmpdir(), 'bzelf-demo-'));
  process.once('exit', () => rmSync(work, { recursive: true, force: true }));
  const initrd = join(work, 'initramfs.cpio');
  writeFileSync(initrd, demoInitramfs(32));
  const bootArgs = [kernel.path, '--initrd', initrd, '--append', COMMAND_LINE, ...args];
  const planArgs = bootArgs.filter((word, i) => !BOOT_ONLY.includes(word) && !BOOT_ONLY.includes(bootArgs[i - 1]));

  say(`Kernel: ${kernel.path} (${kernel.origin})\n`);
  const plan = spawnSync(process.execPath, [join(root, 'bin/bzelf'), 'plan', ...planArgs], { stdio: 'inherit' });
  if (plan.status !== 0) return plan.status ?? 1;
  say('\nThe serial console (leave with Ctrl-A x):\n');
  const { status, times } = await boot(['--timing', '--timeout', TIMEOUT_SECONDS, ...bootArgs]);
  if (times !== null) {
    say('\nTimes:');
    printTimes(times);
  }
  return status;
}

process.exitCode = await main(process.argv.slice(2));
