import type { BootImageError } from '../bytes/error.js';
import type { Problem } from './boot-image.js';

/** Collects what is wrong with a file while reading goes on. */
export class ProblemList {
  readonly all: Problem[] = [];

  add(severity: Problem['severity'], id: string, message: string, offset: number | null, field: string | null): void {
    this.all.push({ id, severity, offset, field, message });
  }

  /** An error of a strict reader, noted instead of thrown. */
  addError(severity: Problem['severity'], id: string, error: BootImageError): void {
    this.add(severity, id, error.message, error.offset ?? null, error.field ?? null);
  }
}
