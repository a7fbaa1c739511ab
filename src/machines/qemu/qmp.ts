/** QEMU's machine protocol (docs/interop/qmp-spec): JSON commands, replies and events, one a line. */
import type { Duplex } from 'node:stream';
import { BootImageError } from '../../bytes/error.js';
import { deferred, type Deferred } from './deferred.js';

export interface QmpEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Characters of a line that is not understood. */
const SHOWN = 40;

interface QmpMessage {
  readonly QMP?: unknown;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
  readonly data?: Record<string, unknown>;
}

export class Qmp {
  readonly #stream: Duplex;
  readonly #onEvent: (event: QmpEvent) => void;
  readonly #waiting: Deferred<unknown>[] = [];
  readonly #greeting = deferred<undefined>();
  #rest = '';
  #closed: Error | null = null;

  constructor(stream: Duplex, onEvent: (event: QmpEvent) => void) {
    this.#stream = stream;
    this.#onEvent = onEvent;
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => this.#receive(text));
    stream.on('error', () => this.close());
    stream.on('close', () => this.close());
  }

  /** Waits for QEMU's greeting and leaves negotiation mode. */
  async begin(): Promise<void> {
    await this.#greeting.promise;
    await this.execute('qmp_capabilities');
  }

  /** @throws BootImageError `machine-failed` with QEMU's own words, or when QEMU has gone. */
  async execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    if (this.#closed !== null) throw this.#closed;
    const reply = deferred<unknown>();
    this.#waiting.push(reply);
    this.#stream.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    return reply.promise;
  }

  /** A command of the human monitor; resolves to what it prints. */
  async monitor(line: string): Promise<string> {
    return String(await this.execute('human-monitor-command', { 'command-line': line }));
  }

  /** Fails everything that still waits. */
  close(why = 'QEMU has gone'): void {
    if (this.#closed !== null) return;
    this.#closed = new BootImageError('machine-failed', why);
    this.#greeting.reject(this.#closed);
    for (const reply of this.#waiting.splice(0)) reply.reject(this.#closed);
  }

  #receive(text: string): void {
    if (this.#closed !== null) return;
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.trim() === '') continue;
      const message = parse(line);
      if (message === null) {
        this.close(`QEMU's monitor said "${line.slice(0, SHOWN)}", which is no QMP`);
        return;
      }
      this.#dispatch(message);
    }
  }

  #dispatch(message: QmpMessage): void {
    if (message.QMP !== undefined) this.#greeting.resolve(undefined);
    else if (message.event !== undefined) this.#onEvent({ event: message.event, data: message.data ?? {} });
    else if (message.error !== undefined) {
      this.#waiting.shift()?.reject(new BootImageError('machine-failed', `QEMU: ${message.error.desc}`));
    } else this.#waiting.shift()?.resolve(message.return);
  }
}

/** Null for what is no JSON object. */
function parse(line: string): QmpMessage | null {
  try {
    const value = JSON.parse(line) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
