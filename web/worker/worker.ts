/** The worker: everything that takes time, and every copy of the kernel, is here. */
import { BootImageError, describeError } from '../../src/index.js';
import type { Failure, Message, Request, WorkerHandlers } from '../protocol.js';
import { GuestRoom } from './guest.js';
import { Session } from './session.js';

/** The part of DedicatedWorkerGlobalScope that is used; TypeScript's `webworker` library excludes `dom`. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<Request>) => void) | null;
  postMessage(message: Message): void;
}

const scope = globalThis as unknown as WorkerScope;
const session = new Session();
const guest = new GuestRoom((event) => scope.postMessage(event));

const handlers: WorkerHandlers = {
  open: (file) => session.open(file),
  recover: () => session.recover(),
  verify: () => session.verify(),
  extract: (request) => session.extract(request),
  plan: (choice) => session.plan(choice),
  demoInitramfs: () => session.demoInitramfs(),
  boot: (file, choice) => guest.boot(file, choice),
  write: (bytes) => guest.write(bytes),
  stop: () => guest.stop(),
};

function failureOf(error: unknown): Failure {
  if (error instanceof BootImageError) return { line: describeError(error) };
  return { line: `the page broke down: ${error instanceof Error ? error.message : String(error)}` };
}

scope.onmessage = ({ data: { id, name, parameters } }) => {
  const handler = handlers[name] as (...parameters: readonly unknown[]) => unknown;
  Promise.resolve()
    .then(() => handler(...parameters))
    .then(
      (result) => scope.postMessage({ id, result }),
      (error: unknown) => scope.postMessage({ id, failure: failureOf(error) }),
    );
};
