/** The page: static files that work from any path of any server. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { defineConfig, type Plugin } from 'vite';

/** The page compresses nothing: without this the encoder's WebAssembly would be built in, unused. */
const rolldownOptions = { external: ['@bokuweb/zstd-wasm'] };

/** What the worker bundles: Vite's own list has the page's part only. */
const workerLicenses: Plugin = {
  name: 'worker-licenses',
  generateBundle() {
    const v86 = dirname(createRequire(import.meta.url).resolve('v86/package.json'));
    this.emitFile({
      type: 'asset',
      fileName: 'license-v86.txt',
      source: readFileSync(join(v86, 'LICENSE'), 'utf8'),
    });
  },
};

export default defineConfig({
  root: import.meta.dirname,
  base: './',
  plugins: [workerLicenses],
  build: {
    outDir: '../dist/web',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    license: { fileName: 'licenses.md' },
    rolldownOptions,
  },
  worker: { format: 'es', rolldownOptions },
});
