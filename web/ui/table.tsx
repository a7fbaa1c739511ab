import type { ComponentChildren } from 'preact';

interface TableProps {
  readonly label: string;
  readonly head: readonly string[];
  /** Indexes of columns with numbers. */
  readonly right?: readonly number[];
  /** The last column has prose. */
  readonly prose?: boolean;
  readonly rows: readonly (readonly ComponentChildren[])[];
}

/** Rows of facts. A table that is too wide scrolls by itself, by keyboard, too. */
export function Table({ label, head, right = [], prose = false, rows }: TableProps) {
  const look = (column: number): string =>
    right.includes(column) ? 'number' : prose && column === head.length - 1 ? 'meaning' : '';
  return (
    <div class={prose ? 'scroll prose' : 'scroll mono'} tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            {head.map((cell, column) => (
              <th key={cell} scope="col" class={look(column)}>
                {cell}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, column) => (
                <td key={column} class={look(column)}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface FactsProps {
  readonly pairs: readonly (readonly [heading: string, text: ComponentChildren])[];
  /** `mono`: numbers and names rather than sentences; `dense`: short ones, side by side. */
  readonly look?: 'mono' | 'dense';
}

/** Pairs of a heading and a text. */
export function Facts({ pairs, look }: FactsProps) {
  return (
    <dl class={`facts ${look ?? ''}`}>
      {pairs.map(([heading, text], index) => (
        <div key={index}>
          <dt>{heading}</dt>
          <dd>{text}</dd>
        </div>
      ))}
    </dl>
  );
}
