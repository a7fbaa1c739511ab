// npm run matrix -- IMAGE: one image through real boot loaders. The harness itself is test/matrix.
import { join } from 'node:path';
import { ensureSetup, root } from './setup.mjs';

ensureSetup();
const { createServer } = await import('vite');
const vite = await createServer({
  root,
  configFile: false,
  appType: 'custom',
  logLevel: 'error',
  server: { middlewareMode: true, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true },
});
try {
  const { main } = await vite.ssrLoadModule(join(root, 'test/matrix/main.ts'));
  process.exitCode = await main(process.argv.slice(2));
} finally {
  await vite.close();
}
