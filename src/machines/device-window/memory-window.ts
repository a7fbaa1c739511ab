/** Memory of another machine as this host sees it: through an aperture that may have to be moved. */

/** Bytes that one access carries. */
export type AccessWidth = 1 | 2 | 4 | 8;

/** The widest access; apertures are aligned to it so that every width fits. */
export const WIDEST_ACCESS = 8;

export interface MemoryWindow {
  /** Guest physical address of the memory's first byte; a multiple of 8. */
  readonly address: bigint;
  /** Bytes of memory that can be reached from `address`; a multiple of 8. */
  readonly size: number;
  /** Bytes that are seen at once; a multiple of 8. The whole memory if there is nothing to move. */
  readonly aperture: number;
  /**
   * Moves the aperture.
   * @param offset the multiple of `aperture` that is to be seen, below `size`.
   * @returns what is seen there: `aperture` bytes, or what is left up to `size`; aligned to 8 bytes. It is used only
   * until the next call.
   */
  expose(offset: number): Uint8Array | Promise<Uint8Array>;
  /**
   * Makes sure that bytes can be written without running out of room, where that can happen; asked for everything
   * before anything is written.
   * @throws BootImageError `file-unwritable`
   */
  reserve?(offset: number, length: number): void;
}
