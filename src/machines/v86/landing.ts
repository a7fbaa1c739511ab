/** How control comes back from the BIOS: it starts this boot sector, which tells the host by a port and then waits. */

/** An I/O port that nothing in v86's PC answers to. */
export const LANDING_PORT = 0x5b20;

const BOOT_SECTOR = Uint8Array.of(
  0xfa, // cli
  0xba, // mov $LANDING_PORT, %dx
  LANDING_PORT & 0xff,
  LANDING_PORT >> 8,
  0x66, // outl %eax, %dx
  0xef,
  0xf4, // hlt
  0xeb, // jmp to the hlt
  0xfd,
);

/** A hard disk of one cylinder whose first sector is the boot sector. */
export function landingDisk(): ArrayBuffer {
  const disk = new Uint8Array(16 * 63 * 512);
  disk.set(BOOT_SECTOR);
  disk[510] = 0x55;
  disk[511] = 0xaa;
  return disk.buffer;
}
