import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { latin1, latin1Bytes } from '../../src/bytes/byte-view.js';
import { attachConsole, createKeyFilter, type ConsoleInput } from '../../src/cli/console.js';

function filter() {
  let sent = '';
  let left = 0;
  const handlers = { send: (bytes: Uint8Array) => (sent += latin1(bytes)), leave: () => left++ };
  const typed = createKeyFilter(handlers);
  return { handlers, type: (text: string) => typed(latin1Bytes(text)), sent: () => sent, left: () => left };
}

describe('keys typed at the console', () => {
  it('reach the guest, control keys included', () => {
    const keys = filter();
    keys.type('ls\r\x03\x1b[A\xff');
    expect([keys.sent(), keys.left()]).toEqual(['ls\r\x03\x1b[A\xff', 0]);
  });

  it('leave with Ctrl-A x, in one piece or two, and what came before is sent', () => {
    const keys = filter();
    keys.type('ab\x01');
    keys.type('xcd');
    expect([keys.sent(), keys.left()]).toEqual(['ab', 1]);
  });

  it('send Ctrl-A by Ctrl-A Ctrl-A, and swallow other escapes', () => {
    const keys = filter();
    keys.type('1\x01\x012\x01q3\x01\x01x');
    expect([keys.sent(), keys.left()]).toEqual(['1\x0123\x01x', 0]);
  });
});

/** A terminal that remembers its mode. */
function terminal(isTTY: boolean) {
  const modes: boolean[] = [];
  const stream = new PassThrough();
  const input: ConsoleInput = Object.assign(stream as unknown as NodeJS.ReadableStream, {
    isTTY: isTTY as true,
    isRaw: false,
    setRawMode: (mode: boolean) => {
      modes.push(mode);
      return input as never;
    },
  });
  return { input, stream, modes };
}

describe('the console', () => {
  it('makes a terminal raw and gives it back, once', async () => {
    const { input, stream, modes } = terminal(true);
    const keys = filter();
    const exits = process.listenerCount('exit');
    const detach = attachConsole(input, keys.handlers);
    stream.write(Buffer.from('hi\x01x'));
    await new Promise(setImmediate);
    expect([keys.sent(), keys.left(), modes]).toEqual(['hi', 1, [true]]);
    detach();
    detach();
    expect(modes).toEqual([true, false]);
    expect(process.listenerCount('exit')).toBe(exits);
    stream.write('more');
    await new Promise(setImmediate);
    expect(keys.sent()).toBe('hi');
  });

  it('passes a pipe on as it is', async () => {
    const { input, stream, modes } = terminal(false);
    const keys = filter();
    const detach = attachConsole(input, keys.handlers);
    stream.end(Buffer.from('\x01x\x00'));
    await new Promise(setImmediate);
    detach();
    expect([keys.sent(), keys.left(), modes]).toEqual(['\x01x\x00', 0, []]);
  });
});
