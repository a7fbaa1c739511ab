/** What lies where: the file cut into its parts, and the kernel's memory cut into its segments. */
import type { BootImage } from '../bzimage/boot-image.js';
import { kernelEnd } from '../bzimage/stages.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import type { Recovered } from './inspect-document.js';
import { sizeText } from './text.js';

export interface FilePart {
  /** Bytes in the file. */
  readonly offset: number;
  readonly length: number;
  readonly label: string;
  readonly meaning: string;
  readonly kind: 'setup' | 'code' | 'kernel' | 'extra';
}

/** The stages in order, and what follows them. */
function stageParts(image: BootImage, recovered: Recovered | null): FilePart[] {
  const { stages, setup, payload, pe, file } = image;
  const parts: FilePart[] = [];
  const add = (part: FilePart): void => {
    if (part.length > 0) parts.push(part);
  };
  if (stages.setup !== null) {
    add({ ...stages.setup, label: 'setup', kind: 'setup', meaning: 'boot sector and real-mode code' });
  }
  const { protected_mode: body } = stages;
  if (body === null || setup === null) return parts;
  const end = kernelEnd(file, setup, body);
  if (payload === null) {
    add({
      offset: body.offset,
      length: end - body.offset,
      label: 'code',
      kind: 'code',
      meaning: 'protected-mode code',
    });
  } else {
    const length = recovered?.length ?? payload.length;
    const after = payload.offset + length;
    const stub = { label: 'stub', kind: 'code' } as const;
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
      kind: 'kernel',
      meaning: payloadMeaning(image, recovered, length),
    });
    add({ ...stub, offset: after, length: end - after, meaning: 'decompressor: code and data, behind the payload' });
  }
  const signed = pe !== null && pe.certificates.length > 0;
  add({
    offset: end,
    length: file.length - end,
    label: signed ? 'signature' : 'tail',
    kind: 'extra',
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

const UKI_MEANINGS: Readonly<Record<string, string>> = {
  '.linux': 'the kernel, a boot image by itself',
  '.initrd': 'initial RAM disk',
  '.cmdline': 'kernel command line',
  '.osrel': 'os-release of the system',
  '.uname': 'release of the kernel',
  '.splash': 'picture',
  '.sbat': 'revocation data for Secure Boot',
};

const UKI_KINDS: Readonly<Record<string, FilePart['kind']>> = { '.linux': 'kernel', '.initrd': 'extra' };

function ukiParts({ pe }: BootImage): FilePart[] {
  if (pe === null) return [];
  return pe.sections
    .filter(({ inFile, length }) => inFile && length > 0)
    .map(({ name, offset, length }) => ({
      offset,
      length,
      label: name,
      kind: UKI_KINDS[name] ?? ('code' as const),
      meaning: UKI_MEANINGS[name] ?? '',
    }))
    .sort((a, b) => a.offset - b.offset);
}

/** The file cut into what lies there, in order. */
export function fileParts(image: BootImage, recovered: Recovered | null): FilePart[] {
  return image.kind === 'uki' ? ukiParts(image) : stageParts(image, recovered);
}

export interface MemoryPart {
  /** Guest physical, as linked. */
  readonly address: bigint;
  readonly length: number;
  /** Empty for a gap. */
  readonly label: string;
  readonly kind: 'code' | 'data' | 'bss' | 'gap';
}

const WRITABLE = 2;
const EXECUTABLE = 1;

function segmentLabel(vaddr: bigint, flags: number): string {
  if (vaddr === 0n) return 'percpu';
  const writable = (flags & WRITABLE) !== 0;
  if ((flags & EXECUTABLE) !== 0) return writable ? 'init' : 'text';
  return writable ? 'data' : 'rodata';
}

/** Physical memory from the lowest segment on: file bytes, bss and gaps. Parts may be empty. */
export function memoryParts(vmlinux: Vmlinux): MemoryPart[] {
  const sorted = [...vmlinux.segments].sort((a, b) => (a.paddr < b.paddr ? -1 : 1));
  const parts: MemoryPart[] = [];
  let end = sorted[0]?.paddr ?? 0n;
  for (const { paddr, filesz, memsz, flags, vaddr } of sorted) {
    if (paddr > end) parts.push({ address: end, label: '', length: Number(paddr - end), kind: 'gap' });
    const kind = (flags & EXECUTABLE) !== 0 ? 'code' : 'data';
    parts.push({ address: paddr, label: segmentLabel(vaddr, flags), length: filesz, kind });
    parts.push({ address: paddr + BigInt(filesz), label: 'bss', length: memsz - filesz, kind: 'bss' });
    end = paddr + BigInt(memsz);
  }
  return parts;
}
