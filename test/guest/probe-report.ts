/** What the probe kernel printed: the last value of each key, and all values of those that occur more than once. */
export interface ProbeReport {
  get(key: string): string | undefined;
  all(key: string): readonly string[];
  /** Names of the probe's own checks that failed. */
  readonly failed: readonly string[];
}

/** Reads the lines from PROBE-BEGIN to PROBE-END. @throws Error if the console text has no complete report */
export function readProbeReport(console: string): ProbeReport {
  const match = /PROBE-BEGIN\r?\n([^]*?\nPROBE-END: .*)/.exec(console);
  if (!match?.[1]) throw new Error(`no report from the probe in:\n${console}`);
  const values = new Map<string, string[]>();
  for (const line of match[1].split(/\r?\n/)) {
    const [key = '', value = ''] = line.split(/: (.*)/);
    values.set(key, [...(values.get(key) ?? []), value]);
  }
  return {
    get: (key) => values.get(key)?.at(-1),
    all: (key) => values.get(key) ?? [],
    failed: [...values]
      .filter(([key, [value]]) => key.startsWith('check.') && value !== 'ok')
      .map(([key]) => key.slice(6)),
  };
}
