/** The cheap part of `npm run oracles`: QEMU and v86 with images that they start or soon give up. */
import { describe, expect, it } from 'vitest';
import { available, compare, ORACLES } from '../oracles/agreement.js';

const CHEAP: Readonly<Record<string, readonly string[]>> = {
  qemu: ['as it is', 'boot_flag 0', 'header "HdrX"', 'version 1.00', 'truncated to setup', 'payload damaged'],
  'qemu-elf': [
    'as it is',
    'no PVH note',
    'note p_align 64',
    'e_machine ARM',
    'segment beyond file',
    'segments overlap',
  ],
  v86: ['as it is', 'version 2.16', 'setup_sects 65', '2 bytes appended'],
};

describe.each(ORACLES.filter(({ name }) => name in CHEAP))('$name does as the verdict says', (oracle) => {
  const mutations = oracle.mutations.filter(({ name }) => CHEAP[oracle.name]?.includes(name));
  it.skipIf(!available(oracle)).each(mutations)('$name', async (mutation) => {
    const { accepts, boots, rule, note } = await compare(oracle, mutation);
    expect(boots, `${rule ?? 'accepted'}; ${note}`).toBe(accepts);
  });
});
