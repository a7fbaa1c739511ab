/** Judging: all rules on one image, and what follows for each loader. */
import type { Check, Loader, LoaderId } from './loader.js';
import { LOADERS, loaderOf } from './loaders/index.js';
import type { Finding, Rule, RuleStage, Severity } from './rule.js';
import { RULES, ruleOf } from './rules/index.js';
import type { Subject } from './subject.js';

export interface Violation extends Finding {
  readonly rule: string;
  readonly stage: RuleStage;
  readonly severity: Severity;
  readonly cure: string;
  /** Loaders that refuse or fail because of it. */
  readonly enforced_by: readonly LoaderId[];
}

export interface Reason extends Finding {
  readonly rule: string;
  readonly where: string;
  /** The loader's own words, or what happens. */
  readonly says: string;
  /** False when the loader itself notices nothing and the start fails later. */
  readonly checked: boolean;
  readonly cure: string;
}

export interface Verdict {
  readonly loader: LoaderId;
  readonly title: string;
  readonly enters: string;
  readonly accepts: boolean;
  /** The way the loader takes with this file; null if it takes none. */
  readonly route: string | null;
  readonly reason: Reason | null;
}

export interface Report {
  readonly violations: readonly Violation[];
  readonly verdicts: readonly Verdict[];
}

/** Applies rules, each at most once. */
export class Judge {
  readonly #subject: Subject;
  readonly #findings = new Map<string, readonly Finding[]>();

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  findings(rule: Rule): readonly Finding[] {
    let found = this.#findings.get(rule.id);
    if (found === undefined) {
      found = rule.check(this.#subject);
      this.#findings.set(rule.id, found);
    }
    return found;
  }

  /** The first check that fails, in order; null if all hold. */
  firstFailure(checks: readonly Check[]): Reason | null {
    for (const check of checks) {
      const rule = ruleOf(check.rule);
      const [found] = this.findings(rule);
      if (found === undefined) continue;
      return {
        ...found,
        rule: rule.id,
        where: check.where,
        says: check.says,
        checked: check.unchecked !== true,
        cure: rule.cure,
      };
    }
    return null;
  }

  verdict(loader: Loader): Verdict {
    const { id, title, enters } = loader;
    const route = loader.routes.find(({ takes }) => takes(this.#subject)) ?? null;
    if (route === null) {
      const message = `it is ${this.#subject.image.description}`;
      const reason = {
        rule: 'file.recognised',
        ...loader.refusal,
        checked: true,
        cure: ruleOf('file.recognised').cure,
        message,
        field: null,
        offset: null,
      };
      return { loader: id, title, enters, accepts: false, route: null, reason };
    }
    const reason = this.firstFailure(route.checks);
    return { loader: id, title, enters, accepts: reason === null, route: route.name, reason };
  }
}

/** Which loaders enforce a rule, in any of their routes. No route for a file means that it is not recognised. */
export function enforcers(rule: string): readonly LoaderId[] {
  return LOADERS.filter(
    ({ routes }) =>
      rule === 'file.recognised' || routes.some(({ checks }) => checks.some((check) => check.rule === rule)),
  ).map(({ id }) => id);
}

function violationsOf(judge: Judge, rule: Rule, severity: Severity): Violation[] {
  return judge.findings(rule).map((found) => ({
    ...found,
    rule: rule.id,
    stage: rule.stage,
    severity,
    cure: rule.cure,
    enforced_by: enforcers(rule.id),
  }));
}

/** Judges by every rule and every loader. */
export function verify(subject: Subject): Report {
  const judge = new Judge(subject);
  return {
    violations: RULES.flatMap((rule) => violationsOf(judge, rule, rule.severity)),
    verdicts: LOADERS.map((loader) => judge.verdict(loader)),
  };
}

/** Judges by what these loaders need and nothing else: whatever makes one of them refuse or fail is an error. */
export function verifyFor(subject: Subject, ids: readonly LoaderId[]): Report {
  const judge = new Judge(subject);
  const loaders = ids.map(loaderOf);
  const needed = new Set(
    loaders.flatMap(
      ({ routes }) => routes.find(({ takes }) => takes(subject))?.checks.map(({ rule }) => rule) ?? ['file.recognised'],
    ),
  );
  return {
    violations: RULES.filter(({ id }) => needed.has(id)).flatMap((rule) => violationsOf(judge, rule, 'error')),
    verdicts: loaders.map((loader) => judge.verdict(loader)),
  };
}
