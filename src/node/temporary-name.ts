/**
 * A name that no other file has, for files that are then opened exclusively (O_EXCL): it need not be secret, and Node's
 * crypto would take longer to load than most commands to run.
 */
export function temporaryName(): string {
  return `${process.pid.toString(36)}-${Math.random().toString(36).slice(2)}`;
}
