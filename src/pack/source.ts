/** What is packed: an ELF kernel with its relocations, and what is known about it besides. */
import { BootImageError } from '../bytes/error.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { XLOADFLAGS } from '../bzimage/setup-header.js';
import type { Compression } from '../compression/formats.js';
import { findConfig, readConfig } from '../kernel/ikconfig.js';
import { readVmlinux } from '../kernel/read-vmlinux.js';
import { decompressPayload, type RecoverOptions } from '../kernel/recover.js';
import { linkedPhysicalBase, linkedPhysicalEnd, type Vmlinux } from '../kernel/vmlinux.js';
import { Judge } from '../verify/judge.js';
import { ownChecks } from '../verify/loaders/own.js';
import { subjectOf } from '../verify/subject.js';
import { relocationsFromElf } from './elf-relocations.js';
import { needsStripping, stripElf } from './strip.js';

export interface PackSource {
  readonly bits: 32 | 64;
  /** The ELF file and its relocation table, as the decompressor has to yield them. */
  readonly raw: Uint8Array;
  readonly elfSize: number;
  readonly relocationGroups: 0 | 1 | 2 | 3;
  readonly loadPhysicalAddr: bigint;
  /** From loadPhysicalAddr to the end of the last segment. */
  readonly span: number;
  readonly relocatable: boolean;
  readonly kaslr: boolean;
  readonly kernelAlignment: number;
  /** Exponent of two. */
  readonly minAlignment: number;
  readonly la57: { readonly capable: boolean; readonly wanted: boolean };
  readonly efiKexec: boolean;
  readonly versionString: string;
  readonly setupTypeMax: number;
  readonly cmdlineSize: number;
  readonly initrdAddrMax: number;
  /** The image's own payload, reusable while the kernel is unchanged; null for a bare vmlinux. */
  readonly payload: { readonly compression: Compression; readonly bytes: Uint8Array } | null;
  /** The image that it came from; null for a bare vmlinux. */
  readonly image: BootImage | null;
}

/** The kernel's own defaults (arch/x86/boot/header.S, arch/x86/include/asm/setup.h). */
const CMDLINE_SIZE = 2047;
const INITRD_ADDR_MAX = 0x7fffffff;
const ALIGNMENT = 0x200000;
const MIN_ALIGNMENT = { 64: 21, 32: 13 } as const;
/** SETUP_INDIRECT with the newest setup_data type of Linux 6.1. */
const SETUP_TYPE_MAX = 0x80000009;

/** @throws BootImageError `rule-violated` for a kernel that our own loader would not start */
function refuseUnfitKernel(image: BootImage, vmlinux: Vmlinux): void {
  const reason = new Judge(subjectOf(image, vmlinux)).firstFailure(
    ownChecks('kernel', vmlinux.bits === 64 ? 'linux64' : 'linux32'),
  );
  if (reason === null) return;
  throw new BootImageError('rule-violated', `${reason.message}: ${reason.says}`, {
    field: reason.rule,
    hint: reason.cure.replace(/\.$/, ''),
  });
}

/** "6.1.0 (user@host) #1 SMP ...", as the kernel's build puts it into the setup part, from the banner. */
function versionFromBanner(vmlinux: Vmlinux): string {
  const match = /^Linux version (\S+ \(\S+\)).*?(#\d+ .*)$/.exec(vmlinux.banner ?? '');
  return match === null ? (vmlinux.release ?? 'unknown') : `${match[1] ?? ''} ${match[2] ?? ''}`;
}

/** The options that matter here, from the .config inside the kernel; null if it has none. */
async function configOptions(vmlinux: Vmlinux): Promise<ReadonlySet<string> | null> {
  if (findConfig(vmlinux) === null) return null;
  const text = new TextDecoder().decode(await readConfig(vmlinux));
  return new Set([...text.matchAll(/^(CONFIG_\w+)=y$/gm)].map(([, name = '']) => name));
}

/** Kernel bytes as they go into the payload: stripped like the kernel's build does, with a relocation table behind. */
function kernelBytes(image: BootImage, raw: Uint8Array): Uint8Array {
  const vmlinux = readVmlinux(raw, { tolerant: true });
  refuseUnfitKernel(image, vmlinux);
  if (!needsStripping(vmlinux.elf)) return raw;
  const table = relocationsFromElf(vmlinux);
  const stripped = stripElf(vmlinux.elf);
  if (table === null) return stripped;
  const bytes = new Uint8Array(stripped.length + table.length);
  bytes.set(stripped);
  bytes.set(table, stripped.length);
  return bytes;
}

/**
 * Reads what is to be packed: a vmlinux, stripped or not, or an image of any layout.
 * @throws BootImageError `rule-violated`, and as `decompressPayload` and `readVmlinux`
 */
export async function readPackSource(image: BootImage, options: RecoverOptions = {}): Promise<PackSource> {
  const recovered =
    image.kind === 'elf' ? { bytes: image.file.bytes, payload: null, image } : await decompressPayload(image, options);
  const holder = recovered.image;
  const raw = kernelBytes(image, recovered.bytes);
  const vmlinux = readVmlinux(raw);
  const setup = holder.setup;
  const config = await configOptions(vmlinux);
  const has = (name: string): boolean | null => (config === null ? null : config.has(name));
  const groups = vmlinux.relocations?.groups ?? 0;
  const flags = setup?.values.xloadflags ?? 0;
  const flag = (mask: number, name: string): boolean => (setup === null ? has(name) === true : (flags & mask) !== 0);
  const relocatable =
    setup === null ? (has('CONFIG_RELOCATABLE') ?? groups > 0) : setup.values.relocatable_kernel === 1;
  const loadPhysicalAddr = linkedPhysicalBase(vmlinux);
  const { payload } = recovered;
  return {
    bits: vmlinux.bits,
    raw,
    elfSize: vmlinux.elfBytes.length,
    relocationGroups: groups,
    loadPhysicalAddr,
    span: Number(linkedPhysicalEnd(vmlinux) - loadPhysicalAddr),
    relocatable,
    kaslr: relocatable && groups > 0 && has('CONFIG_RANDOMIZE_BASE') !== false,
    kernelAlignment: setup?.values.kernel_alignment ?? ALIGNMENT,
    minAlignment: setup?.values.min_alignment ?? MIN_ALIGNMENT[vmlinux.bits],
    la57: {
      capable: vmlinux.bits === 64 && flag(XLOADFLAGS.XLF_5LEVEL, 'CONFIG_X86_64'),
      wanted: vmlinux.bits === 64 && flag(XLOADFLAGS.XLF_5LEVEL_ENABLED, 'CONFIG_X86_5LEVEL'),
    },
    efiKexec: vmlinux.bits === 64 && flag(XLOADFLAGS.XLF_EFI_KEXEC, 'CONFIG_EFI'),
    versionString: setup?.versionString ?? versionFromBanner(vmlinux),
    setupTypeMax: holder.kernelInfo?.setup_type_max ?? SETUP_TYPE_MAX,
    cmdlineSize: setup?.values.cmdline_size ?? CMDLINE_SIZE,
    initrdAddrMax: setup?.values.initrd_addr_max ?? INITRD_ADDR_MAX,
    payload:
      payload === null || payload.compression === null || raw !== recovered.bytes
        ? null
        : { compression: payload.compression, bytes: holder.file.slice(payload.offset, payload.length) },
    image: setup === null ? null : holder,
  };
}

/** The same source with another kernel: changed notes, say. */
export function withRaw(source: PackSource, raw: Uint8Array): PackSource {
  return { ...source, raw, elfSize: readVmlinux(raw).elfBytes.length, payload: null };
}
