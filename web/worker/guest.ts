/** A guest in v86, in a worker of its own: ending the worker ends it, whatever it does. */
import { createSubject, planStart, readBootImage, subjectOf, type BootPlan, type Guest } from '../../src/index.js';
import type { GuestEvent, GuestReport, GuestTimes, StartChoice } from '../protocol.js';
import { readFile } from './files.js';
import { startRequest } from './start-request.js';
import { createPageMachine } from './v86.js';

const TIMES_EVERY_MS = 250;

type HostTimes = Pick<GuestTimes, 'read' | 'decompress' | 'plan'>;

/** As `bzelf boot` does it: read, decompress, plan. */
async function prepare(file: File, choice: StartChoice): Promise<{ plan: BootPlan; times: HostTimes }> {
  const started = performance.now();
  const image = readBootImage(await readFile(file));
  const read = performance.now();
  const subject = choice.stage === 'kernel' ? await createSubject(image) : subjectOf(image, null);
  const recovered = performance.now();
  const request = await startRequest(choice, subject.bits);
  const plan = planStart(subject, { ...request, consumeKernel: true });
  const planned = performance.now();
  return { plan, times: { read: read - started, decompress: recovered - read, plan: planned - recovered } };
}

export class GuestRoom {
  readonly #tell: (event: GuestEvent) => void;
  #guest: Guest | null = null;

  constructor(tell: (event: GuestEvent) => void) {
    this.#tell = tell;
  }

  async boot(file: File, choice: StartChoice): Promise<GuestReport> {
    const { plan, times: host } = await prepare(file, choice);
    const machine = createPageMachine();
    const started = performance.now();
    let firstOutput: number | null = null;
    const { guest, timing } = await machine.start(plan, {
      onConsole: (bytes) => {
        firstOutput ??= performance.now() - started;
        this.#tell({ event: 'console', bytes });
      },
      onNote: (line) => this.#tell({ event: 'note', line }),
    });
    this.#guest = guest;
    const times = (): GuestTimes => ({
      ...host,
      place: timing.place,
      firstOutput,
      total: performance.now() - started,
      instructions: guest.instructions?.() ?? 0,
    });
    const ticker = setInterval(() => this.#tell({ event: 'times', times: times() }), TIMES_EVERY_MS);
    const exit = await guest.exited;
    clearInterval(ticker);
    this.#guest = null;
    return { exit, times: times() };
  }

  write(bytes: Uint8Array): null {
    this.#guest?.write(bytes);
    return null;
  }

  async stop(): Promise<null> {
    await this.#guest?.stop();
    return null;
  }
}
