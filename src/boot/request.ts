/** What a caller asks of the planner. */
import type { KernelMove } from '../kernel/relocate.js';
import type { Region, Protocol, Stage } from './plan.js';
import type { MemoryMap } from './memory-map.js';
import type { XenRole } from './xen-layout.js';

export interface PlanRequest {
  readonly stage: Stage;
  /** Absent: linux16 for setup and hook; linux32 or linux64, by the kernel's class, for the other stages. */
  readonly protocol?: Protocol;
  /** What the machine has. In address order, disjoint. */
  readonly memory: MemoryMap;
  /** Latin-1 text; empty by default. */
  readonly commandLine?: string;
  /** Not copied: the plan's region is a view on it. */
  readonly initrd?: Uint8Array;
  /**
   * Host KASLR, at the kernel stage. `seed` makes it repeatable; null takes the platform's cryptographic source.
   */
  readonly kaslr?: { readonly seed: string | null };
  /** Kernel stage: exactly here, and nowhere else. Excludes `kaslr`. */
  readonly at?: KernelMove;
  /**
   * Bytes to set aside for ACPI tables that the machine writes itself: a zeroed region of purpose `firmware`, told to
   * the guest as ACPI memory, at whose first byte acpi_rsdp_addr (or start_info's rsdp_paddr) points.
   */
  readonly firmwareSize?: number;
  /** Physical address of an RSDP that exists already. Excludes `firmwareSize`. */
  readonly acpiRsdp?: bigint;
  /** Regions of the machine's own, already placed (ACPI tables, say); everything else keeps clear of them. */
  readonly extraRegions?: readonly Region[];
  /** xen-pv only: which domain is built; domU by default. */
  readonly role?: XenRole;
  /**
   * True gives the planner the kernel's buffer: relocations may be applied in place, so that `Vmlinux.raw` no longer
   * holds the kernel as it was linked. Otherwise a displaced kernel is relocated in a copy.
   */
  readonly consumeKernel?: boolean;
}
