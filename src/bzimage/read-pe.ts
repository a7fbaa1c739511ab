import { latin1, type ByteView } from '../bytes/byte-view.js';
import { hex } from '../bytes/numbers.js';
import {
  COFF_HEADER,
  DIRECTORY_CERTIFICATES,
  DIRECTORY_ENTRY_SIZE,
  DIRECTORY_RELOCATIONS,
  LINUX_PE_MAGIC,
  LINUX_PE_MAGIC_OFFSET,
  MZ_MAGIC,
  OPTIONAL_HEADER_32,
  OPTIONAL_HEADER_64,
  PE32_MAGIC,
  PE32_PLUS_MAGIC,
  PE_POINTER_OFFSET,
  PE_SIGNATURE,
  SECTION_HEADER,
  WIN_CERTIFICATE,
  type Certificate,
  type PeImage,
  type PeSection,
} from './pe.js';
import type { FileRange } from './boot-image.js';
import type { ProblemList } from './problems.js';

/** Certificates are padded to this. */
const CERTIFICATE_ALIGNMENT = 8;
/** Far above the 96 that Windows takes; bounds the work on a damaged header. */
const MAX_SECTIONS = 1024;
const SBAT_LIMIT = 64 * 1024;
const CHECKSUM_OFFSET = 64;

type Optional = NonNullable<PeImage['optional']>;

function readOptional(file: ByteView, at: number, size: number): { values: Optional; directories: number } | null {
  if (size < 2 || !file.has(at, 2)) return null;
  const magic = file.u16(at);
  if (magic === PE32_MAGIC && size >= OPTIONAL_HEADER_32.size && file.has(at, OPTIONAL_HEADER_32.size)) {
    const values = OPTIONAL_HEADER_32.read(file, at);
    return { values: { ...values, ImageBase: BigInt(values.ImageBase) }, directories: at + OPTIONAL_HEADER_32.size };
  }
  if (magic === PE32_PLUS_MAGIC && size >= OPTIONAL_HEADER_64.size && file.has(at, OPTIONAL_HEADER_64.size)) {
    return { values: OPTIONAL_HEADER_64.read(file, at), directories: at + OPTIONAL_HEADER_64.size };
  }
  return null;
}

function readSections(file: ByteView, at: number, count: number, problems: ProblemList): PeSection[] {
  const sections: PeSection[] = [];
  let outside = 0;
  if (count > MAX_SECTIONS) {
    problems.add(
      'warning',
      'pe-sections',
      `${count} PE sections; the first ${MAX_SECTIONS} are read`,
      at,
      'NumberOfSections',
    );
  }
  for (let i = 0; i < Math.min(count, MAX_SECTIONS); i++) {
    const offset = at + i * SECTION_HEADER.size;
    if (!file.has(offset, SECTION_HEADER.size)) {
      problems.add(
        'warning',
        'pe-sections',
        `the file ends within its ${count} PE section headers`,
        at,
        'NumberOfSections',
      );
      break;
    }
    const header = SECTION_HEADER.read(file, offset);
    const inFile = header.SizeOfRawData === 0 || file.has(header.PointerToRawData, header.SizeOfRawData);
    const name = latin1(header.Name).replace(/\0.*$/s, '');
    // One is enough: a damaged header would fill the page.
    if (!inFile && outside++ === 0) {
      problems.add(
        'warning',
        'pe-section-outside',
        `PE section ${name} takes ${header.SizeOfRawData} bytes at ${hex(header.PointerToRawData)}, beyond the file`,
        offset,
        'PointerToRawData',
      );
    }
    sections.push({
      name,
      offset: header.PointerToRawData,
      length: header.SizeOfRawData,
      virtualSize: header.VirtualSize,
      virtualAddress: header.VirtualAddress,
      characteristics: header.Characteristics,
      inFile,
    });
  }
  return sections;
}

function readCertificates(file: ByteView, table: FileRange, problems: ProblemList): Certificate[] {
  const certificates: Certificate[] = [];
  const end = table.offset + table.length;
  const complain = (message: string, at: number): void =>
    problems.add('warning', 'pe-certificates', message, at, 'certificate table');
  if (!file.has(table.offset, table.length)) {
    complain(
      `the certificate table (${table.length} bytes at ${hex(table.offset)}) lies outside the file`,
      table.offset,
    );
    return [];
  }
  for (let at = table.offset; at < end;) {
    const header = at + WIN_CERTIFICATE.size <= end ? WIN_CERTIFICATE.read(file, at) : null;
    if (header === null || header.dwLength < WIN_CERTIFICATE.size || at + header.dwLength > end) {
      complain('the certificate table does not parse', at);
      break;
    }
    certificates.push({
      offset: at,
      length: header.dwLength,
      revision: header.wRevision,
      type: header.wCertificateType,
    });
    at += Math.ceil(header.dwLength / CERTIFICATE_ALIGNMENT) * CERTIFICATE_ALIGNMENT;
  }
  return certificates;
}

/** A section's bytes as far as its contents go: padding in the file is left out. Null if they lie outside the file. */
export function sectionContents(file: ByteView, section: PeSection): ByteView | null {
  if (!section.inFile || section.length === 0) return null;
  const used = section.virtualSize === 0 ? section.length : Math.min(section.length, section.virtualSize);
  return file.view(section.offset, used);
}

/** A text section (.sbat, .cmdline, .osrel, .uname): UTF-8 without the NULs at its end. */
export function sectionText(file: ByteView, section: PeSection, limit = SBAT_LIMIT): string | null {
  const contents = sectionContents(file, section);
  if (contents === null) return null;
  const text = new TextDecoder().decode(contents.bytes.subarray(0, limit));
  return text.replace(/\0+$/, '');
}

/** The PE header of a file that begins with "MZ"; null if there is none. Never throws. */
export function readPe(file: ByteView, problems: ProblemList): PeImage | null {
  if (!file.startsWith(MZ_MAGIC) || !file.has(PE_POINTER_OFFSET, 4)) return null;
  const offset = file.u32(PE_POINTER_OFFSET);
  if (!file.has(offset, 4 + COFF_HEADER.size) || file.u32(offset) !== PE_SIGNATURE) {
    // Boot sectors may begin with the letters "MZ" too, which are harmless instructions.
    problems.add(
      'warning',
      'pe-missing',
      `the file begins with "MZ", but no PE header stands at ${hex(offset)}`,
      PE_POINTER_OFFSET,
      'e_lfanew',
    );
    return null;
  }
  const coff = COFF_HEADER.read(file, offset + 4);
  const optionalAt = offset + 4 + COFF_HEADER.size;
  const optional = readOptional(file, optionalAt, coff.SizeOfOptionalHeader);
  if (optional === null) {
    problems.add(
      'warning',
      'pe-optional-header',
      'the PE header has no optional header that is understood',
      optionalAt,
      'Magic',
    );
  }
  const sections = readSections(file, optionalAt + coff.SizeOfOptionalHeader, coff.NumberOfSections, problems);

  const directoryAt = (index: number): number | null => {
    if (optional === null || index >= optional.values.NumberOfRvaAndSizes) return null;
    const at = optional.directories + index * DIRECTORY_ENTRY_SIZE;
    const end = optionalAt + coff.SizeOfOptionalHeader;
    return at + DIRECTORY_ENTRY_SIZE <= end && file.has(at, DIRECTORY_ENTRY_SIZE) ? at : null;
  };
  const directory = (index: number): { address: number; size: number } | null => {
    const at = directoryAt(index);
    const entry = at === null ? null : { address: file.u32(at), size: file.u32(at + 4) };
    return entry === null || entry.size === 0 ? null : entry;
  };
  const certificates = directory(DIRECTORY_CERTIFICATES);
  const certificateTable = certificates === null ? null : { offset: certificates.address, length: certificates.size };
  const relocations = directory(DIRECTORY_RELOCATIONS);
  const sbat = sections.find(({ name }) => name === '.sbat');
  const certificateField = directoryAt(DIRECTORY_CERTIFICATES);
  return {
    offset,
    coff,
    optional: optional?.values ?? null,
    sections,
    certificateTable,
    certificates: certificateTable === null ? [] : readCertificates(file, certificateTable, problems),
    relocationDirectory: relocations === null ? null : { virtualAddress: relocations.address, size: relocations.size },
    sbat: sbat === undefined ? null : sectionText(file, sbat),
    linuxMagic: file.has(LINUX_PE_MAGIC_OFFSET, 4) && file.u32(LINUX_PE_MAGIC_OFFSET) === LINUX_PE_MAGIC,
    signedFields: [
      ...(optional === null ? [] : [{ offset: optionalAt + CHECKSUM_OFFSET, length: 4 }]),
      ...(certificateField === null ? [] : [{ offset: certificateField, length: DIRECTORY_ENTRY_SIZE }]),
    ],
  };
}
