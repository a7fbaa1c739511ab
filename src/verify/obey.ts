/** Plans obey: what verification calls an error for the chosen start is refused, by the same rules. */
import { BootImageError } from '../bytes/error.js';
import type { Protocol, Stage } from '../boot/plan.js';
import { Judge } from './judge.js';
import { ownChecks } from './loaders/own.js';
import type { Subject } from './subject.js';

/**
 * Refuses an image that cannot be started so.
 * @throws BootImageError `rule-violated`, with the rule's id in `field`, the finding as message and the cure as hint; a
 * failure to decompress is thrown as it was.
 */
export function refuseUnfit(subject: Subject, stage: Stage, protocol: Protocol): void {
  const reason = new Judge(subject).firstFailure(ownChecks(stage, protocol));
  if (reason === null) return;
  throw new BootImageError('rule-violated', `${reason.message}: ${reason.says}`, {
    field: reason.rule,
    offset: reason.offset ?? undefined,
    hint: reason.cure.replace(/\.$/, ''),
    cause: subject.failure ?? undefined,
  });
}
