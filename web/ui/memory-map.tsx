import type { Stripe } from '../../src/index.js';
import { sizeText } from './numbers.js';

/** Rem for each row of a stripe. */
const ROW_HEIGHT = 1.6;

/** Guest memory from address 0 downwards. Heights grow with the logarithm of the size: emptiness takes one row. */
export function MemoryMap({ stripes }: { readonly stripes: readonly Stripe[] }) {
  const end = stripes.at(-1)?.end ?? 0n;
  const digits = Math.max(8, end.toString(16).length);
  const address = (value: bigint): string => `0x${value.toString(16).padStart(digits, '0')}`;
  return (
    <ol class="memory-map" aria-label="Guest memory">
      {stripes.map(({ start, end: stripeEnd, label, kind, rows }) => (
        <li key={String(start)} style={{ minHeight: `${String(rows * ROW_HEIGHT)}rem` }}>
          <code>{address(start)}</code>
          <span class={`look plan-${kind}`}>{label}</span>
          <span class="size">{sizeText(Number(stripeEnd - start))}</span>
        </li>
      ))}
      <li class="end">
        <code>{address(end)}</code>
      </li>
    </ol>
  );
}
