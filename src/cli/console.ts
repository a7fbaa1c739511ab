/** The terminal as the guest's serial console: raw, both ways, and given back as it was whatever happens. */
import type { ReadStream } from 'node:tty';

const ESCAPE = 0x01; // Ctrl-A
const LEAVE = 'x'.charCodeAt(0);

export interface ConsoleHandlers {
  /** Bytes for the guest. */
  readonly send: (bytes: Uint8Array) => void;
  /** Ctrl-A x was typed. */
  readonly leave: () => void;
}

/**
 * Splits what is typed into bytes for the guest and the escapes Ctrl-A x (leave) and Ctrl-A Ctrl-A (send Ctrl-A). Any
 * other key after Ctrl-A is swallowed. The state lasts from call to call.
 */
export function createKeyFilter({ send, leave }: ConsoleHandlers): (typed: Uint8Array) => void {
  let escaped = false;
  return (typed) => {
    const forGuest: number[] = [];
    for (const byte of typed) {
      if (!escaped) {
        if (byte === ESCAPE) escaped = true;
        else forGuest.push(byte);
        continue;
      }
      escaped = false;
      if (byte === ESCAPE) forGuest.push(byte);
      if (byte === LEAVE) {
        if (forGuest.length > 0) send(Uint8Array.from(forGuest));
        leave();
        return;
      }
    }
    if (forGuest.length > 0) send(Uint8Array.from(forGuest));
  };
}

/** Standard input: a terminal, a pipe or a file, as `process.stdin` may be each. */
export type ConsoleInput = NodeJS.ReadableStream &
  Partial<Pick<ReadStream, 'isTTY' | 'isRaw' | 'setRawMode' | 'ref' | 'unref'>>;

/**
 * Connects an input to the guest: a terminal in raw mode with the escapes, anything else (a pipe, a file) as it is.
 * @returns gives the input back; safe to call twice, and called by itself when the process exits.
 */
export function attachConsole(input: ConsoleInput, handlers: ConsoleHandlers): () => void {
  const terminal = input.isTTY === true;
  const onInput = terminal ? createKeyFilter(handlers) : handlers.send;
  const wasRaw = input.isRaw ?? false;
  let attached = true;
  const detach = (): void => {
    if (!attached) return;
    attached = false;
    process.removeListener('exit', detach);
    input.removeListener('data', onInput);
    if (terminal) input.setRawMode?.(wasRaw);
    input.pause();
    // A pipe that nobody closes would keep the process alive.
    input.unref?.();
  };
  process.once('exit', detach);
  // A terminal that hangs up makes reading fail; the signal that comes with it ends the program.
  input.on('error', () => undefined);
  if (terminal) input.setRawMode?.(true);
  input.ref?.();
  input.on('data', onInput);
  return detach;
}
