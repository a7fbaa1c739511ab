/**
 * A module of Node's, where there is one. Asked for through the global `process`, so that nothing here names a `node:`
 * module that a bundler for browsers would have to resolve.
 */
interface NodeModules {
  readonly 'node:fs': typeof import('node:fs');
  readonly 'node:zlib': typeof import('node:zlib');
}

interface Host {
  readonly process?: { readonly getBuiltinModule?: (name: string) => unknown };
}

/** null outside Node. */
export function nodeModule<Name extends keyof NodeModules>(name: Name): NodeModules[Name] | null {
  return ((globalThis as Host).process?.getBuiltinModule?.(name) as NodeModules[Name] | undefined) ?? null;
}
