/**
 * BootPlan: the one contract between "what to boot" and "where to boot it".
 *
 * Pure data: memory regions and a CPU state. A machine obeys it without looking inside an image; whatever can be
 * refused was refused before a plan existed (see `checkPlan` in plan-check.ts).
 */
import type { MemoryMap } from './memory-map.js';

/** The stage at which the guest starts running the image's code. */
export type Stage = 'setup' | 'decompressor' | 'hook' | 'kernel';

/** linux16 is the protocol of the setup stage; the others stand in boot.rst, pvh.rst and Xen's public headers. */
export type Protocol = 'linux16' | 'linux32' | 'linux64' | 'pvh' | 'xen-pv';

export type RegionPurpose =
  | 'kernel' // a segment of vmlinux, or the whole decompressed kernel
  | 'bss' // memory that the program headers promise to be zero
  | 'stage' // the protected-mode part of a bzImage
  | 'setup' // the real-mode part of a bzImage
  | 'boot-params' // the zero page
  | 'command-line'
  | 'initrd'
  | 'setup-data'
  | 'start-info' // hvm_start_info or Xen's start_info
  | 'descriptor-table'
  | 'page-table'
  | 'stack'
  | 'p2m' // Xen PV: physical-to-machine list
  | 'firmware' // ACPI tables and the like that the host supplies
  | 'trampoline'
  | 'reserved'; // kept free for the guest, zeroed

/** A piece of guest memory. What `bytes` does not cover, up to `size`, is zero and must be cleared. */
export interface Region {
  /** Guest physical address. */
  readonly address: bigint;
  /** Bytes of guest memory; never 0. */
  readonly size: number;
  /** At most `size` bytes; a view on shared data that nobody writes to. Absent: all zero. */
  readonly bytes?: Uint8Array;
  readonly purpose: RegionPurpose;
  /** For people: "text", "segment 2 (rw-)", "command line". */
  readonly label: string;
}

/** `real`: 16-bit real mode; `protected`: 32-bit, paging as cr0 says; `long`: 64-bit with paging. */
export type CpuMode = 'real' | 'protected' | 'long';

/** General registers by their 64-bit names, whatever the mode; those not named are zero. Values below 2^16, 2^32 or 2^64 by mode. */
export interface GeneralRegisters {
  readonly rax?: bigint;
  readonly rbx?: bigint;
  readonly rcx?: bigint;
  readonly rdx?: bigint;
  readonly rsi?: bigint;
  readonly rdi?: bigint;
  readonly rbp?: bigint;
  readonly rsp?: bigint;
}

/** A segment register with its hidden part, as the descriptor table in memory also has it. */
export interface SegmentState {
  readonly selector: number;
  readonly base: bigint;
  /** Byte granular: 0xffffffff for a flat segment. */
  readonly limit: number;
  /** Bits 0-7: the descriptor's type, S, DPL, P; bits 12-15: AVL, L, D/B, G (Intel SDM vol. 3, 3.4.5). */
  readonly access: number;
}

export interface DescriptorTable {
  /** Linear address. */
  readonly base: bigint;
  readonly limit: number;
}

export interface CpuState {
  readonly mode: CpuMode;
  readonly registers: GeneralRegisters;
  /** Instruction pointer: an offset in `cs`. */
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly cs: SegmentState;
  /** ds, es, ss, fs, gs. */
  readonly data: SegmentState;
  readonly cr0: bigint;
  /** Guest physical address of the top page table; 0 without paging. */
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly gdt: DescriptorTable | null;
}

/** What was decided, for people and for later stages (comparison, `prove`, notes in reports). Addresses are guest physical unless said. */
export interface PlanFacts {
  /** vmlinux's lowest physical address after placement, if the kernel itself is placed. */
  readonly kernelBase?: bigint;
  /** Physical and virtual displacement against the addresses the kernel was linked for. */
  readonly physicalDelta?: bigint;
  readonly virtualDelta?: bigint;
  readonly kaslr?: { readonly seed: string | null };
  readonly bootParams?: bigint;
  readonly commandLine?: { readonly address: bigint; readonly text: string };
  readonly initrd?: { readonly address: bigint; readonly size: number };
  readonly startInfo?: bigint;
  /** Xen PV: the arrangement under Xen's own labels, virtual addresses. */
  readonly arrangement?: readonly { readonly label: string; readonly start: bigint; readonly end: bigint }[];
  /** What the reader should know, one sentence each. */
  readonly remarks: readonly string[];
}

/**
 * For `hook` plans: the guest runs the image's own setup, which jumps to `address` through code32_start; there the
 * stub (a region of the plan) hands control to the host, which asks for the plan to resume with.
 */
export interface HookPoint {
  /** Guest physical address that setup jumps to; the stub's first byte. */
  readonly address: bigint;
  /** The unused I/O port (32-bit write) by which the stub tells the host ESI, the address of boot_params. */
  readonly port: number;
}

export interface BootPlan {
  readonly stage: Stage;
  readonly protocol: Protocol;
  /** 32 or 64: what the kernel needs of the CPU. */
  readonly bits: 32 | 64;
  readonly memory: MemoryMap;
  /** In address order, disjoint, inside usable RAM. */
  readonly regions: readonly Region[];
  readonly cpu: CpuState;
  /**
   * `none`: no firmware code runs and `cpu` is the state at reset. `bios`: the machine lets a PC BIOS initialise itself
   * first, then places the regions and sets `cpu`; interrupt services stay available.
   */
  readonly firmware: 'none' | 'bios';
  readonly hook: HookPoint | null;
  readonly facts: PlanFacts;
}
