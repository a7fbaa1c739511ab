// node v86-bzimage.mjs KERNEL INITRD COMMAND-LINE: starts v86 with its own option bzimage; the serial port goes to
// standard output.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { V86 } from 'v86';

const [kernel, initrd, cmdline] = process.argv.slice(2);
const file = (path) => ({ buffer: new Uint8Array(readFileSync(path)).buffer });
const wasm = await WebAssembly.compile(readFileSync(createRequire(import.meta.url).resolve('v86/build/v86.wasm')));
const emulator = new V86({
  wasm_fn: async (imports) => (await WebAssembly.instantiate(wasm, imports)).exports,
  bios: file('/usr/share/seabios/bios.bin'),
  memory_size: 128 << 20,
  bzimage: file(kernel),
  initrd: file(initrd),
  cmdline,
  autostart: true,
  disable_speaker: true,
});
emulator.add_listener('serial0-output-byte', (byte) => process.stdout.write(String.fromCharCode(byte)));
