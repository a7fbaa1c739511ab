/** The host of a card: a QEMU guest with PCI devices, whose only process runs bzelf when it is asked to. */
import { readFileSync } from 'node:fs';
import { pcMemoryMap } from '../../../src/boot/memory-map.js';
import { planBoot } from '../../../src/boot/plan-boot.js';
import { latin1, latin1Bytes } from '../../../src/bytes/byte-view.js';
import { readBootImage } from '../../../src/bzimage/read-boot-image.js';
import { recoverVmlinux } from '../../../src/kernel/recover.js';
import type { Guest } from '../../../src/machines/machine.js';
import { deferred, type Deferred } from '../../../src/machines/qemu/deferred.js';
import { createQemuMachine } from '../../../src/machines/qemu/qemu-machine.js';
import { AGENT, hostInitramfs, NODE } from './host-initramfs.js';

/** Node is a hundred megabytes, there once in the archive and once unpacked. */
const MEMORY = 1n << 30n;
const COMMAND_LINE = `console=ttyS0 loglevel=1 tsc=reliable mitigations=off panic=-1 rdinit=${NODE} -- ${AGENT}`;

/** V8 compiles vector instructions of WebAssembly, which decompression uses, only for processors that have SSE4.1. */
const PROCESSOR = ['-cpu', 'max'];

/** For each answer; a busy host may take long. */
const PATIENCE_MS = 100_000;
const SHOWN = 2000;

/** What a program left behind. */
export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Answer {
  readonly value?: unknown;
  readonly error?: string;
}

export class HostGuest {
  #guest: Guest | null = null;
  #console = '';
  #waiting: Deferred<Answer> = deferred();

  /**
   * @param kernel path of its kernel.
   * @param devices QEMU's options for its PCI devices.
   * @param files what it has to have, by its path there.
   */
  static async start(
    kernel: string,
    devices: readonly string[],
    files: Readonly<Record<string, Uint8Array>>,
  ): Promise<HostGuest> {
    const image = readBootImage(readFileSync(kernel));
    const plan = planBoot(image, await recoverVmlinux(image), {
      stage: 'kernel',
      memory: pcMemoryMap(MEMORY),
      commandLine: COMMAND_LINE,
      initrd: await hostInitramfs(files),
    });
    const host = new HostGuest();
    const machine = createQemuMachine({ accel: 'tcg', extraArgs: [...PROCESSOR, ...devices] });
    const { guest } = await machine.start(plan, { onConsole: (bytes) => host.#hear(latin1(bytes)) });
    host.#guest = guest;
    void guest.exited.then(({ reason }) => {
      host.#guest = null;
      host.#waiting.reject(new Error(`the host has ended: ${reason}`));
    });
    try {
      await host.#answer();
    } catch (error) {
      await guest.stop();
      throw error;
    }
    return host;
  }

  bzelf(...args: readonly string[]): Promise<Ran> {
    return this.#ask('bzelf', ...args) as Promise<Ran>;
  }

  read(path: string): Promise<string> {
    return this.#ask('read', path) as Promise<string>;
  }

  async write(path: string, text: string): Promise<void> {
    await this.#ask('write', path, text);
  }

  async stop(): Promise<void> {
    await this.#guest?.stop();
  }

  async #ask(...request: readonly string[]): Promise<unknown> {
    if (this.#guest === null) throw new Error('the host has ended');
    this.#waiting = deferred();
    this.#guest.write(latin1Bytes(`${JSON.stringify(request)}\n`));
    return this.#answer();
  }

  async #answer(): Promise<unknown> {
    const late = (): void => {
      this.#waiting.reject(new Error(`the host does not answer; its console: ${this.#console.slice(-SHOWN)}`));
    };
    const timer = setTimeout(late, PATIENCE_MS);
    try {
      const { value, error } = await this.#waiting.promise;
      if (error !== undefined) throw new Error(`the host answers ${error}`);
      return value;
    } finally {
      clearTimeout(timer);
    }
  }

  #hear(text: string): void {
    this.#console += text;
    const json = /<answer>(.*)<\/answer>/.exec(this.#console)?.[1];
    if (json === undefined) return;
    this.#console = '';
    this.#waiting.resolve(JSON.parse(Buffer.from(json, 'latin1').toString()) as Answer);
  }
}
