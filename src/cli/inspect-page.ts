/** The page that `inspect` prints for people. */
import { hex } from '../bytes/numbers.js';
import type { BootImage, Problem } from '../bzimage/boot-image.js';
import type { PeImage } from '../bzimage/pe.js';
import { PT_LOAD } from '../elf/definitions.js';
import type { ElfFile } from '../elf/elf-file.js';
import { flagsText, type RecoveredKernel } from '../explain/inspect-document.js';
import type { Inspection } from '../explain/inspect.js';
import { fileParts, memoryParts, type FilePart, type MemoryPart } from '../explain/layout.js';
import { efiFacts } from '../explain/efi-facts.js';
import { kernelFacts, noteText, ukiFacts } from '../explain/kernel-facts.js';
import { setupFacts } from '../explain/setup-facts.js';
import { count, printable, sizeText } from '../explain/text.js';
import { bar, table, wrap, type Part } from './inspect-drawing.js';
import type { CliIo } from './io.js';

const MARGIN = '  ';
const WIDEST = 110;
/** Longer descriptors are cut on the page; JSON has them whole. */
const LONGEST_VALUE = 60;

type Look = Pick<Part, 'fill' | 'style'>;

const FILE_LOOKS: Readonly<Record<FilePart['kind'], Look>> = {
  setup: { fill: '░', style: 'cyan' },
  code: { fill: '▒', style: 'blue' },
  kernel: { fill: '█', style: 'green' },
  extra: { fill: '▓', style: 'magenta' },
};

const MEMORY_LOOKS: Readonly<Record<MemoryPart['kind'], Look>> = {
  code: { fill: '█', style: 'green' },
  data: { fill: '▓', style: 'yellow' },
  bss: { fill: '░', style: 'dim' },
  gap: { fill: ' ', style: 'dim' },
};

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

function layout(page: Page, parts: readonly FilePart[], io: CliIo): void {
  if (parts.length === 0) return;
  page.heading('Layout of the file');
  page.bar(parts.map((part) => ({ ...part, ...FILE_LOOKS[part.kind] })));
  const rows = table(
    parts.map(({ offset, length, label, meaning }) => [hex(offset), count(length), label, meaning]),
    [0, 1],
  );
  rows.forEach((row, i) => {
    const { fill, style } = FILE_LOOKS[parts[i]?.kind ?? 'extra'];
    page.line(`${io.paint(style, fill)} ${printable(row)}`);
  });
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
  page.lines(table(efiFacts(pe)));
  if (pe.linuxMagic) page.line(io.paint('dim', 'LINUX_PE_MAGIC at 0x38'));
}

function kernelPart(page: Page, kernel: RecoveredKernel, io: CliIo): void {
  const { vmlinux } = kernel;
  const { elf } = vmlinux;
  page.heading(
    'Kernel',
    `ELF, ${vmlinux.bits}-bit, ${sizeText(vmlinux.elfBytes.length)}, entry ${hex(elf.header.e_entry)}`,
  );
  if (vmlinux.banner !== null) page.text(vmlinux.banner);
  page.lines(table(kernelFacts(kernel)));
  page.line();
  const low = vmlinux.segments.reduce((least, { paddr }) => (paddr < least ? paddr : least), 1n << 64n);
  if (vmlinux.segments.length > 0) page.line(io.paint('dim', `physical memory from ${hex(low)} on; ░ bss`));
  page.bar(memoryParts(vmlinux).map((part) => ({ ...part, ...MEMORY_LOOKS[part.kind] })));
  const [head = '', ...rows] = segmentRows(elf);
  page.line(io.paint('dim', head));
  page.lines(rows);
  if (vmlinux.notes.length === 0) return;
  page.heading('Notes');
  const noteRows = table(
    vmlinux.notes.map((note) => [
      printable(note.owner),
      note.name ?? `type ${hex(note.type)}`,
      noteText(note, LONGEST_VALUE),
    ]),
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
  layout(page, fileParts(image, recovered), io);
  setupPart(page, image, io);
  if (image.stageElf !== null) {
    page.heading('Stage ELF', `the protected-mode part is an ELF file, at ${hex(image.stageElf.offset)}`);
    page.lines(segmentRows(image.stageElf.elf));
  }
  if (image.pe !== null) efiPart(page, image.pe, io);
  if (image.uki !== null) {
    page.heading('Unified kernel image');
    page.lines(table(ukiFacts(image.uki)));
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
