import { useEffect, useState } from 'preact/hooks';
import { failureOf, type WorkerClient } from '../client.js';
import type { Failure, PlanView, StartChoice } from '../protocol.js';
import { commandLine } from './command-line.js';
import { CopyLine } from './copy-line.js';
import { DemoInitramfs } from './demo-initramfs.js';
import { FailureLine } from './failure-line.js';
import { MemoryMap } from './memory-map.js';
import { count } from './numbers.js';
import { save } from './save.js';
import { Section } from './section.js';
import { StartForm } from './start-form.js';
import { Facts, Table } from './table.js';

/** A pause in typing after which the plan is made anew. */
const PAUSE_MS = 250;

interface PlanState {
  /** The choice has changed and its plan is not there yet. */
  readonly pending: boolean;
  readonly plan: PlanView | null;
  readonly failure: Failure | null;
}

/** The plan for a choice, made anew when the choice or `attempt` changes. */
function usePlan(client: WorkerClient, choice: StartChoice, active: boolean, attempt: number): PlanState {
  const [state, setState] = useState<PlanState>({ pending: true, plan: null, failure: null });
  useEffect(() => {
    if (!active) return undefined;
    let current = true;
    setState((before) => ({ ...before, pending: true }));
    const timer = setTimeout(() => {
      client.call('plan', choice).then(
        (plan) => current && setState({ pending: false, plan, failure: null }),
        (error: unknown) => current && setState({ pending: false, plan: null, failure: failureOf(error) }),
      );
    }, PAUSE_MS);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [client, choice, active, attempt]);
  return state;
}

function segmentText({ selector, base, limit, access }: PlanView['document']['cpu']['cs']): string {
  return `${selector}, base ${base}, limit ${limit}, access ${access}`;
}

function CpuState({ cpu }: { readonly cpu: PlanView['document']['cpu'] }) {
  return (
    <Facts
      look="mono"
      pairs={[
        ['mode', cpu.mode],
        ['rip', cpu.rip],
        ['rflags', cpu.rflags],
        ...Object.entries(cpu.registers),
        ['cs', segmentText(cpu.cs)],
        ['ds es ss fs gs', segmentText(cpu.data)],
        ['cr0, cr3, cr4', `${cpu.cr0}, ${cpu.cr3}, ${cpu.cr4}`],
        ['efer', cpu.efer],
        ['gdt', cpu.gdt === null ? 'none' : `${cpu.gdt.base}, limit ${String(cpu.gdt.limit)}`],
      ]}
    />
  );
}

function PlanPicture({ plan, fileName }: { readonly plan: PlanView; readonly fileName: string }) {
  const { document, stripes, facts } = plan;
  const saveJson = (): void =>
    save(new Blob([`${JSON.stringify(document, null, 2)}\n`], { type: 'application/json' }), `${fileName}.plan.json`);
  return (
    <>
      <Section title="Plan">
        <Facts pairs={facts.filter(([, text]) => text !== '')} />
        <p>
          <button type="button" class="quiet" onClick={saveJson}>
            Download the plan as JSON
          </button>
        </p>
      </Section>
      <Section title="Memory" remark="not to scale: heights grow with the logarithm of the size">
        <MemoryMap stripes={stripes} />
        <details>
          <summary>{document.regions.length} regions</summary>
          <Table
            label="Regions of the plan"
            head={['address', 'size', 'bytes', 'purpose', 'what it is']}
            right={[0, 1, 2]}
            prose
            rows={document.regions.map(({ address, size, bytes, purpose, label }) => [
              address,
              count(size),
              count(bytes),
              purpose,
              label,
            ])}
          />
        </details>
      </Section>
      <Section title="CPU" remark="when the guest begins">
        <CpuState cpu={document.cpu} />
      </Section>
    </>
  );
}

interface PlanProps {
  readonly client: WorkerClient;
  readonly fileName: string;
  readonly choice: StartChoice;
  readonly onChange: (choice: StartChoice) => void;
  /** The tab is shown: nobody waits for a plan otherwise. */
  readonly active: boolean;
}

/** What would go where, and how the CPU would begin. */
export function Plan({ client, fileName, choice, onChange, active }: PlanProps) {
  const [attempt, setAttempt] = useState(0);
  const { pending, plan, failure } = usePlan(client, choice, active, attempt);
  return (
    <>
      <Section title="How to start">
        <StartForm choice={choice} onChange={onChange} />
        <CopyLine words={commandLine('plan', fileName, choice)} />
        <p class="row">
          {choice.kaslrSeed === '' ? (
            <button type="button" class="quiet" onClick={() => setAttempt(attempt + 1)}>
              Draw another address
            </button>
          ) : null}
          <DemoInitramfs client={client} choice={choice} />
          <span class="remark" role="status">
            {pending ? 'planning …' : ''}
          </span>
        </p>
      </Section>
      {failure === null ? null : <FailureLine failure={failure} />}
      {plan === null ? null : <PlanPicture plan={plan} fileName={fileName} />}
    </>
  );
}
