/** `npm run oracles`: compares verdicts with what real loaders do and prints the agreement as a matrix. */
import { parseArgs } from 'node:util';
import { available, compare, ORACLES, type Comparison, type Oracle } from './agreement.js';
import type { Mutation } from './mutations.js';

const USAGE = `usage: npm run oracles -- [options]

Boots good images and images damaged by one change through real loaders, under emulation, and compares with what
verification says of them.

  --only NAME,...   only these loaders: ${ORACLES.map(({ name }) => name).join(', ')}
  --jobs N          guests at a time (default 2)

  +   both say it starts             !   it is accepted but does not start
  -   both say it does not           ~   it is refused but starts

Exit status: 0 if nothing that is accepted fails to start, 1 otherwise, 2 for a wrong command line.
`;

const mark = ({ accepts, boots }: Comparison): string => (accepts ? (boots ? '+' : '!') : boots ? '~' : '-');

async function inParallel<T>(jobs: readonly (() => Promise<T>)[], width: number): Promise<void> {
  const queue = [...jobs];
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (let job = queue.shift(); job !== undefined; job = queue.shift()) await job();
    }),
  );
}

function printMatrix(oracles: readonly Oracle[], results: ReadonlyMap<string, Comparison>): void {
  const names = [...new Set(oracles.flatMap(({ mutations }) => mutations.map(({ name }) => name)))];
  const widths = oracles.map(({ name }) => name.length + 2);
  process.stdout.write(`\n${''.padEnd(24)}${oracles.map(({ name }, i) => name.padEnd(widths[i] ?? 0)).join('')}\n`);
  for (const name of names) {
    const cells = oracles.map((oracle, i) => {
      const result = results.get(`${oracle.name}/${name}`);
      return (result === undefined ? '' : mark(result)).padEnd(widths[i] ?? 0);
    });
    process.stdout.write(`${name.padEnd(24)}${cells.join('')}\n`);
  }
}

export async function main(args: readonly string[]): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      options: {
        only: { type: 'string' },
        jobs: { type: 'string', default: '2' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    process.stderr.write(`oracles: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    return 2;
  }
  const { only, jobs, help } = parsed.values;
  if (help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const wanted = ORACLES.filter(({ name }) => only?.split(',').includes(name) ?? true);
  for (const { name, missing } of wanted.filter((oracle) => !available(oracle))) {
    process.stdout.write(`${name}: skipped, needs ${missing.join(', ') || 'the corpus'}\n`);
  }
  const oracles = wanted.filter(available);
  const results = new Map<string, Comparison>();
  const work = oracles.flatMap((oracle) =>
    oracle.mutations.map((mutation: Mutation) => async () => {
      const result = await compare(oracle, mutation);
      results.set(`${oracle.name}/${mutation.name}`, result);
      process.stdout.write(
        `${mark(result)} ${oracle.name.padEnd(12)}${mutation.name.padEnd(22)} ${result.rule ?? 'accepted'}; ${
          result.boots ? 'boots' : result.note
        }\n`,
      );
    }),
  );
  await inParallel(work, Math.max(1, Number(jobs) || 1));
  printMatrix(oracles, results);
  const count = (which: string): number => [...results.values()].filter((result) => mark(result) === which).length;
  process.stdout.write(
    `\n${results.size} comparisons: ${count('+') + count('-')} agree, ${count('!')} accepted but dead, ${count('~')} refused but alive\n`,
  );
  return count('!') === 0 ? 0 : 1;
}
