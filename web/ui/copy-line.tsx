import { useState } from 'preact/hooks';

/** A line for the shell, to be copied. */
export function CopyLine({ line }: { readonly line: string }) {
  const [copied, setCopied] = useState<string | null>(null);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(line);
    setCopied(line);
  };
  return (
    <div class="copy">
      <code>{line}</code>
      {/* Browsers offer the clipboard to pages from https or localhost only; the line can be marked by hand. */}
      {'clipboard' in navigator ? (
        <button type="button" class="quiet" onClick={() => void copy()}>
          {copied === line ? 'Copied' : 'Copy'}
        </button>
      ) : null}
    </div>
  );
}
