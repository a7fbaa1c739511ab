/** The page's end of a worker: calls as promises. */
import type { Calls, CallName, Failure, GuestEvent, Message, Request } from './protocol.js';

/** What a call rejects with. */
export class CallError extends Error implements Failure {
  get line(): string {
    return this.message;
  }
}

/** Any error as one line. */
export function failureOf(error: unknown): Failure {
  return error instanceof CallError ? error : { line: `the page broke down: ${String(error)}` };
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: CallError) => void;
}

export class WorkerClient {
  readonly #worker = new Worker(new URL('./worker/worker.ts', import.meta.url), { type: 'module' });
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;

  constructor(onEvent: (event: GuestEvent) => void = () => undefined) {
    this.#worker.onmessage = ({ data }: MessageEvent<Message>) => {
      if ('event' in data) onEvent(data);
      else this.#settle(data);
    };
    // A worker that cannot be loaded, or runs out of memory.
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#rejectAll(`the page's worker broke down: ${event.message || 'it could not be loaded'}`);
    };
  }

  call<Name extends CallName>(name: Name, ...parameters: Parameters<Calls[Name]>): Promise<ReturnType<Calls[Name]>> {
    const id = this.#next++;
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#worker.postMessage({ id, name, parameters } satisfies Request);
    return answer as Promise<ReturnType<Calls[Name]>>;
  }

  /** A call whose answer nobody waits for: the worker may be closed before it comes. */
  tell<Name extends CallName>(name: Name, ...parameters: Parameters<Calls[Name]>): void {
    this.call(name, ...parameters).catch(() => undefined);
  }

  /** Ends the worker, whatever it is doing. Calls without an answer are refused. */
  close(): void {
    this.#worker.terminate();
    this.#rejectAll('stopped');
  }

  #settle(message: Exclude<Message, GuestEvent>): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ('failure' in message) waiting?.reject(new CallError(message.failure.line));
    else waiting?.resolve(message.result);
  }

  #rejectAll(line: string): void {
    for (const { reject } of this.#waiting.values()) reject(new CallError(line));
    this.#waiting.clear();
  }
}
