import { useState } from 'preact/hooks';
import type { ExtractRequest } from '../../src/index.js';
import { failureOf, type WorkerClient } from '../client.js';
import type { Failure, ImageView, KernelView } from '../protocol.js';
import { FailureLine } from './failure-line.js';
import { count } from './numbers.js';
import { save } from './save.js';
import { Section } from './section.js';

interface Offer {
  readonly title: string;
  readonly about: string;
  /** Suffix of the file's name. */
  readonly suffix: string;
  readonly request: Omit<ExtractRequest, 'limit'>;
  /** Why the image does not have it; null if it does. */
  readonly missing: (view: ImageView, kernel: KernelView | null) => string | null;
}

const needsKernel = (_: ImageView, kernel: KernelView | null): string | null =>
  kernel === null ? 'no ELF kernel was recovered' : null;
const needsSymbols = (_: ImageView, kernel: KernelView | null): string | null =>
  kernel?.symbols === true ? null : 'no kallsyms in it';
const needsPayload = (view: ImageView): string | null => (view.document.payload === null ? 'no payload in it' : null);

const OFFERS: readonly Offer[] = [
  {
    title: 'vmlinux',
    about: 'the ELF kernel, byte for byte as it was linked',
    suffix: 'vmlinux',
    request: { what: 'vmlinux' },
    missing: needsKernel,
  },
  {
    title: 'vmlinux with symbols',
    about: 'with a symbol table rebuilt from kallsyms: for debuggers and profilers',
    suffix: 'symbols.vmlinux',
    request: { what: 'vmlinux', symbols: true },
    missing: needsSymbols,
  },
  {
    title: 'vmlinux, relocated',
    about: 'moved to a random base: KASLR for loaders that have none',
    suffix: 'kaslr.vmlinux',
    request: { what: 'vmlinux', kaslr: { seed: null } },
    missing: (_, kernel) => (kernel?.relocatable === true ? null : 'the kernel has no relocations'),
  },
  {
    title: 'raw',
    about: 'everything that the decompressor yields: the kernel and its relocations',
    suffix: 'raw',
    request: { what: 'raw' },
    missing: (view, kernel) => (kernel !== null || view.document.payload !== null ? null : 'no kernel in it'),
  },
  {
    title: 'payload',
    about: 'the kernel as it stands in the file, compressed',
    suffix: 'payload',
    request: { what: 'payload' },
    missing: needsPayload,
  },
  {
    title: 'System.map',
    about: 'all symbols of kallsyms, as nm lists them',
    suffix: 'System.map',
    request: { what: 'symbols' },
    missing: needsSymbols,
  },
  {
    title: '.config',
    about: 'the configuration that the kernel was built with',
    suffix: 'config',
    request: { what: 'config' },
    missing: (_, kernel) => (kernel?.config === true ? null : 'built without IKCONFIG'),
  },
];

function innermost(view: ImageView): ImageView {
  return view.inner === null ? view : innermost(view.inner);
}

interface ExtractProps {
  readonly client: WorkerClient;
  readonly fileName: string;
  readonly view: ImageView;
}

function OfferRow({ offer, client, fileName, view }: ExtractProps & { readonly offer: Offer }) {
  const [busy, setBusy] = useState(false);
  const [result, setResult] = useState<string | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const missing = offer.missing(view, view.kernel);
  const run = async (): Promise<void> => {
    setBusy(true);
    setFailure(null);
    try {
      const { data, sha256, note } = await client.call('extract', offer.request);
      save(data, `${fileName}.${offer.suffix}`);
      const facts = [`${count(data.size)} bytes`, sha256 === null ? null : `sha256 ${sha256}`, note];
      setResult(facts.filter((fact) => fact !== null).join(', '));
    } catch (error) {
      setFailure(failureOf(error));
    }
    setBusy(false);
  };
  return (
    <li>
      <div>
        <strong>{offer.title}</strong>
        <p>{missing ?? offer.about}</p>
        <p class="remark" role="status">
          {busy ? 'working …' : result}
        </p>
        {failure === null ? null : <FailureLine failure={failure} />}
      </div>
      <button
        type="button"
        disabled={missing !== null || busy}
        aria-label={`Download ${offer.title}`}
        onClick={() => void run()}
      >
        Download
      </button>
    </li>
  );
}

/** What can be taken out of the image. */
export function Extract({ client, fileName, view }: ExtractProps) {
  const holder = innermost(view);
  return (
    <Section title="Take out of the image">
      <ul class="offers">
        {OFFERS.map((offer) => (
          <OfferRow key={offer.title} offer={offer} client={client} fileName={fileName} view={holder} />
        ))}
      </ul>
    </Section>
  );
}
