import { useEffect, useState } from 'preact/hooks';
import { Drop } from './drop.js';
import { Extract } from './extract.js';
import { FailureLine } from './failure-line.js';
import { Inspect } from './inspect.js';
import { Summary } from './summary.js';
import { Panel, Tabs, type Tab } from './tabs.js';
import { useImage, type Opened } from './use-image.js';
import { Verify } from './verify.js';

const TABS = ['inspect', 'verify', 'extract'] as const;
type TabId = (typeof TABS)[number];

function tabOfAddress(): TabId {
  const id = location.hash.slice(1);
  return TABS.find((tab) => tab === id) ?? 'inspect';
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
  ];
}

/** What stands in a panel until its contents are known. */
function Pending({ what }: { readonly what: string }) {
  return <p class="remark">{what}</p>;
}

function Image({ opened }: { readonly opened: Opened }) {
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
  const { view, report, failure, client, file } = opened;
  return (
    <>
      <Summary opened={opened} />
      {failure === null ? null : <FailureLine failure={failure} />}
      <Tabs tabs={tabsOf(opened)} selected={selected} onSelect={select} />
      <Panel id="inspect" selected={selected}>
        {view === null ? <Pending what="Reading the file." /> : <Inspect view={view} />}
      </Panel>
      <Panel id="verify" selected={selected}>
        {report === null ? (
          <Pending what="The verdicts follow when the kernel is decompressed." />
        ) : (
          <Verify report={report} />
        )}
      </Panel>
      <Panel id="extract" selected={selected}>
        {view === null ? (
          <Pending what="Reading the file." />
        ) : (
          <Extract client={client} fileName={file.name} view={view} />
        )}
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
  const [file, setFile] = useState<File | null>(null);
  const opened = useImage(file);
  return (
    <>
      <header>
        <a class="name" href="./">
          bzelf
        </a>
        {opened === null ? null : <Drop small onFile={setFile} />}
      </header>
      <main>{opened === null ? <Welcome onFile={setFile} /> : <Image key={opened.file.name} opened={opened} />}</main>
    </>
  );
}
