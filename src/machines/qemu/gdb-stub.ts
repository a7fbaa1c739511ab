/**
 * A client for QEMU's gdb stub: the part of GDB's remote serial protocol (GDB manual, appendix "Remote Protocol") that
 * reads and sets the CPU, stops it at an address and lets it run.
 */
import type { Duplex } from 'node:stream';
import { BootImageError } from '../../bytes/error.js';
import { deferred, type Deferred } from './deferred.js';

/** A register as the stub numbers it. */
interface StubRegister {
  readonly number: number;
  readonly bytes: number;
}

/** Names that differ between the 32-bit and the 64-bit description. */
const NAMES_32: Readonly<Record<string, string>> = {
  rax: 'eax',
  rbx: 'ebx',
  rcx: 'ecx',
  rdx: 'edx',
  rsi: 'esi',
  rdi: 'edi',
  rbp: 'ebp',
  rsp: 'esp',
  rip: 'eip',
};

/** Longest `M` packet's payload; QEMU's own limit is 4096 characters a packet. */
const WRITE_CHUNK = 1024;

/** Bytes of the target description asked for at a time. */
const DESCRIPTION_CHUNK = 0x7f0;

function checksum(text: string): string {
  let sum = 0;
  for (let i = 0; i < text.length; i++) sum = (sum + text.charCodeAt(i)) & 0xff;
  return sum.toString(16).padStart(2, '0');
}

function littleEndianHex(value: bigint, bytes: number): string {
  const big = BigInt.asUintN(bytes * 8, value)
    .toString(16)
    .padStart(bytes * 2, '0');
  return (big.match(/../g) ?? []).reverse().join('');
}

function parseLittleEndian(text: string): bigint {
  return BigInt(`0x${(text.match(/../g) ?? []).reverse().join('')}`);
}

export class GdbStub {
  readonly #stream: Duplex;
  readonly #waiting: Deferred<string>[] = [];
  readonly #registers = new Map<string, StubRegister>();
  #rest = '';
  #stopped: Deferred<string> | null = null;
  #closed: Error | null = null;

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.setEncoding('latin1');
    stream.on('data', (text: string) => this.#receive(text));
    stream.on('error', () => this.close());
    stream.on('close', () => this.close());
  }

  /** Reads the target description, without which the stub answers no register by number. */
  async begin(): Promise<void> {
    await this.#describe('target.xml');
    await this.#command('?');
  }

  /** @throws BootImageError `machine-failed` for a register that this CPU does not have. */
  async readRegister(name: string): Promise<bigint> {
    const reply = await this.#command(`p${this.#register(name).number.toString(16)}`);
    return parseLittleEndian(reply);
  }

  async writeRegister(name: string, value: bigint): Promise<void> {
    const { number, bytes } = this.#register(name);
    await this.#expectOk(`P${number.toString(16)}=${littleEndianHex(value, bytes)}`);
  }

  hasRegister(name: string): boolean {
    return this.#registers.has(name) || this.#registers.has(NAMES_32[name] ?? '');
  }

  /**
   * Writes guest memory through the CPU's current translation. Slow; QEMU then drops the code that it had translated
   * from there, which it cannot know of when the shared file is written.
   */
  async writeMemory(address: bigint, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += WRITE_CHUNK) {
      const part = bytes.subarray(at, at + WRITE_CHUNK);
      const data = Buffer.from(part.buffer, part.byteOffset, part.length).toString('hex');
      await this.#expectOk(`M${(address + BigInt(at)).toString(16)},${part.length.toString(16)}:${data}`);
    }
  }

  /** A hardware breakpoint at a linear address: it survives when the guest overwrites the code there. */
  async setBreakpoint(address: bigint): Promise<void> {
    await this.#expectOk(`Z1,${address.toString(16)},1`);
  }

  async clearBreakpoint(address: bigint): Promise<void> {
    await this.#expectOk(`z1,${address.toString(16)},1`);
  }

  /** Stops after a write to the byte at a linear address. Only accesses to its page become slower. */
  async setWatchpoint(address: bigint): Promise<void> {
    await this.#expectOk(`Z2,${address.toString(16)},1`);
  }

  async clearWatchpoint(address: bigint): Promise<void> {
    await this.#expectOk(`z2,${address.toString(16)},1`);
  }

  /**
   * Runs until a breakpoint, a watchpoint, `interrupt` or the guest's end.
   * @returns the watchpoint's address, if it was one.
   */
  async resume(): Promise<bigint | null> {
    const watch = /watch:([0-9a-f]+)/.exec(await this.#run('c'));
    return watch === null ? null : BigInt(`0x${watch[1] ?? ''}`);
  }

  /** Executes instructions of the current CPU, one at a time. */
  async step(count = 1): Promise<void> {
    for (let done = 0; done < count; done++) await this.#run('s');
  }

  /** Stops the running guest; whoever waits in `resume` goes on. */
  interrupt(): void {
    if (this.#closed === null) this.#stream.write('\x03');
  }

  /** Lets the guest run freely; nothing may be asked afterwards. */
  async detach(): Promise<void> {
    await this.#expectOk('D');
  }

  /** Fails everything that still waits. */
  close(why = 'QEMU has gone'): void {
    if (this.#closed !== null) return;
    this.#closed = new BootImageError('machine-failed', why);
    for (const reply of this.#waiting.splice(0)) reply.reject(this.#closed);
    this.#stopped?.reject(this.#closed);
  }

  async #describe(annex: string): Promise<void> {
    let xml = '';
    for (let more = true; more;) {
      const offset = xml.length.toString(16);
      const reply = await this.#command(`qXfer:features:read:${annex}:${offset},${DESCRIPTION_CHUNK.toString(16)}`);
      xml += reply.slice(1);
      more = reply.startsWith('m');
    }
    // QEMU 7.2 has registers commented out in the middle of its list.
    xml = xml.replace(/<!--[^]*?-->/g, '');
    for (const [, name] of xml.matchAll(/<xi:include href="([^"]+)"/g)) await this.#describe(name ?? '');
    let next = this.#registers.size;
    for (const [, attributes] of xml.matchAll(/<reg\s([^>]*)>/g)) {
      const value = (key: string): string | undefined => new RegExp(`${key}="([^"]*)"`).exec(attributes ?? '')?.[1];
      const number = Number(value('regnum') ?? next);
      this.#registers.set(value('name') ?? '', { number, bytes: Number(value('bitsize') ?? 32) / 8 });
      next = number + 1;
    }
  }

  #register(name: string): StubRegister {
    const register = this.#registers.get(name) ?? this.#registers.get(NAMES_32[name] ?? '');
    if (register === undefined) throw new BootImageError('machine-failed', `QEMU's gdb stub has no register ${name}`);
    return register;
  }

  async #run(packet: string): Promise<string> {
    if (this.#closed !== null) throw this.#closed;
    this.#stopped = deferred<string>();
    this.#send(packet);
    try {
      return await this.#stopped.promise;
    } finally {
      this.#stopped = null;
    }
  }

  async #expectOk(packet: string): Promise<void> {
    const reply = await this.#command(packet);
    if (reply !== 'OK') {
      throw new BootImageError('machine-failed', `QEMU's gdb stub answered "${reply}" to ${packet.slice(0, 24)}`);
    }
  }

  async #command(packet: string): Promise<string> {
    if (this.#closed !== null) throw this.#closed;
    const reply = deferred<string>();
    this.#waiting.push(reply);
    this.#send(packet);
    return reply.promise;
  }

  #send(packet: string): void {
    this.#stream.write(`$${packet}#${checksum(packet)}`, 'latin1');
  }

  #receive(text: string): void {
    this.#rest += text;
    while (this.#closed === null) {
      const start = this.#rest.indexOf('$');
      const end = start < 0 ? -1 : this.#rest.indexOf('#', start);
      if (end < 0 || this.#rest.length < end + 3) return;
      const packet = this.#rest.slice(start + 1, end);
      this.#rest = this.#rest.slice(end + 3);
      const reply = unescape(packet);
      if (reply === null) {
        this.close("QEMU's gdb stub sent a packet that is none");
        return;
      }
      this.#stream.write('+');
      this.#dispatch(reply);
    }
  }

  /** A stop reply belongs to `#run`, unless a command waits ("?" is answered by one too). */
  #dispatch(packet: string): void {
    const command = this.#waiting.shift();
    if (command !== undefined) command.resolve(packet);
    else if (/^[TSWX]/.test(packet)) this.#stopped?.resolve(packet);
  }
}

/** Of a character that says how often the one before it is repeated (GDB manual, "Overview" of the protocol). */
const LEAST_COUNT = 29;

/** "*" repeats the character before; then "}" escapes the next one (xor 0x20). Null for a count that cannot be. */
function unescape(packet: string): string | null {
  if ([...packet.matchAll(/[^]\*([^])/g)].some(([, count = '']) => count.charCodeAt(0) < LEAST_COUNT)) return null;
  return packet
    .replace(/([^])\*([^])/g, (_match, what: string, count: string) => what.repeat(count.charCodeAt(0) - 28))
    .replace(/}([^])/g, (_match, next: string) => String.fromCharCode(next.charCodeAt(0) ^ 0x20));
}
