import { readProbeReport as read, type ProbeReport } from '../../src/probe/report.js';

export type { ProbeReport };

/** The probe's report in a console's text. @throws Error if there is no complete one */
export function readProbeReport(console: string): ProbeReport {
  const report = read(`${console}\n`);
  if (report === null) throw new Error(`no report from the probe in:\n${console}`);
  return report;
}
