import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const haveQemu = spawnSync('qemu-system-x86_64', ['--version']).status === 0;

const LIMIT_MS = 60_000;

/**
 * Runs QEMU (TCG, one serial port) until it ends by itself or the console has said `until`; returns what the console
 * said. A file given as bytes is passed by the name of a temporary file.
 */
export async function runQemu(
  options: Readonly<Record<string, string | Uint8Array>>,
  until: RegExp,
  more: readonly string[] = [],
): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'bzelf-qemu-'));
  const args = Object.entries(options).flatMap(([name, value]) => {
    if (typeof value === 'string') return [`-${name}`, value];
    const path = join(folder, name);
    writeFileSync(path, value);
    return [`-${name}`, path];
  });
  const qemu = spawn(
    'qemu-system-x86_64',
    ['-accel', 'tcg', '-m', '256', '-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-nic', 'none'].concat(
      ['-no-user-config', '-no-reboot'],
      args,
      more,
    ),
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let console = '';
  const timer = setTimeout(() => qemu.kill('SIGKILL'), LIMIT_MS);
  const hear = (chunk: Buffer): void => {
    console += chunk.toString('latin1');
    if (until.test(console)) qemu.kill('SIGKILL');
  };
  qemu.stdout.on('data', hear);
  qemu.stderr.on('data', hear);
  try {
    await new Promise((resolve) => qemu.on('close', resolve));
  } finally {
    clearTimeout(timer);
    rmSync(folder, { recursive: true, force: true });
  }
  return console;
}
