/** What EFI firmware sees, in words. */
import { hex } from '../bytes/numbers.js';
import {
  DLL_CHARACTERISTICS_NX_COMPAT,
  MACHINE_NAMES,
  SUBSYSTEM_EFI_APPLICATION,
  type PeImage,
} from '../bzimage/pe.js';
import { count, printable, sizeText } from './text.js';

function signatureText({ certificateTable, certificates }: PeImage): string {
  if (certificateTable === null) return 'none: Secure Boot refuses it';
  const number = `${certificates.length} certificate${certificates.length === 1 ? '' : 's'}`;
  return `${number}, ${count(certificateTable.length)} bytes at ${hex(certificateTable.offset)}`;
}

/** Pairs of a heading and a text. */
export function efiFacts(pe: PeImage): (readonly [heading: string, text: string])[] {
  const { optional, coff } = pe;
  const facts: [string, string][] = [['machine', MACHINE_NAMES[coff.Machine] ?? hex(coff.Machine)]];
  if (optional !== null) {
    facts.push(['entry', `${hex(optional.AddressOfEntryPoint)} (relative to the image)`]);
    facts.push([
      'image',
      `${sizeText(optional.SizeOfImage)} in memory, sections aligned to ${sizeText(optional.SectionAlignment)}, in the file to ${sizeText(optional.FileAlignment)}`,
    ]);
    const marks = [
      optional.Subsystem === SUBSYSTEM_EFI_APPLICATION ? 'EFI application' : `subsystem ${optional.Subsystem}`,
      (optional.DllCharacteristics & DLL_CHARACTERISTICS_NX_COMPAT) !== 0
        ? 'NX compatible'
        : 'not marked NX compatible',
      `stub version ${optional.MajorImageVersion}.${optional.MinorImageVersion}`,
    ];
    facts.push(['marks', marks.join(', ')]);
  }
  facts.push(['sections', pe.sections.map(({ name }) => printable(name)).join(' ')]);
  facts.push(['signature', signatureText(pe)]);
  if (pe.sbat !== null) facts.push(['.sbat', printable(pe.sbat.trim().split('\n')[1] ?? '')]);
  return facts;
}
