/** What the user chose, as a command for the shell. */
import { SERIAL_COMMAND_LINE } from '../../src/index.js';
import type { StartChoice } from '../protocol.js';

export const DEFAULT_CHOICE: StartChoice = {
  stage: 'kernel',
  protocol: null,
  memory: '512M',
  commandLine: SERIAL_COMMAND_LINE,
  kaslrSeed: null,
  initrd: 'demo',
  role: 'domu',
};

/** The name under which the page gives its demo initramfs. */
export const DEMO_INITRAMFS = 'demo-initramfs.cpio';

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function initrdName({ initrd }: StartChoice): string | null {
  if (initrd === 'none') return null;
  return typeof initrd === 'string' ? DEMO_INITRAMFS : initrd.name;
}

/** Words, quoted where a shell wants it. Options that say what the command does by itself are left out. */
export function commandLine(command: 'plan' | 'boot', fileName: string, choice: StartChoice): readonly string[] {
  const { stage, protocol, memory, kaslrSeed, role } = choice;
  const words = ['bzelf', command, fileName];
  const append = choice.initrd === 'shell' ? `${choice.commandLine} bzelf.shell` : choice.commandLine;
  const initrd = initrdName(choice);
  if (stage !== DEFAULT_CHOICE.stage) words.push('--enter', stage);
  if (protocol !== null) words.push('--protocol', protocol);
  if (protocol === 'xen-pv' && role !== DEFAULT_CHOICE.role) words.push('--role', role);
  if (memory !== DEFAULT_CHOICE.memory) words.push('--memory', memory);
  if (initrd !== null) words.push('--initrd', initrd);
  if (append !== (command === 'boot' ? SERIAL_COMMAND_LINE : '')) words.push('--append', append);
  if (kaslrSeed !== null) words.push('--kaslr', ...(kaslrSeed === '' ? [] : [kaslrSeed]));
  return words.map(quoted);
}
