import { Fragment } from 'preact';
import { useState } from 'preact/hooks';

/** A command for the shell, to be copied. It breaks between words only, so that no option is cut in two. */
export function CopyLine({ words }: { readonly words: readonly string[] }) {
  const line = words.join(' ');
  const [copied, setCopied] = useState<string | null>(null);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(line);
    setCopied(line);
  };
  return (
    <div class="copy">
      <code>
        {words.map((word, index) => (
          <Fragment key={index}>
            <span>{word}</span>{' '}
          </Fragment>
        ))}
      </code>
      {/* Browsers offer the clipboard to pages from https or localhost only; the line can be marked by hand. */}
      {'clipboard' in navigator ? (
        <button type="button" class="quiet" onClick={() => void copy()}>
          {copied === line ? 'Copied' : 'Copy'}
        </button>
      ) : null}
    </div>
  );
}
