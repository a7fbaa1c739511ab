import { defineConfig } from 'tsdown';

export default defineConfig([
  {
    entry: { index: 'src/index.ts', node: 'src/node.ts' },
    platform: 'neutral',
    dts: true,
    clean: false,
    external: [/^node:/],
  },
  {
    entry: { cli: 'src/cli/main.ts', 'scan-worker': 'src/node/scan-worker.ts' },
    platform: 'node',
    fixedExtension: false,
    target: 'node20',
    dts: false,
    clean: false,
    outDir: 'dist/cli',
  },
]);
