/**
 * The parts of v86 that this machine uses. Its own declarations (v86.d.ts) leave the inside out; names and meaning are
 * those of v86's sources (src/main.js, src/cpu.js, src/io.js), and its release build keeps them.
 */

/** The CPU: typed arrays are views on WebAssembly memory, so that writing them sets the CPU's state. */
export interface V86Cpu {
  /** Guest RAM from physical address 0. */
  readonly mem8: Uint8Array;
  readonly memory_size: Uint32Array;
  /** EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI. */
  readonly reg32: Int32Array;
  /** Segment registers in the order ES, CS, SS, DS, FS, GS. */
  readonly sreg: Uint16Array;
  readonly segment_is_null: Uint8Array;
  readonly segment_offsets: Int32Array;
  readonly segment_limits: Uint32Array;
  readonly segment_access_bytes: Uint8Array;
  readonly protected_mode: Int32Array;
  readonly gdtr_size: Int32Array;
  readonly gdtr_offset: Int32Array;
  /** CR0 to CR7. */
  readonly cr: Int32Array;
  readonly cpl: Uint8Array;
  readonly is_32: Int32Array;
  readonly stack_size_32: Int32Array;
  readonly in_hlt: Uint8Array;
  readonly flags: Int32Array;
  /** Arithmetic flags that are still to be computed; 0: `flags` holds them all. */
  readonly flags_changed: Int32Array;
  /** A linear address: the base of CS is included. */
  readonly instruction_pointer: Int32Array;
  /** Modulo 2^32. */
  readonly instruction_counter: Uint32Array;
  readonly io: {
    register_write(
      port: number,
      device: object,
      write8: ((value: number) => void) | undefined,
      write16: ((value: number) => void) | undefined,
      write32: (value: number) => void,
    ): void;
  };
  write_blob(bytes: Uint8Array, address: number): void;
  /** Forgets code compiled from [start, end). */
  jit_dirty_cache(start: number, end: number): void;
  update_state_flags(): void;
  full_clear_tlb(): void;
  /** Runs for about a millisecond; returns how long nothing is to be done, in milliseconds. */
  main_loop(): number;
  /** Called for a reset by keyboard controller, PCI reset register or the like. */
  reboot_internal(): void;
}

/** The emulator's event loop. */
export interface V86Loop {
  readonly cpu: V86Cpu;
  /** True between ticks: an interrupt from a device may then call `next_tick`. */
  idle: boolean;
  do_tick(): void;
  /** Calls `do_tick` after so many milliseconds, and forgets an earlier call. */
  next_tick(milliseconds: number): void;
}

export interface V86Emulator {
  readonly v86: V86Loop;
  add_listener(event: 'emulator-ready' | 'cpu-event-halt', listener: () => void): void;
  add_listener(event: 'serial0-output-byte', listener: (byte: number) => void): void;
  /** Where no page shows the screen, this keeps its text: one string for each line. */
  readonly screen_adapter: { get_text_screen(): string[] };
  serial_send_bytes(serial: number, bytes: Uint8Array): void;
  destroy(): Promise<void>;
}

export interface V86Settings {
  readonly wasm_fn: (imports: { readonly env: WebAssembly.ModuleImports }) => Promise<WebAssembly.Exports>;
  readonly memory_size: number;
  readonly autostart: false;
  readonly disable_keyboard: true;
  readonly disable_mouse: true;
  readonly disable_speaker: true;
  /** Anything but "ne2k" and "virtio" means no network card. */
  readonly net_device: { readonly type: string };
  readonly bios?: { readonly buffer: ArrayBuffer };
  readonly vga_bios?: { readonly buffer: ArrayBuffer };
  readonly fda?: { readonly buffer: ArrayBuffer };
  readonly hda?: { readonly buffer: ArrayBuffer };
}

export type V86Constructor = new (settings: V86Settings) => V86Emulator;
