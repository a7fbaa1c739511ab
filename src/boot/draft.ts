/** What every planner works with: the request, the header to be filled in, free memory, and the regions made so far. */
import { BootImageError } from '../bytes/error.js';
import { hex } from '../bytes/numbers.js';
import type { AddressRange } from '../bytes/ranges.js';
import { encodeCommandLine, memoryLimit } from './command-line.js';
import { carve } from './e820.js';
import { BOOT_CS, BOOT_DS, buildGdt } from './gdt.js';
import type { MemoryMap } from './memory-map.js';
import { buildIdentityMap, identityMapSize } from './page-tables.js';
import { FOUR_GIB, LOADER_MEMORY, PAGE_SIZE, Placement } from './placement.js';
import { checkPlan, inAddressOrder } from './plan-check.js';
import type { BootPlan, DescriptorTable, PlanFacts, Region, SegmentState } from './plan.js';
import type { PlanRequest } from './request.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
export type DraftFacts = Mutable<Omit<PlanFacts, 'remarks'>>;

const FIRMWARE_MEMORY = 0x100000n;

/** A plan in the making. */
export class Draft {
  readonly request: PlanRequest;
  readonly placement: Placement;
  readonly regions: Region[] = [];
  readonly facts: DraftFacts = {};
  readonly remarks: string[] = [];
  /** What the guest is told: the machine's map without what the firmware keeps. */
  memory: MemoryMap;
  acpiRsdp = 0n;

  constructor(request: PlanRequest) {
    this.request = request;
    this.memory = request.memory;
    this.placement = new Placement(request.memory);
    for (const region of request.extraRegions ?? []) {
      this.placement.claim(region.address, BigInt(region.size), region.label);
      this.regions.push(region);
    }
  }

  /** For stages at which the guest places the kernel itself. @throws BootImageError `bad-argument` */
  refuseKernelOptions(): void {
    if (this.request.kaslr === undefined && this.request.at === undefined) return;
    throw new BootImageError('bad-argument', `at the ${this.request.stage} stage the guest places the kernel itself`, {
      field: 'kaslr',
      hint: 'enter it at the kernel stage, or leave KASLR to the guest',
    });
  }

  /** Adds a region whose memory has been claimed. */
  add(region: Region): void {
    this.regions.push(region);
  }

  get commandLine(): string {
    return this.request.commandLine ?? '';
  }

  /**
   * ACPI: sets aside the memory that the machine will fill, or takes over the address that it gave. Placed as high as
   * possible below 4 GiB, like a PC's.
   */
  reserveFirmware(): void {
    const { firmwareSize, acpiRsdp } = this.request;
    if (acpiRsdp !== undefined) this.acpiRsdp = acpiRsdp;
    if (firmwareSize === undefined || firmwareSize === 0) return;
    const size = (BigInt(firmwareSize) + PAGE_SIZE - 1n) & ~(PAGE_SIZE - 1n);
    const address = this.placement.takeHighest({ size, alignment: PAGE_SIZE, max: FOUR_GIB }, 'room for ACPI tables');
    this.add({ address, size: Number(size), purpose: 'firmware', label: 'room for ACPI tables' });
    this.memory = carve(this.memory, address, size, 'acpi');
    this.acpiRsdp = address;
  }

  /**
   * Keeps clear of the last MiB of RAM below 4 GiB, where a BIOS has its tables: a loader in the guest would see that
   * in the BIOS' own map.
   */
  keepFirmwareMemory(): void {
    const last = this.placement.ram.findLast(({ end }) => end <= FOUR_GIB);
    if (last === undefined || last.end - last.start < 2n * FIRMWARE_MEMORY) return;
    this.placement.keep({ start: last.end - FIRMWARE_MEMORY, end: last.end }, "the BIOS' tables");
  }

  /** Keeps clear of the interrupt vectors and the BIOS' own data and stack below 64 KiB. */
  keepBiosData(): void {
    this.placement.keep({ start: 0n, end: LOADER_MEMORY }, "the BIOS' data");
  }

  /** The GDT of the boot protocols. At address 0 where there is RAM: a CPU after reset takes its GDT from there. */
  addGdt(code: SegmentState, data: SegmentState, min = 0n): DescriptorTable {
    const bytes = buildGdt(code, data);
    const size = BigInt(bytes.length);
    const base = this.placement.takeLowest({ size, alignment: 8n, min, max: FOUR_GIB }, 'the GDT');
    const label = `GDT with ${hex(BOOT_CS)} (code) and ${hex(BOOT_DS)} (data)`;
    this.add({ address: base, size: bytes.length, bytes, purpose: 'descriptor-table', label });
    return { base, limit: bytes.length - 1 };
  }

  /** Page tables that map the first 4 GiB and everything in `ranges` onto themselves. @returns the top table's address */
  addIdentityMap(ranges: readonly AddressRange[]): bigint {
    const size = BigInt(identityMapSize(ranges));
    const address = this.placement.takeLowest({ size, alignment: PAGE_SIZE, max: FOUR_GIB }, 'the identity map');
    this.add({
      address,
      size: Number(size),
      bytes: buildIdentityMap(address, ranges),
      purpose: 'page-table',
      label: 'identity map in 2 MiB pages',
    });
    return address;
  }

  /** Writes the command line. @throws BootImageError `does-not-fit`, `bad-argument` */
  addCommandLine(limit: number, min: bigint, max: bigint): bigint {
    const bytes = encodeCommandLine(this.commandLine, limit);
    const size = BigInt(bytes.length);
    const address = this.placement.takeLowest({ size, alignment: 16n, min, max }, 'the command line');
    this.add({ address, size: bytes.length, bytes, purpose: 'command-line', label: 'command line' });
    this.facts.commandLine = { address, text: this.commandLine };
    return address;
  }

  /**
   * Places the initrd as high as the kernel allows: below `initrdLimit`, below 4 GiB and below `mem=`; higher only when
   * there is no other place and `above4G` says that the kernel looks there.
   * @param initrdLimit one past initrd_addr_max
   * @throws BootImageError `does-not-fit`
   */
  addInitrd(initrdLimit: bigint, above4G: boolean): void {
    const { initrd } = this.request;
    if (initrd === undefined || initrd.length === 0) return;
    const limit = memoryLimit(this.commandLine) ?? 1n << 64n;
    const low = [initrdLimit, limit, FOUR_GIB].reduce((a, b) => (a < b ? a : b));
    // initrd pages are freed one by one: the last one must not be shared.
    const size = (BigInt(initrd.length) + PAGE_SIZE - 1n) & ~(PAGE_SIZE - 1n);
    const wanted = { size, alignment: PAGE_SIZE, min: 0x100000n };
    const high = above4G && this.placement.highest({ ...wanted, max: low }) === null ? limit : low;
    const address = this.placement.takeHighest(
      { ...wanted, max: high },
      'the initrd',
      high < (this.placement.ram.at(-1)?.end ?? 0n)
        ? 'the kernel reaches no initrd above that; use a smaller one or, with less RAM than that, give the guest more'
        : 'give the guest more memory',
    );
    this.add({ address, size: Number(size), bytes: initrd, purpose: 'initrd', label: 'initrd' });
    this.facts.initrd = { address, size: initrd.length };
  }

  finish(plan: Omit<BootPlan, 'memory' | 'regions' | 'facts'>): BootPlan {
    return checkPlan({
      ...plan,
      memory: this.request.memory,
      regions: inAddressOrder(this.regions),
      facts: { ...this.facts, remarks: this.remarks },
    });
  }
}
