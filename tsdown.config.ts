import { defineConfig } from 'tsdown';

export default defineConfig([
  {
    entry: { index: 'src/index.ts', node: 'src/node.ts' },
    platform: 'neutral',
    dts: true,
    clean: false,
    deps: { neverBundle: [/^node:/] },
  },
  {
    entry: { cli: 'src/cli/main.ts', 'scan-worker': 'src/node/scan-worker.ts' },
    platform: 'node',
    // Node's start is most of a short command's time: CommonJS loads faster than modules.
    format: 'cjs',
    shims: true,
    deps: { alwaysBundle: ['commander'] },
    target: 'node20',
    dts: false,
    clean: false,
    outDir: 'dist/cli',
  },
]);
