/** The serial console: xterm.js, loaded when the first guest starts. */
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';

const SCROLLBACK = 10_000;

export class ConsoleView {
  readonly #terminal = new Terminal({
    scrollback: SCROLLBACK,
    fontSize: 13,
    fontFamily: "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
    screenReaderMode: true,
    theme: { background: '#101317', foreground: '#dfe3e6' },
  });
  readonly #fit = new FitAddon();
  readonly #observer = new ResizeObserver(() => this.#fit.fit());
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];

  constructor(element: HTMLElement, onInput: (bytes: Uint8Array) => void) {
    const encoder = new TextEncoder();
    // Tab is the guest's; without this nobody would leave the console by keyboard.
    this.#terminal.attachCustomKeyEventHandler(({ key, shiftKey }) => key !== 'Tab' || !shiftKey);
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.open(element);
    this.#terminal.onData((text) => onInput(encoder.encode(text)));
    this.#fit.fit();
    this.#observer.observe(element);
  }

  write(bytes: Uint8Array): void {
    this.#chunks.push(bytes as Uint8Array<ArrayBuffer>);
    this.#terminal.write(bytes);
  }

  focus(): void {
    this.#terminal.focus();
  }

  /** Everything that the guest has said. */
  log(): Blob {
    return new Blob(this.#chunks, { type: 'text/plain' });
  }

  reset(): void {
    this.#chunks.length = 0;
    this.#terminal.reset();
  }

  close(): void {
    this.#observer.disconnect();
    this.#terminal.dispose();
  }
}
