/** What a rule is. The rules stand in rules/, one file a stage; who enforces them stands in loaders/. */
import type { Subject } from './subject.js';

export const RULE_STAGES = [
  'file',
  'setup',
  'pe',
  'stage-elf',
  'payload',
  'elf',
  'notes',
  'relocations',
  'memory',
] as const;

export type RuleStage = (typeof RULE_STAGES)[number];

/**
 * `error`: the image contradicts itself or cannot be started by anyone; `warning`: it starts today but a field lies or
 * a margin is missing; `note`: it lacks something that some loaders need.
 */
export type Severity = 'error' | 'warning' | 'note';

/** Where and how an image breaks a rule. */
export interface Finding {
  /** File offset, or null if the place lies inside the decompressed kernel or nowhere. */
  readonly offset: number | null;
  /** The field in the specification's words, or null. */
  readonly field: string | null;
  /** One sentence with the values seen. */
  readonly message: string;
}

export interface Rule {
  /** Stable: `stage.subject`, kebab-case. */
  readonly id: string;
  readonly stage: RuleStage;
  readonly severity: Severity;
  /** What is checked, one sentence. */
  readonly checks: string;
  /** What goes wrong otherwise, one sentence. */
  readonly why: string;
  /** What to do about it, one sentence. */
  readonly cure: string;
  /** The boot protocol field, ELF section or header file that it follows. */
  readonly source: string;
  /** Empty when the rule holds or does not apply. */
  readonly check: (subject: Subject) => readonly Finding[];
}
