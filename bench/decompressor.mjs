// Guest instructions from the decompressor's entry to the kernel's, as QEMU counts them, and size on disk: images of the
// kernel's own build against the same kernels packed by `bzelf pack`.
//
//   node bench/decompressor.mjs [IMAGE...]
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureSetup } from '../scripts/setup.mjs';
import { bzelf, corpusImage, row, withScratch } from './measure.mjs';

const MEMORY = '512';
const CODE32_START = 0x214;
const PREF_ADDRESS = 0x258;

async function connect(path) {
  for (let attempt = 0; ; attempt++) {
    const socket = createConnection(path);
    const ok = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    if (ok) return socket;
    if (attempt === 100) throw new Error(`nobody listens at ${path}`);
    await sleep(50);
  }
}

/** Messages of a socket, one at a time: `take` cuts the next one off the text or returns null. */
function reader(socket, take) {
  let text = '';
  let wake = () => {};
  socket.on('data', (data) => {
    text += data.toString('latin1');
    wake();
  });
  return async () => {
    for (;;) {
      const found = take(text);
      if (found !== null) {
        text = text.slice(found.end);
        return found.message;
      }
      await new Promise((resolve) => (wake = resolve));
    }
  };
}

async function gdbStub(path) {
  const socket = await connect(path);
  const next = reader(socket, (text) => {
    const match = /\$([^#]*)#../.exec(text);
    return match && { message: match[1], end: match.index + match[0].length };
  });
  return async (command) => {
    const sum = [...command].reduce((total, character) => total + character.charCodeAt(0), 0) & 255;
    socket.write(`$${command}#${sum.toString(16).padStart(2, '0')}`);
    const answer = await next();
    socket.write('+');
    return answer;
  };
}

async function monitor(path) {
  const socket = await connect(path);
  const next = reader(socket, (text) => {
    const end = text.indexOf('\n') + 1;
    return end > 0 ? { message: JSON.parse(text.slice(0, end)), end } : null;
  });
  await next();
  const ask = async (execute) => {
    socket.write(JSON.stringify({ execute }));
    for (;;) {
      const answer = await next();
      if (answer.return !== undefined) return answer.return;
    }
  };
  await ask('qmp_capabilities');
  return ask;
}

/** Instructions between the two places. Without KASLR the kernel is entered where it is linked to. */
async function countInstructions(image) {
  return withScratch((scratch) => countIn(image, scratch));
}

async function countIn(image, scratch) {
  const bytes = readFileSync(image);
  const from = bytes.readUInt32LE(CODE32_START);
  const to = bytes.readBigUInt64LE(PREF_ADDRESS);
  const socket = (name) => join(scratch, name);
  const qemu = spawn(
    'qemu-system-x86_64',
    // prettier-ignore
    ['-accel', 'tcg', '-icount', 'shift=0,sleep=off', '-m', MEMORY, '-display', 'none', '-serial', 'none', '-S',
      '-gdb', `unix:${socket('gdb')},server=on,wait=off`, '-qmp', `unix:${socket('qmp')},server=on,wait=off`,
      '-kernel', image, '-append', 'nokaslr'],
    { stdio: 'ignore' },
  );
  try {
    const gdb = await gdbStub(socket('gdb'));
    const ask = await monitor(socket('qmp'));
    const runTo = async (address) => {
      const point = `1,${address.toString(16)},1`;
      await gdb(`Z${point}`);
      await gdb('c');
      await gdb(`z${point}`);
      return (await ask('query-replay')).icount;
    };
    const start = await runTo(from);
    return (await runTo(to)) - start;
  } finally {
    qemu.kill('SIGKILL');
    await new Promise((resolve) => qemu.once('close', resolve));
  }
}

ensureSetup();
if (spawnSync('qemu-system-x86_64', ['--version']).status !== 0) {
  console.error('bench: QEMU is missing');
  process.exit(3);
}
const names = ['gzip', 'lz4', 'xz', 'zstd'].flatMap((codec) => [`k64-${codec}`, `k32-${codec}`]);
const images = process.argv.length > 2 ? process.argv.slice(2) : names.map(corpusImage);

row('', 'instructions', 'packed', 'ratio', 'bytes', 'packed', 'ratio');
await withScratch(async (scratch) => {
  for (const image of images.filter((path) => path !== null && existsSync(path))) {
    const packed = join(scratch, 'packed');
    const { status, stderr } = spawnSync(bzelf, ['pack', image, '-o', packed, '--quiet'], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    const own = await countInstructions(image);
    const ours = await countInstructions(packed);
    const [before, after] = [image, packed].map((path) => statSync(path).size);
    row(basename(image), own, ours, (ours / own).toFixed(2), before, after, (after / before).toFixed(3));
  }
});
