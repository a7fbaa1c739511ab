// The first process of the guest that is a card's host (see host-guest.ts). It does what a line of JSON on its console
// asks for and answers with one, in a mark that no echo and no kernel message has.
const { spawnSync } = require('node:child_process');
const { mkdirSync, readFileSync, readSync, writeFileSync, writeSync } = require('node:fs');
const koffi = require('/bzelf/node_modules/koffi');

const STDIN = 0;
const STDOUT = 1;

const mount = koffi.load(null).func('mount', 'int', ['str', 'str', 'str', 'ulong', 'void *']);

const actions = {
  bzelf(...args) {
    const { status, stdout, stderr } = spawnSync('/node', ['/bzelf/bin/bzelf', ...args], { encoding: 'utf8' });
    return { status, stdout, stderr };
  },
  read: (path) => readFileSync(path, 'latin1').trimEnd(),
  write: (path, text) => writeFileSync(path, text),
};

function answer(message) {
  writeSync(STDOUT, `\n<answer>${JSON.stringify(message)}</answer>\n`);
}

function obey(line) {
  try {
    const [action, ...args] = JSON.parse(line);
    answer({ value: actions[action](...args) });
  } catch (error) {
    answer({ error: String(error) });
  }
}

for (const [type, path] of Object.entries({ proc: '/proc', sysfs: '/sys' })) {
  mkdirSync(path, { recursive: true });
  mount(type, path, type, 0, null);
}
answer({ value: 'ready' });

const chunk = Buffer.alloc(4096);
let rest = '';
for (;;) {
  rest += chunk.toString('latin1', 0, readSync(STDIN, chunk));
  const lines = rest.split('\n');
  rest = lines.pop();
  lines.forEach(obey);
}
