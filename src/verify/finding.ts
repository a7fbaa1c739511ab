/** Small words for rules. */
import type { Finding, Rule } from './rule.js';

export type RuleTable = readonly Rule[];

/** The rule holds, or does not apply. */
export const holds: readonly Finding[] = [];

export function finding(message: string, field: string | null = null, offset: number | null = null): Finding {
  return { message, field, offset };
}
