import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

interface SectionProps {
  readonly title: string;
  readonly remark?: string;
  readonly children: ComponentChildren;
}

/** A titled part of a page; its title names it for screen readers, too. */
export function Section({ title, remark, children }: SectionProps) {
  const id = useId();
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>
        {title}
        {remark === undefined ? null : <span class="remark"> {remark}</span>}
      </h2>
      {children}
    </section>
  );
}
