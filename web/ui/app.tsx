import { useEffect, useState } from 'preact/hooks';
import { Boot } from './boot.js';
import { DEFAULT_CHOICE } from './command-line.js';
import { Drop } from './drop.js';
import { Extract } from './extract.js';
import { FailureLine } from './failure-line.js';
import { Inspect } from './inspect.js';
import { Plan } from './plan.js';
import { Summary } from './summary.js';
import { Panel, Tabs, type Tab } from './tabs.js';
import { useImage, type Opened } from './use-image.js';
import { Verify } from './verify.js';

const TABS = ['inspect', 'verify', 'extract', 'plan', 'boot'] as const;
type TabId = (typeof TABS)[number];

function tabOfAddress(): TabId {
  const id = location.hash.slice(1);
  return TABS.find((tab) => tab === id) ?? 'inspect';
}

/** The tab that is shown, which the address remembers. */
function useTab(): readonly [string, (id: string) => void] {
  const [selected, setSelected] = useState<string>(tabOfAddress);
  useEffect(() => {
    const onHashChange = (): void => setSelected(tabOfAddress());
    addEventListener('hashchange', onHashChange);
    return () => removeEventListener('hashchange', onHashChange);
  }, []);
  const select = (id: string): void => {
    history.replaceState(null, '', `#${id}`);
    setSelected(id);
  };
  return [selected, select];
}

function countOf(number: number, what: string) {
  if (number === 0) return null;
  return (
    <span class="count" title={`${String(number)} ${what}`}>
      {number}
    </span>
  );
}

function tabsOf({ report, view }: Opened): readonly Tab[] {
  const problems = view?.document.problems.length ?? 0;
  const refusing = report?.verdicts.filter(({ accepts }) => !accepts).length ?? 0;
  return [
    { id: 'inspect', title: 'Inspect', badge: countOf(problems, 'problems') },
    { id: 'verify', title: 'Verify', badge: countOf(refusing, 'refuse') },
    { id: 'extract', title: 'Extract' },
    { id: 'plan', title: 'Plan' },
    { id: 'boot', title: 'Boot' },
  ];
}

/** Everything about one file. */
function Image({ file }: { readonly file: File }) {
  const opened = useImage(file);
  const [selected, select] = useTab();
  const [choice, setChoice] = useState(DEFAULT_CHOICE);
  const { view, complete, report, failure, client } = opened;
  useEffect(() => {
    document.title = `${file.name}: bzelf`;
  }, [file]);
  return (
    <>
      <Summary file={file} opened={opened} />
      {failure === null ? null : <FailureLine failure={failure} />}
      <Tabs tabs={tabsOf(opened)} selected={selected} onSelect={select} />
      <Panel id="inspect" selected={selected}>
        {view === null ? null : <Inspect view={view} />}
      </Panel>
      <Panel id="verify" selected={selected}>
        {report === null ? null : <Verify report={report} />}
      </Panel>
      <Panel id="extract" selected={selected}>
        {view === null || !complete ? null : <Extract client={client} fileName={file.name} view={view} />}
      </Panel>
      <Panel id="plan" selected={selected}>
        <Plan
          client={client}
          fileName={file.name}
          choice={choice}
          onChange={setChoice}
          active={selected === 'plan' && view !== null}
        />
      </Panel>
      <Panel id="boot" selected={selected}>
        {view === null ? null : <Boot client={client} file={file} view={view} choice={choice} onChange={setChoice} />}
      </Panel>
    </>
  );
}

function Welcome({ onFile }: { readonly onFile: (file: File) => void }) {
  return (
    <div class="welcome">
      <h1>Linux kernel images, explained</h1>
      <p>
        Open a bzImage, a zImage, a vmlinux or a unified kernel image. See how it is built, which loaders will start it
        and why the others will not, take the ELF kernel out of it, plan its start at any stage, and boot a 32-bit one
        right here.
      </p>
      <Drop small={false} onFile={onFile} />
      <p class="remark">Everything happens in this browser: the file goes nowhere.</p>
    </div>
  );
}

export function App() {
  /** Counted, so that a file that is opened again is read again. */
  const [opening, setOpening] = useState<{ readonly file: File; readonly number: number } | null>(null);
  const open = (file: File): void => setOpening((before) => ({ file, number: (before?.number ?? 0) + 1 }));
  return (
    <>
      <header>
        <a class="name" href="./">
          bzelf
        </a>
        {opening === null ? null : <Drop small onFile={open} />}
      </header>
      <main>{opening === null ? <Welcome onFile={open} /> : <Image key={opening.number} file={opening.file} />}</main>
    </>
  );
}
