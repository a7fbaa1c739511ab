import type { WorkerClient } from '../client.js';
import type { StartChoice } from '../protocol.js';
import { DEMO_INITRAMFS } from './command-line.js';
import { save } from './save.js';

interface DemoInitramfsProps {
  readonly client: WorkerClient;
  readonly choice: StartChoice;
}

/** The file that the command line names, where the choice is one that only the page has. */
export function DemoInitramfs({ client, choice }: DemoInitramfsProps) {
  if (choice.initrd !== 'demo' && choice.initrd !== 'shell') return null;
  const download = async (): Promise<void> => save(await client.call('demoInitramfs'), DEMO_INITRAMFS);
  return (
    <button type="button" class="quiet" onClick={() => void download()}>
      Download the demo initramfs
    </button>
  );
}
