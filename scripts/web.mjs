// npm run web [-- --port N]: builds the page if it is stale and serves it to this computer until Ctrl-C.
import { ensureWeb, root } from './setup.mjs';

const DEFAULT_PORT = 5180;

const at = process.argv.indexOf('--port');
const port = at < 0 ? DEFAULT_PORT : Number(process.argv[at + 1]);
if (!Number.isInteger(port) || port < 0 || port > 65535) {
  process.stderr.write('bzelf: --port takes a number from 0 (any free port) to 65535\n');
  process.exit(2);
}
ensureWeb();
// Loaded only now: it may just have been installed.
const { preview } = await import('vite');
const server = await preview({ root: `${root}/web`, logLevel: 'warn', preview: { host: '127.0.0.1', port } });
process.stdout.write(`The page: ${server.resolvedUrls.local[0]} (Ctrl-C ends it)\n`);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(0));
