/** One file on its way through the worker: what it says, then what is inside, then the verdicts. */
import { useEffect, useState } from 'preact/hooks';
import type { Report } from '../../src/index.js';
import { failureOf, WorkerClient } from '../client.js';
import type { Failure, ImageView } from '../protocol.js';

export interface Opened {
  readonly view: ImageView | null;
  /** The view has the kernel inside, if there is one. */
  readonly complete: boolean;
  readonly report: Report | null;
  readonly failure: Failure | null;
  /** What is being done; null when all is known. */
  readonly busy: string | null;
}

const UNREAD: Opened = { view: null, complete: false, report: null, failure: null, busy: 'reading the file' };

/** @param file stays the same as long as the component lives. */
export function useImage(file: File): Opened & { readonly client: WorkerClient } {
  const [client] = useState(() => new WorkerClient());
  const [opened, setOpened] = useState(UNREAD);
  useEffect(() => {
    let current = true;
    const update = (change: Partial<Opened>): void => {
      if (current) setOpened((before) => ({ ...before, ...change }));
    };
    const work = async (): Promise<void> => {
      update({ view: await client.call('open', file), busy: 'decompressing the kernel' });
      update({ view: await client.call('recover'), complete: true, busy: 'asking every loader' });
      update({ report: await client.call('verify'), busy: null });
    };
    work().catch((error: unknown) => update({ failure: failureOf(error), busy: null }));
    return () => {
      current = false;
      client.close();
    };
  }, [client, file]);
  return { ...opened, client };
}
