/** Plans obey: what verification calls an error for the chosen start is refused, by the same rules. */
import { BootImageError } from '../bytes/error.js';
import type { BootPlan, Protocol, Stage } from '../boot/plan.js';
import { planBoot } from '../boot/plan-boot.js';
import type { PlanRequest } from '../boot/request.js';
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

function defaultProtocol(stage: Stage, bits: 32 | 64 | null): Protocol {
  if (stage === 'setup' || stage === 'hook') return 'linux16';
  return bits === 64 ? 'linux64' : 'linux32';
}

/**
 * Refuses what verification calls an error for this start, then plans it.
 * @param subject with the kernel inside, if its stage is entered; `createSubject` recovers it.
 * @throws BootImageError as `refuseUnfit` and `planBoot`
 */
export function planStart(subject: Subject, request: PlanRequest): BootPlan {
  refuseUnfit(subject, request.stage, request.protocol ?? defaultProtocol(request.stage, subject.bits));
  return planBoot(subject.image, subject.vmlinux, request);
}
