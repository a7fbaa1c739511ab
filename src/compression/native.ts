/**
 * Node's zlib, where there is one. Asked for through the global `process`, so that nothing here names a `node:` module
 * that a bundler for browsers would have to resolve.
 */
type Zlib = typeof import('node:zlib');

interface Host {
  readonly process?: { readonly getBuiltinModule?: (name: string) => unknown };
}

/** null outside Node. */
export function nodeZlib(): Zlib | null {
  return ((globalThis as Host).process?.getBuiltinModule?.('node:zlib') as Zlib | undefined) ?? null;
}
