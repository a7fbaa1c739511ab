/** One boot: a command whose output is watched for the sign that user space was reached. */
import { spawn } from 'node:child_process';

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

export interface Outcome {
  readonly passed: boolean;
  readonly seconds: number;
  /** Why it failed, and the last line of the console; empty on success. */
  readonly note: string;
  readonly console: string;
}

/** What the initramfs prints from user space. */
const USER_SPACE = /INIT-OK/;

/** What a boot says when nothing good will follow. */
const DEAD =
  /Kernel panic - not syncing|-- System halted|Cannot start the kernel|KEXEC-FAILED|Panic on CPU 0:|grub rescue>|grub> $|Boot failed|No bootable device/;
const GRACE_MS = 2000;

function lastLine(console: string): string {
  const lines = console
    .replace(/\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][A-Z0-9]/g, '')
    .split(/[\r\n]+/)
    .map((line) => line.replace(/[^ -~]+/g, ' ').trim())
    .filter((line) => line !== '');
  return lines.findLast((line) => DEAD.test(line)) ?? lines.at(-1) ?? 'nothing on the console';
}

/** @param reached what the console shows when the boot has come where it should */
export async function bootAndWatch(
  { program, args }: Command,
  limitSeconds: number,
  reached = USER_SPACE,
): Promise<Outcome> {
  const start = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let console = '';
  let why = 'ended';
  let grace: NodeJS.Timeout | undefined;
  const stop = (reason: string): void => {
    why = reason;
    child.kill('SIGKILL');
  };
  const limit = setTimeout(() => stop('timed out'), limitSeconds * 1000);
  const hear = (chunk: Buffer): void => {
    console += chunk.toString('latin1');
    if (reached.test(console)) stop('passed');
    else if (DEAD.test(console)) grace ??= setTimeout(() => stop('stopped'), GRACE_MS);
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  await new Promise<void>((resolve) => {
    child.on('error', (error) => {
      why = error.message;
      resolve();
    });
    child.on('close', () => resolve());
  });
  clearTimeout(limit);
  clearTimeout(grace);
  const passed = reached.test(console);
  return {
    passed,
    seconds: (performance.now() - start) / 1000,
    note: passed ? '' : `${why}: ${lastLine(console)}`,
    console,
  };
}
