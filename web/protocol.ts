/** What page and worker tell each other. Everything here survives structured cloning. */
import type {
  ExtractRequest,
  Fact,
  FilePart,
  GuestExit,
  InspectDocument,
  MemoryPart,
  PlanDocument,
  Protocol,
  Report,
  Stage,
  Stripe,
} from '../src/index.js';

/** A setup header field as the file has it, with what boot.rst says about it. */
export interface HeaderField {
  readonly name: string;
  readonly offset: number;
  readonly value: string;
  readonly access: string;
  readonly meaning: string;
}

export type Pair = readonly [heading: string, text: string];

/** The kernel inside, when it was decompressed. */
export interface KernelView {
  readonly facts: readonly Pair[];
  readonly memory: readonly MemoryPart[];
  readonly notes: readonly (readonly [owner: string, name: string, value: string])[];
  readonly relocatable: boolean;
  readonly symbols: boolean;
  readonly config: boolean;
}

export interface ImageView {
  readonly document: InspectDocument;
  readonly layout: readonly FilePart[];
  readonly facts: readonly Fact[];
  readonly fields: readonly HeaderField[];
  readonly efi: readonly Pair[];
  readonly uki: readonly Pair[];
  readonly kernel: KernelView | null;
  /** The kernel inside a unified kernel image. */
  readonly inner: ImageView | null;
}

/** How the user wants to start. */
export interface StartChoice {
  readonly stage: Stage;
  /** Null: what fits the stage and the kernel. */
  readonly protocol: Protocol | null;
  /** "512M" */
  readonly memory: string;
  readonly commandLine: string;
  /** Null: no KASLR by the host. An empty seed takes the browser's cryptographic source. */
  readonly kaslrSeed: string | null;
  readonly initrd: 'none' | 'demo' | 'shell' | File;
  /** xen-pv only. */
  readonly role: 'dom0' | 'domu';
}

export interface PlanView {
  readonly stripes: readonly Stripe[];
  readonly facts: readonly Pair[];
  /** What `bzelf plan --json` prints. */
  readonly document: PlanDocument;
}

export interface ExtractView {
  readonly data: Blob;
  readonly sha256: string | null;
  /** Where the kernel went. */
  readonly note: string | null;
}

/** Milliseconds; null for what has not happened. */
export interface GuestTimes {
  readonly read: number;
  readonly decompress: number;
  readonly plan: number;
  readonly place: number;
  readonly firstOutput: number | null;
  readonly total: number;
  readonly instructions: number;
}

export interface GuestReport {
  readonly exit: GuestExit;
  readonly times: GuestTimes;
}

/** What the page asks of a worker. A worker reads one file; another file gets another worker. */
export interface Calls {
  /** What the file says; its payload is not touched. */
  open: (file: File) => ImageView;
  /** The same with the kernel inside. */
  recover: () => ImageView;
  verify: () => Report;
  extract: (request: Omit<ExtractRequest, 'limit'>) => ExtractView;
  plan: (choice: StartChoice) => PlanView;
  demoInitramfs: () => Blob;
  /** Runs until the guest ends. */
  boot: (file: File, choice: StartChoice) => GuestReport;
  /** Bytes for the guest's serial port. */
  write: (bytes: Uint8Array) => null;
  stop: () => null;
}

export type CallName = keyof Calls;

export type WorkerHandlers = {
  readonly [Name in CallName]: (
    ...parameters: Parameters<Calls[Name]>
  ) => ReturnType<Calls[Name]> | Promise<ReturnType<Calls[Name]>>;
};

/** An error as the page shows it: one line. */
export interface Failure {
  readonly line: string;
}

export interface Request {
  readonly id: number;
  readonly name: CallName;
  readonly parameters: readonly unknown[];
}

/** What a worker says unasked, while a guest runs. */
export type GuestEvent =
  | { readonly event: 'console'; readonly bytes: Uint8Array }
  | { readonly event: 'times'; readonly times: GuestTimes }
  | { readonly event: 'note'; readonly line: string };

export type Message =
  { readonly id: number; readonly result: unknown } | { readonly id: number; readonly failure: Failure } | GuestEvent;
