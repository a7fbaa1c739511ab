/** WebAssembly memories by their buffers: what one module has left in its memory, another may work on without a copy. */
const memories = new WeakMap<ArrayBufferLike, WebAssembly.Memory>();

/** Remembers a memory that will not grow any more. */
export function keepMemory(memory: WebAssembly.Memory): void {
  memories.set(memory.buffer, memory);
}

/** The memory that a buffer is; null if it is none, or none that was kept. */
export function memoryOf(buffer: ArrayBufferLike): WebAssembly.Memory | null {
  return memories.get(buffer) ?? null;
}
