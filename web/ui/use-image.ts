/** One file on its way through the worker: what it says, then what is inside, then the verdicts. */
import { useEffect, useState } from 'preact/hooks';
import type { Report } from '../../src/index.js';
import { failureOf, WorkerClient } from '../client.js';
import type { Failure, ImageView } from '../protocol.js';

export interface Opened {
  readonly file: File;
  readonly client: WorkerClient;
  readonly view: ImageView | null;
  readonly report: Report | null;
  readonly failure: Failure | null;
  /** What is being done; null when all is known. */
  readonly busy: string | null;
}

/** A new file ends the work on the one before. */
export function useImage(file: File | null): Opened | null {
  const [opened, setOpened] = useState<Opened | null>(null);
  useEffect(() => {
    if (file === null) return undefined;
    const client = new WorkerClient();
    let current = true;
    const update = (change: Partial<Opened>): void => {
      if (current) setOpened((before) => (before === null ? null : { ...before, ...change }));
    };
    setOpened({ file, client, view: null, report: null, failure: null, busy: 'reading the file' });
    const work = async (): Promise<void> => {
      update({ view: await client.call('open', file), busy: 'decompressing the kernel' });
      update({ view: await client.call('recover'), busy: 'asking every loader' });
      update({ report: await client.call('verify'), busy: null });
    };
    work().catch((error: unknown) => update({ failure: failureOf(error), busy: null }));
    return () => {
      current = false;
      client.close();
    };
  }, [file]);
  return opened?.file === file ? opened : null;
}
