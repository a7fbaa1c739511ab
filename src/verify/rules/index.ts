/** Every rule, by stage. */
import type { RuleTable } from '../finding.js';
import type { Rule } from '../rule.js';
import { ELF_RULES } from './elf.js';
import { FILE_RULES } from './file.js';
import { MEMORY_RULES } from './memory.js';
import { NOTE_RULES } from './notes.js';
import { PAYLOAD_RULES } from './payload.js';
import { PE_RULES } from './pe.js';
import { RELOCATION_RULES } from './relocations.js';
import { SETUP_RULES } from './setup.js';
import { STAGE_ELF_RULES } from './stage-elf.js';

export const RULES: RuleTable = [
  ...FILE_RULES,
  ...SETUP_RULES,
  ...PE_RULES,
  ...STAGE_ELF_RULES,
  ...PAYLOAD_RULES,
  ...ELF_RULES,
  ...NOTE_RULES,
  ...RELOCATION_RULES,
  ...MEMORY_RULES,
];

const byId: ReadonlyMap<string, Rule> = new Map(RULES.map((rule) => [rule.id, rule]));

/** @throws RangeError for an unknown id: the loaders' tables are checked by a test. */
export function ruleOf(id: string): Rule {
  const rule = byId.get(id);
  if (rule === undefined) throw new RangeError(`no rule ${id}`);
  return rule;
}
