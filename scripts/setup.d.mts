/** The repository's directory. */
export const root: string;
/** Installs the dependencies and builds dist/, if they are stale. */
export function ensureSetup(): void;
/** The same for the page, dist/web. */
export function ensureWeb(): void;
