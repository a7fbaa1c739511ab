/** A QEMU that stands still before its first instruction, with its memory, monitor and gdb stub at hand. */
import { BootImageError } from '../../bytes/error.js';
import type { BootPlan, Region } from '../../boot/plan.js';
import { installAcpiTables, type AcpiArea } from './acpi-tables.js';
import { programChipset } from './chipset.js';
import { FwCfg } from './fw-cfg.js';
import { GdbStub } from './gdb-stub.js';
import { GuestRam } from './guest-ram.js';
import { CHANNEL_OPTIONS, LOG_PATH, QemuProcess, RAM_PATH, type ProcessEnd } from './qemu-process.js';
import { Qmp, type QmpEvent } from './qmp.js';
import type { QemuMachineType, RamLayout } from './ram-layout.js';

/** The extended BIOS data area below 640 KiB, where kernels look for the RSDP that no boot protocol hands them. */
const EBDA = 0x9fc00n;
/** Word in the BIOS data area with the EBDA's segment. */
const EBDA_SEGMENT = 0x40en;
/** Below it the BIOS and the image's setup have run: QEMU has to know when code there changes. */
const LOW_MEMORY_END = 0xa0000n;
/** IBM PC BIOS's fixed address of the bootstrap loader (INT 19h), F000:E6F2: POST is done when control comes there. */
const BOOTSTRAP = 0xfe6f2n;

/** For QEMU's start, its answers and a BIOS' self-test; a busy host may take long for each. */
const PATIENCE_MS = 30_000;

export interface SessionOptions {
  readonly binary: string;
  readonly type: QemuMachineType;
  readonly accel: 'tcg' | 'kvm';
  readonly smp: number;
  /** A PC BIOS will run. */
  readonly bios: boolean;
  readonly extraArgs: readonly string[];
  readonly layout: RamLayout;
  /** Bytes that will certainly be written to the RAM file. */
  readonly needed: number;
  readonly onConsole: (bytes: Uint8Array) => void;
  readonly onEvent?: (event: QmpEvent) => void;
  /** Ends QEMU as long as it is not ready; whoever has the session ends it afterwards. */
  readonly signal?: AbortSignal | undefined;
}

/** Devices of microvm that kernels find the time with, and that its ACPI does not replace. */
const MACHINE_PROPERTIES: Readonly<Record<QemuMachineType, string>> = {
  q35: '',
  pc: '',
  microvm: ',acpi=on,pit=on,pic=on,rtc=on,isa-serial=on',
};

/**
 * A microvm has no clock to compare the TSC with but the i8254, and the jitter of emulation on a busy host then fails
 * the kernel's calibration for good. Counting instructions removes the jitter, but lets a second processor starve as
 * long as the first is busy (QEMU 7.2); `kernelParameters` helps there.
 */
const STEADY_CLOCK = ['-icount', 'shift=4'];

/** Where a microvm's own firmware is qboot, it offers no BIOS services; SeaBIOS for PCs runs there too. */
const MICROVM_BIOS = ['-bios', 'bios.bin'];

function commandLine({ type, accel, smp, bios, extraArgs, layout }: SessionOptions): string[] {
  const size = `${String((layout.low + layout.high) >> 20n)}M`;
  const hole = layout.high === 0n ? '' : `,max-ram-below-4g=${String(layout.low)}`;
  return [
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-S'],
    ...['-machine', `${type},memory-backend=ram${MACHINE_PROPERTIES[type]}${hole}`, '-accel', accel],
    ...['-m', size, '-object', `memory-backend-file,id=ram,size=${size},mem-path=${RAM_PATH},share=on`],
    ...['-smp', String(smp), '-d', 'cpu_reset', '-D', LOG_PATH],
    ...CHANNEL_OPTIONS,
    ...['-serial', 'chardev:console'],
    ...(type === 'microvm' && accel === 'tcg' && smp === 1 ? STEADY_CLOCK : []),
    ...(type === 'microvm' ? [] : ['-vga', bios ? 'std' : 'none']),
    ...(type === 'microvm' && bios ? MICROVM_BIOS : []),
    ...extraArgs,
  ];
}

export class QemuSession {
  readonly options: SessionOptions;
  readonly ram: GuestRam;
  readonly process: QemuProcess;
  readonly qmp: Qmp;
  readonly gdb: GdbStub;
  /** Resolves when QEMU has ended; everything is released by then. Never rejects. */
  readonly ended: Promise<ProcessEnd>;

  private constructor(options: SessionOptions) {
    this.options = options;
    this.ram = new GuestRam(options.layout, options.needed);
    this.process = new QemuProcess(options.binary, commandLine(options), this.ram.fd, options.onConsole);
    this.qmp = new Qmp(this.process.monitor, (event) => options.onEvent?.(event));
    this.gdb = new GdbStub(this.process.gdb);
    this.ended = this.process.ended.then((end) => {
      this.qmp.close();
      this.gdb.close();
      this.ram.close();
      return end;
    });
  }

  /**
   * Starts QEMU and waits until it stands ready.
   * @throws BootImageError `machine-failed` with what QEMU said, `aborted`
   */
  static async start(options: SessionOptions): Promise<QemuSession> {
    const { signal } = options;
    const session = new QemuSession(options);
    const abort = (): void => void session.stop();
    signal?.addEventListener('abort', abort);
    if (signal?.aborted === true) abort();
    try {
      await session.guarded(async () => {
        await session.qmp.begin();
        await session.gdb.begin();
      });
      return session;
    } catch (error) {
      if (signal?.aborted !== true) throw error;
      throw new BootImageError('aborted', 'stopped before QEMU was ready', { cause: error });
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /**
   * Runs `work`; QEMU is gone after any error.
   * @param patience milliseconds after which QEMU counts as hanging; null: as long as it takes.
   * @throws BootImageError `machine-failed` with what QEMU said, if it has gone; what `work` throws otherwise.
   */
  async guarded<T>(work: () => Promise<T>, patience: number | null = PATIENCE_MS): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const hanging = new Promise<never>((_resolve, reject) => {
      if (patience === null) return;
      timer = setTimeout(
        () => reject(new BootImageError('machine-failed', `QEMU made no progress within ${String(patience / 1000)} s`)),
        patience,
      );
    });
    try {
      return await Promise.race([work(), hanging]);
    } catch (error) {
      // QEMU's channels close a moment before it has ended.
      const gone = await Promise.race([this.ended, new Promise<null>((resolve) => setTimeout(resolve, 50, null))]);
      if (gone === null) await this.stop();
      if (gone !== null && error instanceof BootImageError && error.code === 'machine-failed') {
        throw this.process.failure(gone);
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends QEMU. Safe to call twice. */
  async stop(): Promise<void> {
    await this.process.kill();
    await this.ended;
  }

  /** Waits for the BIOS to finish its self-test; the CPU then stands at the bootstrap loader's address, in real mode. */
  async runBios(): Promise<void> {
    await this.gdb.setBreakpoint(BOOTSTRAP);
    await this.gdb.resume();
    await this.gdb.clearBreakpoint(BOOTSTRAP);
  }

  /** Writes regions while the guest's earlier code still lives in QEMU's translation cache. */
  async placeLive(regions: readonly Region[]): Promise<void> {
    this.ram.place(regions, false);
    for (const { address, size, bytes } of regions) {
      if (address >= LOW_MEMORY_END) continue;
      const whole = new Uint8Array(size);
      if (bytes !== undefined) whole.set(bytes);
      await this.gdb.writeMemory(address, whole);
    }
  }

  /**
   * Does what firmware would have done for ACPI, in place of firmware: the plan's empty `firmware` region, else RAM
   * behind the plan's, receives the tables with the root pointer first; a copy of that stands in the EBDA.
   * @returns false if the guest has to do without: no room, or a machine without tables.
   */
  async supplyAcpi(plan: BootPlan): Promise<boolean> {
    const region = plan.regions.find(({ purpose, bytes }) => purpose === 'firmware' && bytes === undefined);
    const { spare } = this.options.layout;
    const area: AcpiArea = region === undefined ? spare : { address: region.address, size: BigInt(region.size) };
    if (area.size === 0n || spare.size === 0n) return false;
    await programChipset(this.qmp, this.options.type);
    // The tables are read through memory that the guest is not told of, and which is clear again afterwards.
    const fwCfg = new FwCfg(this.qmp, this.ram, spare.address + spare.size / 2n);
    const rsdp = await installAcpiTables(fwCfg, this.ram, area);
    if (rsdp === null) return false;
    const taken = plan.regions.some(
      ({ address, size }) => address < EBDA + BigInt(rsdp.length) && EBDA < address + BigInt(size),
    );
    if (!taken) {
      this.ram.write(EBDA, rsdp);
      this.ram.write(EBDA_SEGMENT, Uint8Array.of(Number(EBDA >> 4n) & 0xff, Number(EBDA >> 12n)));
    }
    return true;
  }
}
