/** One file and everything that was learned about it. */
import {
  BootImageError,
  createSubject,
  DEFAULT_LIMIT,
  demoInitramfs,
  extract,
  inspect,
  planFacts,
  planStart,
  planStripes,
  planToJson,
  readBootImage,
  subjectOf,
  verify,
  type BootImage,
  type ExtractRequest,
  type Inspection,
  type Report,
  type Subject,
  type Vmlinux,
} from '../../src/index.js';
import type { ExtractView, ImageView, PlanView, StartChoice } from '../protocol.js';
import { readFile, sha256 } from './files.js';
import { startRequest } from './start-request.js';
import { imageView } from './view.js';

/** The kernel that inspecting has recovered, wherever in the file it was. */
function recoveredVmlinux(inspection: Inspection): Vmlinux | null {
  return inspection.inner === null
    ? (inspection.recovered?.kernel?.vmlinux ?? null)
    : recoveredVmlinux(inspection.inner);
}

export class Session {
  #image: BootImage | null = null;
  #inspection: Promise<Inspection> | null = null;
  #subject: Promise<Subject> | null = null;

  get #opened(): BootImage {
    if (this.#image === null) throw new BootImageError('bad-argument', 'no file is open');
    return this.#image;
  }

  async open(file: File): Promise<ImageView> {
    this.#image = readBootImage(await readFile(file));
    return imageView(await inspect(this.#image, { payload: false, limit: DEFAULT_LIMIT, sha256 }));
  }

  async recover(): Promise<ImageView> {
    return imageView(await this.#inspect());
  }

  async verify(): Promise<Report> {
    return verify(await this.#judged());
  }

  async extract(request: Omit<ExtractRequest, 'limit'>): Promise<ExtractView> {
    const { bytes, move } = await extract(this.#opened, { ...request, limit: DEFAULT_LIMIT });
    return {
      data: new Blob([bytes as Uint8Array<ArrayBuffer>]),
      sha256: await sha256(bytes),
      note:
        move === undefined
          ? null
          : `moved by 0x${move.physicalDelta.toString(16)} in physical and 0x${move.virtualDelta.toString(16)} in virtual memory`,
    };
  }

  async plan(choice: StartChoice): Promise<PlanView> {
    const subject = await this.#judged();
    const plan = planStart(subject, await startRequest(choice, subject.bits));
    return { stripes: planStripes(plan), facts: planFacts(plan), document: planToJson(plan) };
  }

  async demoInitramfs(): Promise<Blob> {
    const { bits } = await this.#judged();
    return new Blob([demoInitramfs(bits ?? 32) as Uint8Array<ArrayBuffer>]);
  }

  #inspect(): Promise<Inspection> {
    this.#inspection ??= inspect(this.#opened, { payload: true, limit: DEFAULT_LIMIT, sha256 });
    return this.#inspection;
  }

  /** The image with its kernel: what inspecting has decompressed is not decompressed again. */
  #judged(): Promise<Subject> {
    const image = this.#opened;
    this.#subject ??= this.#inspect().then((inspection) => {
      const vmlinux = recoveredVmlinux(inspection);
      return vmlinux === null ? createSubject(image) : subjectOf(image, vmlinux);
    });
    return this.#subject;
  }
}
