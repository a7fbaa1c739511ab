import { useRef } from 'preact/hooks';
import type { GuestExit } from '../../src/index.js';
import type { WorkerClient } from '../client.js';
import type { GuestTimes, ImageView, StartChoice } from '../protocol.js';
import { commandLine } from './command-line.js';
import { CopyLine } from './copy-line.js';
import { DemoInitramfs } from './demo-initramfs.js';
import { FailureLine } from './failure-line.js';
import { milliseconds } from './numbers.js';
import { save } from './save.js';
import { Section } from './section.js';
import { StartForm } from './start-form.js';
import { Facts } from './table.js';
import { useGuest } from './use-guest.js';

const ENDS: Readonly<Record<GuestExit['end'], string>> = {
  'powered-off': 'the guest powered off',
  halted: 'the guest stopped',
  timeout: 'the guest made no end',
  stopped: 'you stopped the guest',
  failed: 'the guest broke down',
};

function endText({ end, reason }: GuestExit): string {
  return reason === '' ? ENDS[end] : `${ENDS[end]}: ${reason}`;
}

function Times({ times }: { readonly times: GuestTimes }) {
  return (
    <Facts
      look="dense"
      pairs={[
        ['read the image', milliseconds(times.read)],
        ['decompress the kernel', milliseconds(times.decompress)],
        ['plan and relocate', milliseconds(times.plan)],
        ['place it in memory', milliseconds(times.place)],
        ['first line after', milliseconds(times.firstOutput)],
        ['running for', milliseconds(times.total)],
        ['instructions', `${(times.instructions / 1e6).toFixed(1)} million`],
      ]}
    />
  );
}

/** 32 or 64 by the kernel, else by xloadflags; null if nothing tells. */
function bitsOf(view: ImageView): number | null {
  if (view.inner !== null) return bitsOf(view.inner);
  const { vmlinux, setup } = view.document;
  if (vmlinux !== null) return vmlinux.class;
  const names = setup?.['xloadflags_names'] as readonly string[] | undefined;
  return names === undefined ? null : names.includes('XLF_KERNEL_64') ? 64 : 32;
}

interface BootProps {
  readonly client: WorkerClient;
  readonly file: File;
  readonly view: ImageView;
  readonly choice: StartChoice;
  readonly onChange: (choice: StartChoice) => void;
}

function Elsewhere({ client, file, choice, onChange }: BootProps) {
  return (
    <Section title="Start it elsewhere">
      <p>
        This is a 64-bit kernel, and the emulator of this page, v86, has a 32-bit CPU. On a machine with QEMU this
        command starts it, with its serial console on the terminal:
      </p>
      <CopyLine words={commandLine('boot', file.name, choice)} />
      <StartForm choice={choice} onChange={onChange} />
      <DemoInitramfs client={client} choice={choice} />
    </Section>
  );
}

function Here({ client, file, choice, onChange }: BootProps) {
  const place = useRef<HTMLDivElement>(null);
  const { state, start, stop, view } = useGuest(file, place);
  const { running, times, exit, failure, notes } = state;
  const saveLog = (): void => {
    if (view.current !== null) save(view.current.log(), `${file.name}.console.txt`);
  };
  return (
    <>
      <Section
        title="Start it here"
        remark="in v86, by writing the plan into the guest's memory: no BIOS, no boot loader"
      >
        <StartForm choice={choice} onChange={onChange} />
        <p class="row">
          <button type="button" disabled={running} onClick={() => void start(choice)}>
            Start
          </button>
          <button type="button" class="quiet" disabled={!running} onClick={stop}>
            Stop
          </button>
          <button type="button" class="quiet" disabled={view.current === null} onClick={saveLog}>
            Save the console
          </button>
          <span role="status">
            {running ? (times === null ? 'preparing …' : 'running') : exit === null ? '' : endText(exit)}
          </span>
        </p>
        {failure === null ? null : <FailureLine failure={failure} />}
        {notes.map((line, index) => (
          <p key={index} class="remark">
            {line}
          </p>
        ))}
        <div class="console" role="group" aria-label="Serial console; Shift+Tab leaves it">
          <div ref={place} />
        </div>
        {times === null ? null : <Times times={times} />}
      </Section>
      <Section title="The same on the command line">
        <CopyLine words={commandLine('boot', file.name, choice)} />
        <DemoInitramfs client={client} choice={choice} />
      </Section>
    </>
  );
}

export function Boot(props: BootProps) {
  return bitsOf(props.view) === 64 ? <Elsewhere {...props} /> : <Here {...props} />;
}
