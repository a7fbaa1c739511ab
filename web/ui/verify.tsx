import { useId, useState } from 'preact/hooks';
import type { Report, Verdict, Violation } from '../../src/index.js';
import { hex } from './numbers.js';
import { Section } from './section.js';
import { Facts } from './table.js';

/** "field at 0x1f1" */
function place({ field, offset }: Pick<Violation, 'field' | 'offset'>): string {
  return [field, offset === null ? null : hex(offset)].filter((part) => part !== null).join(' at ');
}

function verdictWord({ accepts, reason }: Verdict): 'accepts' | 'fails' | 'refuses' {
  return accepts ? 'accepts' : reason?.checked === false ? 'fails' : 'refuses';
}

function verdictFacts({ title, enters, route, reason }: Verdict): (readonly [string, string])[] {
  return [
    ['loader', title],
    ['enters', enters],
    ['takes it as', route ?? 'nothing that it knows'],
    ...(reason === null
      ? []
      : ([
          ['rule', reason.rule],
          ['found', reason.message],
          ...(place(reason) === '' ? [] : ([['where', place(reason)]] as const)),
          [reason.checked ? 'its words' : 'what happens', reason.says],
          ['in its source', reason.where],
          ['cure', reason.cure],
        ] as const)),
  ];
}

function LoaderRow({ verdict }: { readonly verdict: Verdict }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const word = verdictWord(verdict);
  return (
    <>
      <tr class="loader">
        <th scope="row">
          <button
            type="button"
            class="expand"
            aria-expanded={open}
            {...(open ? { 'aria-controls': id } : {})}
            onClick={() => setOpen(!open)}
          >
            {verdict.loader}
          </button>
        </th>
        <td>
          <span class={`badge ${word}`}>{word}</span>
        </td>
        <td>{verdict.reason === null ? verdict.enters : verdict.reason.says}</td>
      </tr>
      {open ? (
        <tr id={id}>
          <td colSpan={3}>
            <Facts pairs={verdictFacts(verdict)} />
          </td>
        </tr>
      ) : null}
    </>
  );
}

function Finding({ violation }: { readonly violation: Violation }) {
  const { rule, severity, message, cure, enforced_by } = violation;
  return (
    <li>
      <details>
        <summary>
          <span class={`badge ${severity}`}>{severity}</span> <code>{rule}</code> {message}
        </summary>
        <Facts
          pairs={[
            ...(place(violation) === '' ? [] : ([['where', place(violation)]] as const)),
            ['cure', cure],
            ['enforced by', enforced_by.length === 0 ? 'nobody' : enforced_by.join(', ')],
          ]}
        />
      </details>
    </li>
  );
}

const SEVERITIES = ['error', 'warning', 'note'] as const;

/** Every loader's verdict, then every rule that does not hold. */
export function Verify({ report }: { readonly report: Report }) {
  const { verdicts, violations } = report;
  const accepting = verdicts.filter(({ accepts }) => accepts).length;
  return (
    <>
      <Section title="Loaders" remark={`${String(accepting)} of ${String(verdicts.length)} accept it`}>
        <table class="verdicts">
          <thead>
            <tr>
              <th scope="col">loader</th>
              <th scope="col">verdict</th>
              <th scope="col">enters, or says</th>
            </tr>
          </thead>
          <tbody>
            {verdicts.map((verdict) => (
              <LoaderRow key={verdict.loader} verdict={verdict} />
            ))}
          </tbody>
        </table>
      </Section>
      <Section title="Rules" remark={violations.length === 0 ? 'all hold' : `${String(violations.length)} findings`}>
        <ul class="findings">
          {SEVERITIES.flatMap((severity) => violations.filter((violation) => violation.severity === severity)).map(
            (violation, index) => (
              <Finding key={index} violation={violation} />
            ),
          )}
        </ul>
      </Section>
    </>
  );
}
