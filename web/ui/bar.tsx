/** Parts to scale, side by side. */
export interface BarPart {
  readonly label: string;
  readonly length: number;
  /** Class of its look. */
  readonly kind: string;
  readonly title: string;
}

/** The picture repeats what a table beside it says: screen readers get one sentence. */
export function Bar({ parts, label }: { readonly parts: readonly BarPart[]; readonly label: string }) {
  return (
    <div class="bar" role="img" aria-label={label}>
      {parts
        .filter(({ length }) => length > 0)
        .map(({ label: text, length, kind, title }, index) => (
          <div key={index} class={`look ${kind}`} style={{ flexGrow: length }} title={title}>
            <span>{text}</span>
          </div>
        ))}
    </div>
  );
}
