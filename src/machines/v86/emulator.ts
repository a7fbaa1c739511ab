/** Makes an emulated PC that stands still. */
import { BootImageError } from '../../bytes/error.js';
import type { V86Constructor, V86Emulator } from './internals.js';
import { landingDisk } from './landing.js';

/** What v86 is made of; files are read outside (node.ts for Node), so that this also runs in browsers. */
export interface V86Parts {
  /** The class V86 of libv86.mjs. */
  readonly V86: V86Constructor;
  /** v86.wasm. */
  readonly wasm: WebAssembly.Module;
}

export interface V86Bios {
  /** SeaBIOS as built for QEMU (bios.bin). */
  readonly bios: Uint8Array;
  /** Without it the guest has no VGA text console. */
  readonly vgaBios: Uint8Array | null;
}

/** A fresh ArrayBuffer, which v86 wants for its files. */
function ownBuffer(bytes: Uint8Array): { readonly buffer: ArrayBuffer } {
  return { buffer: new Uint8Array(bytes).buffer };
}

/**
 * @param memory bytes of guest RAM, below 2 GiB, a multiple of 128 KiB or rounded up to one.
 * @param firmware null for a PC without a BIOS; else it will start the boot sector of landing.ts.
 * @param note what v86 has to say before it gives up.
 * @throws BootImageError `machine-failed`
 */
export async function createEmulator(
  parts: V86Parts,
  memory: bigint,
  firmware: V86Bios | null,
  note: (line: string) => void,
): Promise<V86Emulator> {
  return new Promise((resolve, reject) => {
    const emulator = new parts.V86({
      wasm_fn: async (imports) => {
        try {
          const log = (address: number, length: number): void => {
            const text = new Uint8Array((instance.exports['memory'] as WebAssembly.Memory).buffer, address, length);
            note(`v86: ${new TextDecoder().decode(text).replaceAll('\n', ' ')}`);
          };
          const env = { ...imports.env, console_log_from_wasm: log };
          const instance = await WebAssembly.instantiate(parts.wasm, { env });
          return instance.exports;
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error);
          reject(new BootImageError('machine-failed', `v86 did not start: ${reason}`, { cause: error }));
          // v86 waits for ever: a rejection here would reach nobody who handles it.
          return new Promise<never>(() => undefined);
        }
      },
      memory_size: Number(memory),
      autostart: false,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      net_device: { type: 'none' },
      ...(firmware === null ? {} : { bios: ownBuffer(firmware.bios), hda: { buffer: landingDisk() } }),
      ...(firmware?.vgaBios ? { vga_bios: ownBuffer(firmware.vgaBios) } : {}),
    });
    emulator.add_listener('emulator-ready', () => resolve(emulator));
  });
}
