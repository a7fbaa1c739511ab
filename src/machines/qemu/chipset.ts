/**
 * What firmware programs into the chipset before ACPI can work, by machine type: the registers that QEMU's tables
 * take for granted. Interrupt routes and the resources of PCI devices are the kernel's to choose, by these tables.
 */
import type { Qmp } from './qmp.js';
import type { QemuMachineType } from './ram-layout.js';

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;

interface PciWrite {
  /** On bus 0. */
  readonly device: number;
  readonly function: number;
  readonly register: number;
  readonly size: 'b' | 'h' | 'w';
  readonly value: number;
  /** What it does. */
  readonly about: string;
}

interface PortWrite {
  readonly port: number;
  readonly value: number;
  readonly about: string;
}

/**
 * Both 8259A interrupt controllers initialised and masked (SeaBIOS's pic_setup). On a microvm kernels leave them alone,
 * since its ACPI is hardware-reduced; as they come out of reset, IRQ 0 would then arrive as a divide error.
 */
const INTERRUPT_CONTROLLERS: readonly PortWrite[] = [
  { port: 0x20, value: 0x11, about: 'master: initialise' },
  { port: 0x21, value: 0x08, about: 'master: vectors from 8' },
  { port: 0x21, value: 0x04, about: 'master: slave at IRQ 2' },
  { port: 0x21, value: 0x01, about: 'master: 8086 mode' },
  { port: 0xa0, value: 0x11, about: 'slave: initialise' },
  { port: 0xa1, value: 0x70, about: 'slave: vectors from 0x70' },
  { port: 0xa1, value: 0x02, about: 'slave: cascaded to IRQ 2' },
  { port: 0xa1, value: 0x01, about: 'slave: 8086 mode' },
  { port: 0x21, value: 0xfb, about: 'master: all masked but the cascade' },
  { port: 0xa1, value: 0xff, about: 'slave: all masked' },
];
const CHIPSETS: Readonly<
  Record<QemuMachineType, { readonly pci: readonly PciWrite[]; readonly ports: readonly PortWrite[] }>
> = {
  q35: {
    pci: [
      { device: 0, function: 0, register: 0x60, size: 'w', value: 0xb0000001, about: 'PCIEXBAR: at 0xb0000000, on' },
      { device: 31, function: 0, register: 0x40, size: 'w', value: 0x601, about: 'PMBASE: I/O 0x600' },
      { device: 31, function: 0, register: 0x44, size: 'b', value: 0x80, about: 'ACPI_CNTL: on, SCI is IRQ 9' },
    ],
    ports: [],
  },
  pc: {
    pci: [
      { device: 1, function: 3, register: 0x40, size: 'w', value: 0x601, about: 'PMBASE: I/O 0x600' },
      { device: 1, function: 3, register: 0x80, size: 'b', value: 0x01, about: 'PMREGMISC: on' },
    ],
    ports: [],
  },
  microvm: { pci: [], ports: INTERRUPT_CONTROLLERS },
};

/** Programs the chipset through the monitor while the CPU stands still. */
export async function programChipset(qmp: Qmp, type: QemuMachineType): Promise<void> {
  const { pci, ports } = CHIPSETS[type];
  const out = (size: string, port: number, value: number): Promise<string> =>
    qmp.monitor(`o /${size} 0x${port.toString(16)} 0x${value.toString(16)}`);
  for (const { device, function: fn, register, size, value } of pci) {
    await out('w', CONFIG_ADDRESS, (0x80000000 | (device << 11) | (fn << 8) | (register & 0xfc)) >>> 0);
    await out(size, CONFIG_DATA + (register & 3), value);
  }
  for (const { port, value } of ports) await out('b', port, value);
}
