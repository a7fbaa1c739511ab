/** A worker of `scan`: takes paths, answers with rows. */
import { parentPort } from 'node:worker_threads';
import { scanFile, type ScanFailure, type ScanRow } from './scan-file.js';

export type ScanAnswer = { readonly rows: readonly ScanRow[] } | { readonly failure: ScanFailure };

async function answer(path: string): Promise<ScanAnswer> {
  try {
    return { rows: await scanFile(path) };
  } catch (error) {
    return { failure: { path, error: error instanceof Error ? error.message : String(error) } };
  }
}

parentPort?.on('message', (path: string) => {
  void answer(path).then((result) => parentPort?.postMessage(result));
});
