/** An inspection in the form that the page shows. */
import {
  efiFacts,
  fileParts,
  kernelFacts,
  memoryParts,
  noteText,
  SETUP_FIELDS,
  setupFacts,
  ukiFacts,
  type InspectDocument,
  type Inspection,
  type RecoveredKernel,
} from '../../src/index.js';
import type { HeaderField, ImageView, KernelView } from '../protocol.js';

/** Longer descriptors are cut. */
const LONGEST_NOTE = 120;

function fieldsOf({ setup }: InspectDocument): HeaderField[] {
  if (setup === null) return [];
  return SETUP_FIELDS.filter(({ name }) => setup[name] !== undefined).map(({ name, offset, access, doc }) => {
    const names = setup[`${name}_names`] as readonly string[] | undefined;
    const value = String(setup[name]);
    return {
      name,
      offset,
      access,
      meaning: doc,
      value: names === undefined || names.length === 0 ? value : `${value}: ${names.join(' ')}`,
    };
  });
}

function kernelView(kernel: RecoveredKernel): KernelView {
  const { vmlinux } = kernel;
  return {
    facts: kernelFacts(kernel),
    memory: memoryParts(vmlinux),
    notes: vmlinux.notes.map((note) => [
      note.owner,
      note.name ?? `type ${String(note.type)}`,
      noteText(note, LONGEST_NOTE),
    ]),
    relocatable: vmlinux.relocations !== null,
    symbols: kernel.symbols !== null,
    config: kernel.config,
  };
}

export function imageView({ image, document, recovered, inner }: Inspection): ImageView {
  return {
    document,
    layout: fileParts(image, recovered),
    facts: image.setup === null ? [] : setupFacts(image, image.setup),
    fields: fieldsOf(document),
    efi: image.pe === null ? [] : efiFacts(image.pe),
    uki: image.uki === null ? [] : ukiFacts(image.uki),
    kernel: recovered?.kernel == null ? null : kernelView(recovered.kernel),
    inner: inner === null ? null : imageView(inner),
  };
}
