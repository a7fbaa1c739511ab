/** The page: static files that work from any path of any server. */
import { defineConfig } from 'vite';

/** The page compresses nothing: without this the encoder's WebAssembly would be built in, unused. */
const rolldownOptions = { external: ['@bokuweb/zstd-wasm'] };

export default defineConfig({
  root: import.meta.dirname,
  base: './',
  build: {
    outDir: '../dist/web',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false },
    rolldownOptions,
  },
  worker: { format: 'es', rolldownOptions },
});
