/** Reads what the probe kernel (guest/probe) prints: `key: value` lines between PROBE-BEGIN and PROBE-END. */

/** What the probe found; values are text as it was printed. */
export interface ProbeReport {
  /** The last value of a key. */
  get(key: string): string | undefined;
  /** All values of a key: `memory` and `setup_data` occur once for each entry. */
  all(key: string): readonly string[];
  /** Every key once, in the order in which the probe printed them. */
  readonly keys: readonly string[];
  /** Names of the probe's own checks that failed. */
  readonly failed: readonly string[];
  /** True if the probe found every byte of its own as its headers promise. */
  readonly ok: boolean;
}

/** The report in a console's text; null as long as there is no complete one. */
export function readProbeReport(console: string): ProbeReport | null {
  const lines = /PROBE-BEGIN\r?\n([^]*?\nPROBE-END: .*)\r?\n/.exec(console)?.[1];
  if (lines === undefined) return null;
  const values = new Map<string, string[]>();
  for (const line of lines.split(/\r?\n/)) {
    const [key = '', value = ''] = line.split(/: (.*)/);
    values.set(key, [...(values.get(key) ?? []), value]);
  }
  const get = (key: string): string | undefined => values.get(key)?.at(-1);
  return {
    get,
    all: (key) => values.get(key) ?? [],
    keys: [...values.keys()],
    failed: [...values]
      .filter(([key, found]) => key.startsWith('check.') && found.some((value) => value !== 'ok'))
      .map(([key]) => key.slice('check.'.length)),
    ok: get('PROBE-END') === 'ok',
  };
}
