import type { ComponentChildren } from 'preact';
import { useId, useRef } from 'preact/hooks';
import type { Protocol, Stage } from '../../src/index.js';
import type { StartChoice } from '../protocol.js';

const STAGES: readonly (readonly [stage: Stage, about: string, protocols: readonly Protocol[]])[] = [
  ['kernel', 'kernel: the host does the rest', ['linux32', 'linux64', 'pvh', 'xen-pv']],
  ['decompressor', 'decompressor: behind the setup', ['linux32', 'linux64']],
  ['hook', 'hook: setup, then the host', ['linux16']],
  ['setup', 'setup: the guest does all', ['linux16']],
];

const INITRDS: readonly (readonly [value: 'none' | 'demo' | 'shell' | 'file', about: string])[] = [
  ['demo', 'demo: says hello'],
  ['shell', 'demo with a shell'],
  ['file', 'a file …'],
  ['none', 'none'],
];

/** The option that stands for the file that was chosen. */
const CHOSEN = 'chosen';

interface LabelledProps {
  readonly label: string;
  readonly children: (id: string) => ComponentChildren;
}

function Labelled({ label, children }: LabelledProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(id)}
    </div>
  );
}

interface StartFormProps {
  readonly choice: StartChoice;
  readonly onChange: (choice: StartChoice) => void;
}

function InitrdField({ choice, onChange }: StartFormProps) {
  const input = useRef<HTMLInputElement>(null);
  const { initrd } = choice;
  const chosen = typeof initrd === 'string' ? null : initrd.name;
  const selected = typeof initrd === 'string' ? initrd : CHOSEN;
  return (
    <Labelled label="Initial RAM disk">
      {(id) => (
        <>
          <select
            id={id}
            value={selected}
            onChange={({ currentTarget }) => {
              const { value } = currentTarget;
              if (value === 'file') {
                // Until a file is chosen, what was chosen before holds.
                currentTarget.value = selected;
                input.current?.click();
              } else if (value !== CHOSEN) onChange({ ...choice, initrd: value as 'none' | 'demo' | 'shell' });
            }}
          >
            {chosen === null ? null : <option value={CHOSEN}>{chosen}</option>}
            {INITRDS.map(([value, about]) => (
              <option key={value} value={value}>
                {about}
              </option>
            ))}
          </select>
          <input
            ref={input}
            type="file"
            class="hidden"
            tabIndex={-1}
            aria-label="File of the initial RAM disk"
            onChange={({ currentTarget: { files } }) => {
              const file = files?.[0];
              if (file !== undefined) onChange({ ...choice, initrd: file });
            }}
          />
        </>
      )}
    </Labelled>
  );
}

function KaslrField({ choice, onChange }: StartFormProps) {
  const id = useId();
  const { kaslrSeed } = choice;
  return (
    <div class="field">
      <span class="check">
        <input
          id={id}
          type="checkbox"
          checked={kaslrSeed !== null}
          onChange={({ currentTarget: { checked } }) => onChange({ ...choice, kaslrSeed: checked ? '' : null })}
        />
        <label for={id}>Random address (KASLR by the host)</label>
      </span>
      <input
        type="text"
        aria-label="Seed for KASLR"
        placeholder="seed; empty: truly random"
        disabled={kaslrSeed === null}
        value={kaslrSeed ?? ''}
        onInput={({ currentTarget: { value } }) => onChange({ ...choice, kaslrSeed: value })}
      />
    </div>
  );
}

/** How to start: shared by plan and boot, so that what was planned is what is booted. */
export function StartForm({ choice, onChange }: StartFormProps) {
  const protocols = STAGES.find(([stage]) => stage === choice.stage)?.[2] ?? [];
  return (
    <form class="start" onSubmit={(event) => event.preventDefault()}>
      <Labelled label="Enter at">
        {(id) => (
          <select
            id={id}
            value={choice.stage}
            onChange={({ currentTarget: { value } }) => onChange({ ...choice, stage: value as Stage, protocol: null })}
          >
            {STAGES.map(([stage, about]) => (
              <option key={stage} value={stage}>
                {about}
              </option>
            ))}
          </select>
        )}
      </Labelled>
      <Labelled label="Protocol">
        {(id) => (
          <select
            id={id}
            value={choice.protocol ?? ''}
            onChange={({ currentTarget: { value } }) =>
              onChange({ ...choice, protocol: value === '' ? null : (value as Protocol) })
            }
          >
            <option value="">automatic</option>
            {protocols.map((protocol) => (
              <option key={protocol} value={protocol}>
                {protocol}
              </option>
            ))}
          </select>
        )}
      </Labelled>
      {choice.protocol === 'xen-pv' ? (
        <Labelled label="Role">
          {(id) => (
            <select
              id={id}
              value={choice.role}
              onChange={({ currentTarget: { value } }) => onChange({ ...choice, role: value as 'dom0' | 'domu' })}
            >
              <option value="domu">domU</option>
              <option value="dom0">dom0</option>
            </select>
          )}
        </Labelled>
      ) : null}
      <Labelled label="Memory">
        {(id) => (
          <input
            id={id}
            type="text"
            value={choice.memory}
            onInput={({ currentTarget: { value } }) => onChange({ ...choice, memory: value })}
          />
        )}
      </Labelled>
      <InitrdField choice={choice} onChange={onChange} />
      <KaslrField choice={choice} onChange={onChange} />
      <div class="wide">
        <Labelled label="Kernel command line">
          {(id) => (
            <input
              id={id}
              type="text"
              spellcheck={false}
              value={choice.commandLine}
              onInput={({ currentTarget: { value } }) => onChange({ ...choice, commandLine: value })}
            />
          )}
        </Labelled>
      </div>
    </form>
  );
}
