/** `npm run matrix -- IMAGE`: boots one image through the loaders of rows.ts and prints a line for each. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { demoInitramfs } from '../../src/cpio/initramfs.js';
import { bootAndWatch } from './boot.js';
import { ROWS, Skipped, type Bench, type Row } from './rows.js';
import { readSubject, type Subject } from './subject.js';
import { installPackages, missingPackages } from './tools.js';

const USAGE = `usage: npm run matrix -- [options] IMAGE

Boots IMAGE through real boot loaders, under emulation. A row passes when the initramfs prints INIT-OK.

  --initrd FILE      an initramfs that prints INIT-OK (default: one that bzelf makes)
  --only NAME,...    only these rows
  --timeout SECONDS  for each row (default 90)
  --install          install what is missing with apt-get (Xen and a kernel for kexec only into the cache)
  --log DIRECTORY    keep what each row's console said
  --list             print the rows

Exit status: 0 if no row failed and one passed, 1 if one failed, 2 for a wrong command line, 3 if all were skipped.
`;

type Verdict = 'PASS' | 'FAIL' | 'SKIP' | 'N-A';

interface Result {
  readonly verdict: Verdict;
  readonly seconds: number;
  readonly note: string;
  readonly console: string;
}

const without = (verdict: Verdict, note: string): Result => ({ verdict, seconds: 0, note, console: '' });

async function runRow(row: Row, bench: Bench, limit: number): Promise<Result> {
  const why = row.notFor?.(bench.subject) ?? null;
  if (why !== null) return without('N-A', why);
  try {
    if (bench.install) {
      const packages = missingPackages(row.tools);
      if (packages.length > 0) installPackages(packages);
    }
    const missing = missingPackages(row.tools);
    if (missing.length > 0) return without('SKIP', `needs ${missing.join(', ')}`);
    const outcome = await bootAndWatch(row.prepare(bench), limit);
    return { ...outcome, verdict: outcome.passed ? 'PASS' : 'FAIL' };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return without(error instanceof Skipped ? 'SKIP' : 'FAIL', message);
  }
}

function print({ name, protocol }: Row, { verdict, seconds, note }: Result): void {
  const time = seconds > 0 ? seconds.toFixed(1) : '';
  process.stdout.write(`${name.padEnd(14)} ${protocol.padEnd(7)} ${verdict.padEnd(4)} ${time.padStart(5)}  ${note}\n`);
}

/** The row's work directory holds copies under plain names, for loaders that are particular about names. */
function makeBench(work: string, subject: Subject, initrd: string | undefined, install: boolean): Bench {
  const bench = { subject: { ...subject, path: join(work, 'kernel') }, initrd: join(work, 'initrd'), work, install };
  mkdirSync(work);
  copyFileSync(subject.path, bench.subject.path);
  if (initrd === undefined) writeFileSync(bench.initrd, demoInitramfs(subject.bits));
  else copyFileSync(initrd, bench.initrd);
  return bench;
}

function usageError(message: string): number {
  process.stderr.write(`matrix: ${message}\n\n${USAGE}`);
  return 2;
}

export async function main(args: readonly string[]): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        initrd: { type: 'string' },
        only: { type: 'string' },
        timeout: { type: 'string', default: '90' },
        install: { type: 'boolean', default: false },
        log: { type: 'string' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return usageError(error instanceof Error ? error.message : String(error));
  }
  const { values, positionals } = parsed;
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (values.list) {
    for (const { name, protocol } of ROWS) process.stdout.write(`${name.padEnd(14)} ${protocol}\n`);
    return 0;
  }
  const [path] = positionals;
  if (path === undefined || positionals.length > 1) return usageError('one IMAGE is wanted');
  const limit = Number(values.timeout);
  if (!(limit > 0)) return usageError(`--timeout ${values.timeout} is no number of seconds`);
  const wanted = values.only?.split(',');
  const unknown = wanted?.find((name) => ROWS.every((row) => row.name !== name));
  if (unknown !== undefined) return usageError(`there is no row ${unknown}`);

  let subject;
  try {
    subject = await readSubject(path);
  } catch (error) {
    process.stderr.write(`matrix: ${path}: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
  if (values.log !== undefined) mkdirSync(values.log, { recursive: true });
  const count: Record<Verdict, number> = { PASS: 0, FAIL: 0, SKIP: 0, 'N-A': 0 };
  const work = mkdtempSync(join(tmpdir(), 'bzelf-matrix-'));
  try {
    for (const row of ROWS.filter(({ name }) => wanted?.includes(name) ?? true)) {
      const place = join(work, row.name);
      const result = await runRow(row, makeBench(place, subject, values.initrd, values.install), limit);
      rmSync(place, { recursive: true, force: true });
      count[result.verdict]++;
      print(row, result);
      if (values.log !== undefined) writeFileSync(join(values.log, `${row.name}.log`), result.console);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  const { PASS, FAIL, SKIP } = count;
  process.stdout.write(`${PASS} passed, ${FAIL} failed, ${SKIP} skipped, ${count['N-A']} not applicable\n`);
  return FAIL > 0 ? 1 : PASS > 0 ? 0 : 3;
}
