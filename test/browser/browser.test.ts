/** The library's core runs unchanged in a browser: nothing in it names a Node module, and a real browser runs it. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { corpus, corpusFile } from '../kernels/corpus.js';
import { chromium } from './chromium.js';

const dist = resolve(import.meta.dirname, '../../dist');

/** Imported by the core: the encoder of zstd. */
const dependencies = ['@bokuweb/zstd-wasm'];

/** Module specifiers that a built file imports. */
function imports(file: string): string[] {
  const source = readFileSync(join(dist, file), 'utf8');
  // Statements begin a line: "from" also occurs in texts.
  const pattern = /^(?:import|export)\b[^"'\n]*["']([^"'\n]+)["']|\bimport\s*\(\s*["']([^"'\n]+)["']/gm;
  return [...source.matchAll(pattern)].map(([, ofStatement, ofCall = '']) => ofStatement ?? ofCall);
}

describe('the built core', () => {
  it('imports its own files and nothing else, however deep', () => {
    const seen = new Set<string>();
    const queue = ['index.js'];
    for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
      if (seen.has(file)) continue;
      seen.add(file);
      for (const specifier of imports(file)) {
        // A dependency that a bundler, or an import map, resolves: it runs in browsers too.
        if (dependencies.includes(specifier)) continue;
        expect(specifier, file).toMatch(/^\.\//);
        queue.push(specifier.slice(2));
      }
    }
    expect(seen.size).toBeGreaterThan(5);
  });
});

const PAGE = `<!doctype html><title>waiting</title><script type="module">
import { readBootImage, recoverVmlinux, planBoot, pcMemoryMap, createSubject, verify } from '/index.js';
const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const results = {};
for (const name of await (await fetch('/kernels')).json()) {
  try {
    const image = readBootImage(new Uint8Array(await (await fetch('/kernels/' + name)).arrayBuffer()));
    const vmlinux = await recoverVmlinux(image);
    const sha256 = hex(await crypto.subtle.digest('SHA-256', new Uint8Array(vmlinux.raw)));
    const plan = planBoot(image, vmlinux, { stage: 'kernel', memory: pcMemoryMap(256n << 20n) });
    const { verdicts } = verify(await createSubject(image));
    results[name] = { sha256, regions: plan.regions.length, own: verdicts.find(({ loader }) => loader === 'own').accepts };
  } catch (error) {
    results[name] = { error: String(error) };
  }
}
await fetch('/results', { method: 'POST', body: JSON.stringify(results) });
</script>`;

describe.skipIf(chromium === undefined || corpus.length === 0)('in a real browser', () => {
  it('recovers, judges and plans every corpus kernel', async () => {
    const profile = mkdtempSync(join(tmpdir(), 'bzelf-chromium-'));
    let done: (results: Record<string, unknown>) => void = () => undefined;
    const results = new Promise<Record<string, unknown>>((settle) => (done = settle));
    const server = createServer((request, response) => {
      const url = request.url ?? '/';
      const send = (type: string, body: string | Uint8Array): void =>
        void response.setHeader('content-type', type).end(body);
      if (url === '/results') {
        let body = '';
        request.on('data', (chunk: Buffer) => (body += chunk.toString()));
        request.on('end', () => {
          send('text/plain', 'ok');
          done(JSON.parse(body) as Record<string, unknown>);
        });
      } else if (url === '/kernels') send('application/json', JSON.stringify(corpus.map(({ file }) => file)));
      else if (url.startsWith('/kernels/'))
        send('application/octet-stream', readFileSync(corpusFile(url.slice(9)) ?? ''));
      else if (readdirSync(dist).includes(url.slice(1)))
        send('text/javascript', readFileSync(join(dist, url.slice(1))));
      else send('text/html', PAGE);
    });
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    const browser = spawn(
      chromium ?? '',
      [
        ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
        ...['--disable-background-networking', '--disable-component-update', `--user-data-dir=${profile}`],
        `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
      ],
      { stdio: 'ignore' },
    );
    try {
      const found = await results;
      for (const { file, decompressed } of corpus) {
        expect(found[file], file).toMatchObject({ sha256: decompressed.sha256, own: true });
      }
    } finally {
      browser.kill('SIGKILL');
      server.closeAllConnections();
      server.close();
      await new Promise((gone) => browser.once('close', gone));
      rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
    }
  }, 120_000);
});
