/** The `scan` command: every boot image below some paths, with one worker a core. */
import { lstatSync, opendirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { BootImageError } from '../bytes/error.js';
import type { ScanRow } from '../node/scan-file.js';
import type { ScanAnswer } from '../node/scan-worker.js';
import { toJsonLine, type CliIo, type CommonOptions } from './io.js';

export interface ScanOptions extends CommonOptions {
  readonly jobs?: number;
}

/** Regular files below a path, depth first; symbolic links inside directories are not followed. */
function* filesBelow(path: string, io: CliIo): Generator<string> {
  const stat = lstatSync(path);
  if (stat.isFile()) {
    yield path;
  } else if (stat.isDirectory()) {
    let directory;
    try {
      directory = opendirSync(path);
    } catch (error) {
      io.note(`bzelf: ${path}: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      if (entry.isFile() || entry.isDirectory()) yield* filesBelow(join(path, entry.name), io);
    }
    directory.closeSync();
  }
}

function* startingPoints(paths: readonly string[], io: CliIo): Generator<string> {
  for (const path of paths) {
    let link;
    try {
      link = lstatSync(path).isSymbolicLink();
    } catch {
      throw new BootImageError('file-not-found', `${path}: no such file or directory`, { hint: 'check the path' });
    }
    // A link that the user names is meant.
    yield* filesBelow(link ? `${path}/.` : path, io);
  }
}

function printRow(row: ScanRow, io: CliIo): void {
  if (io.asJson) {
    io.out(`${toJsonLine(row)}\n`);
    return;
  }
  const place = row.member === null ? row.path : `${row.path}: ${row.member}`;
  const facts = [row.kind, row.protocol, row.compression, row.version_string ?? row.description].filter(
    (fact) => fact !== null,
  );
  const mark = row.problems > 0 ? io.paint('yellow', `  ${row.problems} problem${row.problems === 1 ? '' : 's'}`) : '';
  io.out(`${io.paint('bold', place)}  ${facts.join('  ')}${mark}\n`);
}

/** Exit status 0, also when nothing was found; files that cannot be read are named on stderr. */
export async function runScan(paths: readonly string[], options: ScanOptions, io: CliIo): Promise<number> {
  const files = startingPoints(paths, io);
  const first = files.next();
  if (first.done === true) return 0;
  const queue = (function* () {
    yield first.value;
    yield* files;
  })();
  const print = inOrder<ScanAnswer>((answer) => {
    if ('failure' in answer) io.note(`bzelf: ${answer.failure.path}: ${answer.failure.error}`);
    else for (const row of answer.rows) printRow(row, io);
  });
  let taken = 0;
  await Promise.all(
    Array.from({ length: options.jobs ?? availableParallelism() }, async () => {
      let worker: Worker | null = null;
      try {
        for (const path of queue) {
          const turn = taken++;
          worker ??= new Worker(new URL('./scan-worker.cjs', import.meta.url));
          print(turn, await ask(worker, path));
        }
      } finally {
        await worker?.terminate();
      }
    }),
  );
  return 0;
}

/** Passes results on in the order of their turns, however they come. */
function inOrder<T>(use: (result: T) => void): (turn: number, result: T) => void {
  const waiting = new Map<number, T>();
  let next = 0;
  return (turn, result) => {
    waiting.set(turn, result);
    for (let ready = waiting.get(next); ready !== undefined; ready = waiting.get(next)) {
      waiting.delete(next++);
      use(ready);
    }
  };
}

function ask(worker: Worker, path: string): Promise<ScanAnswer> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('message', (answer: ScanAnswer) => {
      worker.off('error', reject);
      resolve(answer);
    });
    worker.postMessage(path);
  });
}
