import type { Opened } from './use-image.js';
import { count } from './numbers.js';

function crcText(ok: boolean | null): string {
  return ok === null ? 'no CRC-32' : ok ? 'CRC-32 holds' : 'CRC-32 does NOT hold';
}

/** What the file is, in three lines, whatever tab is shown. */
export function Summary({ file, opened }: { readonly file: File; readonly opened: Opened }) {
  const { view, busy } = opened;
  const version = view?.document.setup?.['version_string'];
  return (
    <div class="summary">
      <h1>{file.name}</h1>
      {view === null ? null : <p>{view.document.description}</p>}
      {typeof version === 'string' ? <p class="version">{version}</p> : null}
      {view === null ? null : (
        <p class="remark">
          {count(view.document.file.size)} bytes, {crcText(view.document.file.crc32_ok)}
          {view.document.file.sha256 === null ? null : (
            <>
              , sha256 <code>{view.document.file.sha256}</code>
            </>
          )}
        </p>
      )}
      <p class="busy" role="status">
        {busy === null ? null : (
          <>
            <progress aria-hidden="true" /> {busy} …
          </>
        )}
      </p>
    </div>
  );
}
