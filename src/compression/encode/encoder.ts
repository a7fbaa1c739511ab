/** Compresses `input` into one stream, as the kernel's build would. */
export type Encoder = (input: Uint8Array, signal: AbortSignal | undefined) => Promise<Uint8Array>;
