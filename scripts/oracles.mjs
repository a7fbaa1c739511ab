// npm run oracles: verdicts against what real loaders do. The harness itself is test/oracles.
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
  const { main } = await vite.ssrLoadModule(join(root, 'test/oracles/main.ts'));
  process.exitCode = await main(process.argv.slice(2));
} finally {
  await vite.close();
}
