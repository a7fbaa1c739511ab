/** The `verify` command: report, loader matrix, and the list of rules. */
import { BootImageError } from '../bytes/error.js';
import { readBootImage } from '../bzimage/read-boot-image.js';
import { readImage } from '../node/files.js';
import { enforcers, verify, verifyFor, type Report, type Verdict, type Violation } from '../verify/judge.js';
import type { LoaderId } from '../verify/loader.js';
import { isLoaderId, LOADERS } from '../verify/loaders/index.js';
import { RULES } from '../verify/rules/index.js';
import { createSubject } from '../verify/subject.js';
import type { CliIo, CommonOptions } from './io.js';

export interface VerifyOptions extends CommonOptions {
  readonly for?: string;
  readonly list?: boolean;
  readonly limit: number;
}

function parseLoaders(text: string): LoaderId[] {
  return text.split(',').map((word) => {
    const id = word.trim();
    if (isLoaderId(id)) return id;
    throw new BootImageError('bad-argument', `"${id}" is no loader`, {
      field: '--for',
      hint: `choose from ${LOADERS.map((loader) => loader.id).join(', ')}`,
    });
  });
}

const COLOURS = { error: 'red', warning: 'yellow', note: 'gray' } as const;

function printList(io: CliIo): void {
  if (io.asJson) {
    io.json({
      rules: RULES.map(({ check, ...rule }) => ({ ...rule, enforced_by: enforcers(rule.id) })),
      loaders: LOADERS.map(({ id, title, source, enters, routes }) => ({
        id,
        title,
        source,
        enters,
        routes: routes.map(({ name, checks }) => ({ name, checks })),
      })),
    });
    return;
  }
  io.out(`${io.paint('bold', 'Rules')}\n`);
  for (const rule of RULES) {
    io.out(`  ${io.paint(COLOURS[rule.severity], rule.severity.padEnd(8))}${rule.id.padEnd(32)}${rule.checks}\n`);
  }
  io.out(`\n${io.paint('bold', 'Loaders')}\n`);
  for (const loader of LOADERS)
    io.out(`  ${loader.id.padEnd(18)}${loader.title} (${loader.source}); enters: ${loader.enters}\n`);
}

function place(found: { readonly field: string | null; readonly offset: number | null }): string {
  const parts = [found.field, found.offset === null ? null : `0x${found.offset.toString(16)}`].filter(
    (part) => part !== null,
  );
  return parts.length === 0 ? '' : ` (${parts.join(' at ')})`;
}

function printViolation(io: CliIo, violation: Violation): void {
  io.out(
    `  ${io.paint(COLOURS[violation.severity], violation.severity.padEnd(8))}${violation.rule.padEnd(32)}${violation.message}${place(violation)}\n`,
  );
  if (violation.severity !== 'note') io.out(`${' '.repeat(42)}${io.paint('gray', violation.cure)}\n`);
}

function printVerdict(io: CliIo, verdict: Verdict): void {
  const word = verdict.accepts
    ? io.paint('green', 'accepts')
    : io.paint('red', verdict.reason?.checked === false ? 'fails  ' : 'refuses');
  io.out(
    `  ${verdict.loader.padEnd(18)}${word}  ${verdict.accepts ? io.paint('gray', verdict.enters) : (verdict.reason?.says ?? '')}\n`,
  );
  if (verdict.reason !== null) {
    io.out(
      `${' '.repeat(29)}${io.paint('gray', `${verdict.reason.rule}: ${verdict.reason.message}. ${verdict.reason.cure}`)}\n`,
    );
  }
}

function printReport(io: CliIo, report: Report): void {
  const { violations, verdicts } = report;
  io.out(`${io.paint('bold', 'Rules')}  ${RULES.length} checked, ${violations.length} findings\n`);
  for (const severity of ['error', 'warning', 'note'] as const) {
    for (const violation of violations) if (violation.severity === severity) printViolation(io, violation);
  }
  io.out(`\n${io.paint('bold', 'Loaders')}\n`);
  for (const verdict of verdicts) printVerdict(io, verdict);
}

/** Exit status 1 on any error and, with `--for`, when one of the loaders refuses. */
export async function runVerify(path: string | undefined, options: VerifyOptions, io: CliIo): Promise<number> {
  if (options.list === true || path === undefined) {
    printList(io);
    return 0;
  }
  const loaders = options.for === undefined ? undefined : parseLoaders(options.for);
  const subject = await createSubject(readBootImage(readImage(path)), { limit: options.limit });
  const report = loaders === undefined ? verify(subject) : verifyFor(subject, loaders);
  const errors = report.violations.filter(({ severity }) => severity === 'error').length;
  const refused = report.verdicts.some(({ accepts }) => !accepts);
  const ok = errors === 0 && !(loaders !== undefined && refused);
  if (io.asJson) {
    io.json({
      ok,
      kind: subject.image.kind,
      counts: {
        error: errors,
        warning: report.violations.filter(({ severity }) => severity === 'warning').length,
        note: report.violations.filter(({ severity }) => severity === 'note').length,
      },
      violations: report.violations,
      loaders: report.verdicts,
    });
  } else {
    printReport(io, report);
  }
  return ok ? 0 : 1;
}
