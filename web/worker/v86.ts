/** v86 in a browser: fetched and compiled when the first guest starts. */
import wasmAddress from 'v86/build/v86.wasm?url';
import { BootImageError, createV86Machine, type Machine, type V86Parts } from '../../src/index.js';

async function loadParts(): Promise<V86Parts> {
  try {
    const [module, response] = await Promise.all([import('v86'), fetch(wasmAddress)]);
    // Not compileStreaming: static servers that do not know WebAssembly's media type are common.
    const wasm = await WebAssembly.compile(await response.arrayBuffer());
    return { V86: module.V86 as unknown as V86Parts['V86'], wasm };
  } catch (error) {
    throw new BootImageError('tool-missing', 'the emulator v86 cannot be loaded', {
      hint: 'reload the page',
      cause: error,
    });
  }
}

export function createPageMachine(): Machine {
  return createV86Machine({
    load: loadParts,
    loadBios: () =>
      Promise.reject(
        new BootImageError('tool-missing', 'this start needs a BIOS, and the page has none', {
          field: 'enter',
          hint: 'enter the image at its decompressor or kernel, or use bzelf boot',
        }),
      ),
  });
}
