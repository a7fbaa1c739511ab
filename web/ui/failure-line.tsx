import type { Failure } from '../protocol.js';

/** An error: one line, announced. */
export function FailureLine({ failure }: { readonly failure: Failure }) {
  return (
    <p class="failure" role="alert">
      {failure.line}
    </p>
  );
}
