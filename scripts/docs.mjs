// npm run docs [-- --check]: writes docs/loaders.md from the tables in src/verify; with --check it writes nothing and
// fails if the page differs.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { createServer } from 'vite';
import { root } from './setup.mjs';

const path = join(root, 'docs/loaders.md');
const vite = await createServer({
  root,
  configFile: false,
  appType: 'custom',
  logLevel: 'error',
  server: { middlewareMode: true, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true },
});
try {
  const { loadersPage } = await vite.ssrLoadModule(join(root, 'src/verify/document.ts'));
  const text = await format(loadersPage(), { ...(await resolveConfig(path)), parser: 'markdown' });
  if (!process.argv.includes('--check')) writeFileSync(path, text);
  else if (readFileSync(path, 'utf8') !== text) {
    console.error('docs: docs/loaders.md is not what the tables say: npm run docs');
    process.exitCode = 1;
  }
} finally {
  await vite.close();
}
