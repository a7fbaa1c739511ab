/** The page that `inspect` prints for people. */
import { hex, hexBytes } from '../bytes/numbers.js';
import type { BootImage, Problem } from '../bzimage/boot-image.js';
import {
  DLL_CHARACTERISTICS_NX_COMPAT,
  MACHINE_NAMES,
  SUBSYSTEM_EFI_APPLICATION,
  type PeImage,
} from '../bzimage/pe.js';
import { kernelEnd } from '../bzimage/stages.js';
import { PT_LOAD } from '../elf/definitions.js';
import type { ElfFile } from '../elf/elf-file.js';
import type { KernelNote } from '../kernel/notes.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { flagsText, type Inspection, type Recovered, type RecoveredKernel } from './inspect-document.js';
import { bar, count, sizeText, table, wrap, type Part } from './inspect-drawing.js';
import { setupFacts } from './inspect-facts.js';
import type { CliIo } from './io.js';

const MARGIN = '  ';
const WIDEST = 110;
/** Longer descriptors are cut on the page; JSON has them whole. */
const LONGEST_VALUE = 60;

interface PlacedPart extends Part {
  readonly offset: number;
  readonly meaning: string;
}

/** The file cut into what lies there, in order. */
function fileParts(image: BootImage, recovered: Recovered | null): PlacedPart[] {
  const { stages, setup, payload, pe, file } = image;
  const parts: PlacedPart[] = [];
  const add = (part: PlacedPart): void => {
    if (part.length > 0) parts.push(part);
  };
  if (stages.setup !== null) {
    add({ ...stages.setup, label: 'setup', fill: '░', style: 'cyan', meaning: 'boot sector and real-mode code' });
  }
  const { protected_mode: body } = stages;
  if (body === null || setup === null) return parts;
  const end = kernelEnd(file, setup, body);
  if (payload === null) {
    add({
      offset: body.offset,
      length: end - body.offset,
      label: 'code',
      fill: '▒',
      style: 'blue',
      meaning: 'protected-mode code',
    });
  } else {
    const length = recovered?.length ?? payload.length;
    const after = payload.offset + length;
    const stub = { label: 'stub', fill: '▒', style: 'blue' } as const;
    add({
      ...stub,
      offset: body.offset,
      length: payload.offset - body.offset,
      meaning: 'entry points, before the payload',
    });
    add({
      offset: payload.offset,
      length,
      label: payload.compression ?? 'payload',
      fill: '█',
      style: 'green',
      meaning: payloadMeaning(image, recovered, length),
    });
    add({ ...stub, offset: after, length: end - after, meaning: 'decompressor: code and data, behind the payload' });
  }
  const tail = file.length - end;
  const signed = pe !== null && pe.certificates.length > 0;
  add({
    offset: end,
    length: tail,
    label: signed ? 'signature' : 'tail',
    fill: '▓',
    style: 'magenta',
    meaning: signed ? 'signature, for EFI Secure Boot' : 'behind the kernel, not part of it',
  });
  return parts;
}

function payloadMeaning({ payload }: BootImage, recovered: Recovered | null, length: number): string {
  const what =
    payload?.compression === 'none'
      ? 'the kernel, not compressed'
      : `the kernel, ${payload?.compression ?? 'unknown format'}`;
  const found = payload?.foundBy === 'scan' ? ', found by scanning' : '';
  const size = recovered?.uncompressedLength ?? payload?.sizeWord ?? null;
  if (size === null || payload?.compression === 'none') return `${what}${found}`;
  return `${what}${found}: ${sizeText(size)} inside, ${((length / size) * 100).toFixed(0)} %`;
}

function ukiParts(image: BootImage): PlacedPart[] {
  const { pe } = image;
  if (pe === null) return [];
  const meanings: Readonly<Record<string, string>> = {
    '.linux': 'the kernel, a boot image by itself',
    '.initrd': 'initial RAM disk',
    '.cmdline': 'kernel command line',
    '.osrel': 'os-release of the system',
    '.uname': 'release of the kernel',
    '.splash': 'picture',
    '.sbat': 'revocation data for Secure Boot',
  };
  return pe.sections
    .filter(({ inFile, length }) => inFile && length > 0)
    .map((section) => ({
      offset: section.offset,
      length: section.length,
      label: section.name,
      fill: section.name === '.linux' ? '█' : section.name === '.initrd' ? '▓' : '▒',
      style:
        section.name === '.linux'
          ? ('green' as const)
          : section.name === '.initrd'
            ? ('magenta' as const)
            : ('blue' as const),
      meaning: meanings[section.name] ?? '',
    }))
    .sort((a, b) => a.offset - b.offset);
}

/** Physical memory from the lowest segment on: file bytes full, bss light, gaps empty. */
function memoryParts(vmlinux: Vmlinux): Part[] {
  const sorted = [...vmlinux.segments].sort((a, b) => (a.paddr < b.paddr ? -1 : 1));
  const parts: Part[] = [];
  let end = sorted[0]?.paddr ?? 0n;
  for (const { paddr, filesz, memsz, flags, vaddr } of sorted) {
    if (paddr > end) parts.push({ label: '', length: Number(paddr - end), fill: ' ', style: 'dim' });
    const executable = (flags & 1) !== 0;
    const label =
      vaddr === 0n
        ? 'percpu'
        : executable
          ? (flags & 2) !== 0
            ? 'init'
            : 'text'
          : (flags & 2) !== 0
            ? 'data'
            : 'rodata';
    parts.push({ label, length: filesz, fill: executable ? '█' : '▓', style: executable ? 'green' : 'yellow' });
    parts.push({ label: 'bss', length: memsz - filesz, fill: '░', style: 'dim' });
    end = paddr + BigInt(memsz);
  }
  return parts;
}

function noteValue({ value, desc }: KernelNote): string {
  const text =
    typeof value === 'string'
      ? value
      : typeof value === 'bigint'
        ? hex(value)
        : value === null
          ? hexBytes(desc)
          : value.map((word) => hex(word)).join(' ');
  // A note is the image's own text: nothing of it may reach the terminal as a control sequence.
  return printable(text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE - 1)}…` : text);
}

/** Text from an image without control characters, which a terminal would obey. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, '�');
}

function segmentRows(elf: ElfFile): string[] {
  return table(
    [
      ['type', 'file', 'bytes', 'virtual', 'physical', 'in memory', 'flags'],
      ...elf.programHeaders.map((header) => [
        header.p_type === PT_LOAD ? 'LOAD' : header.p_type === 4 ? 'NOTE' : hex(header.p_type),
        hex(header.p_offset),
        count(Number(header.p_filesz)),
        hex(header.p_vaddr),
        hex(header.p_paddr),
        count(Number(header.p_memsz)),
        flagsText(header.p_flags),
      ]),
    ],
    [1, 2, 3, 4, 5],
  );
}

class Page {
  readonly #lines: string[] = [];
  readonly #io: CliIo;
  readonly width: number;

  constructor(io: CliIo) {
    this.#io = io;
    this.width = Math.min(io.width, WIDEST);
  }

  line(text = ''): void {
    this.#lines.push(text === '' ? '' : `${MARGIN}${text}`);
  }

  lines(all: readonly string[]): void {
    for (const text of all) this.line(text);
  }

  /** Plain text from the image or about it, broken into lines. */
  text(text: string): void {
    this.lines(wrap(printable(text), this.width - MARGIN.length));
  }

  heading(title: string, remark = ''): void {
    this.line();
    this.line(this.#io.paint('bold', title) + (remark === '' ? '' : `  ${this.#io.paint('dim', remark)}`));
  }

  bar(parts: readonly Part[]): void {
    this.lines(bar(parts, this.width - MARGIN.length, this.#io));
  }

  toString(): string {
    return `${this.#lines.join('\n')}\n`;
  }
}

function layout(page: Page, parts: readonly PlacedPart[], io: CliIo): void {
  if (parts.length === 0) return;
  page.heading('Layout of the file');
  page.bar(parts);
  const rows = table(
    parts.map(({ offset, length, label, meaning }) => [hex(offset), count(length), label, meaning]),
    [0, 1],
  );
  rows.forEach((row, i) => page.line(`${io.paint(parts[i]?.style ?? 'dim', parts[i]?.fill ?? ' ')} ${printable(row)}`));
}

function setupPart(page: Page, image: BootImage, io: CliIo): void {
  if (image.setup === null) return;
  page.heading('Setup header', 'boot.rst');
  const facts = setupFacts(image, image.setup);
  const rows = table(facts.map(([name, value]) => [name, value]));
  const width = Math.max(...rows.map((row) => row.length));
  rows.forEach((row, i) => {
    const [first = '', ...rest] = wrap(facts[i]?.[2] ?? '', page.width - MARGIN.length - width - 2);
    page.line(`${row.padEnd(width)}  ${io.paint('dim', first)}`);
    for (const line of rest) page.line(`${' '.repeat(width)}  ${io.paint('dim', line)}`);
  });
}

function efiPart(page: Page, pe: PeImage, io: CliIo): void {
  page.heading('EFI', `PE header at ${hex(pe.offset)}`);
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
  facts.push([
    'signature',
    pe.certificateTable === null
      ? 'none: Secure Boot refuses it'
      : `${pe.certificates.length} certificate${pe.certificates.length === 1 ? '' : 's'}, ${count(pe.certificateTable.length)} bytes at ${hex(pe.certificateTable.offset)}`,
  ]);
  if (pe.sbat !== null) facts.push(['.sbat', printable(pe.sbat.trim().split('\n')[1] ?? '')]);
  page.lines(table(facts));
  if (pe.linuxMagic) page.line(io.paint('dim', 'LINUX_PE_MAGIC at 0x38'));
}

function kernelPart(page: Page, { vmlinux, symbols, config }: RecoveredKernel, io: CliIo): void {
  const { elf, relocations } = vmlinux;
  page.heading(
    'Kernel',
    `ELF, ${vmlinux.bits}-bit, ${sizeText(vmlinux.elfBytes.length)}, entry ${hex(elf.header.e_entry)}`,
  );
  if (vmlinux.banner !== null) page.text(vmlinux.banner);
  const relocationText =
    relocations === null
      ? 'none: it stays where it was linked for'
      : [
          [relocations.abs64.length, '64-bit'],
          [relocations.abs32.length, '32-bit'],
          [relocations.inverse32.length, 'inverse 32-bit'],
        ]
          .filter(([number]) => number !== 0)
          .map(([number, name]) => `${count(Number(number))} ${String(name)}`)
          .join(', ');
  page.line(`relocations  ${relocationText}`);
  page.line(`symbols      ${symbols === null ? 'none (no kallsyms)' : `${count(symbols)} in kallsyms`}`);
  page.line(`.config      ${config ? 'inside (IKCONFIG)' : 'not inside'}`);
  page.line();
  const low = vmlinux.segments.reduce((least, { paddr }) => (paddr < least ? paddr : least), 1n << 64n);
  if (vmlinux.segments.length > 0) page.line(io.paint('dim', `physical memory from ${hex(low)} on; ░ bss`));
  page.bar(memoryParts(vmlinux));
  const [head = '', ...rows] = segmentRows(elf);
  page.line(io.paint('dim', head));
  page.lines(rows);
  if (vmlinux.notes.length === 0) return;
  page.heading('Notes');
  const noteRows = table(
    vmlinux.notes.map((note) => [printable(note.owner), note.name ?? `type ${hex(note.type)}`, noteValue(note)]),
  );
  page.lines(noteRows);
}

const MARKS: Readonly<Record<Problem['severity'], readonly [string, 'red' | 'yellow' | 'dim']>> = {
  error: ['error', 'red'],
  warning: ['warning', 'yellow'],
  note: ['note', 'dim'],
};

function problemPart(page: Page, problems: readonly Problem[], io: CliIo): void {
  page.heading('Problems');
  if (problems.length === 0) {
    page.line(io.paint('green', 'none'));
    return;
  }
  for (const { severity, message, offset, field } of problems) {
    const [word, style] = MARKS[severity];
    const place = [field, offset === null ? null : hex(offset)].filter((part) => part !== null).join(', ');
    page.line(
      `${io.paint(style, word.padEnd(7))}  ${printable(message)}${place === '' ? '' : io.paint('dim', ` (${place})`)}`,
    );
  }
}

function crcText(ok: boolean | null): string {
  return ok === null ? 'no CRC-32' : ok ? 'CRC-32 holds' : 'CRC-32 does NOT hold';
}

function draw(page: Page, title: string, inspection: Inspection, io: CliIo): void {
  const { image, document, recovered, inner } = inspection;
  page.line(io.paint(['bold', 'underline'], printable(title)));
  page.text(image.description);
  if (image.setup?.versionString != null) page.line(io.paint('bold', printable(image.setup.versionString)));
  const { size, sha256, crc32_ok } = document.file;
  page.line(io.paint('dim', `${count(size)} bytes, ${crcText(crc32_ok)}, sha256 ${sha256}`));
  layout(page, image.kind === 'uki' ? ukiParts(image) : fileParts(image, recovered), io);
  setupPart(page, image, io);
  if (image.stageElf !== null) {
    page.heading('Stage ELF', `the protected-mode part is an ELF file, at ${hex(image.stageElf.offset)}`);
    page.lines(segmentRows(image.stageElf.elf));
  }
  if (image.pe !== null) efiPart(page, image.pe, io);
  if (image.uki !== null) {
    page.heading('Unified kernel image');
    page.lines(
      table([
        ['.cmdline', image.uki.cmdline === null ? 'none' : printable(image.uki.cmdline)],
        ['.uname', image.uki.uname === null ? 'none' : printable(image.uki.uname)],
        ['.osrel', printable(/^PRETTY_NAME="?([^"\n]*)/m.exec(image.uki.osrel ?? '')?.[1] ?? 'none')],
        ['.initrd', image.uki.initrd === null ? 'none' : sizeText(image.uki.initrd.length)],
      ]),
    );
  }
  if (recovered?.kernel != null) kernelPart(page, recovered.kernel, io);
  problemPart(page, document.problems, io);
  if (inner !== null) {
    page.line();
    draw(page, `${title} › .linux`, inner, io);
  }
}

/** The whole page, ready for printing. Text from the image is made harmless for terminals. */
export function inspectPage(title: string, inspection: Inspection, io: CliIo): string {
  const page = new Page(io);
  page.line();
  draw(page, title, inspection, io);
  page.line();
  return page.toString();
}
