/**
 * bzelf: Linux x86 kernel images. Everything here runs unchanged in Node and in browsers.
 *
 *     bytes --readBootImage--> BootImage --recoverVmlinux--> Vmlinux --planBoot--> BootPlan --Machine.start--> Guest
 */
export { BootImageError, describeError, ERROR_CODES, type Blame, type ErrorCode } from './bytes/error.js';
export { ByteView } from './bytes/byte-view.js';

export type { BootImage, FileRange, ImageKind, Payload, Problem, StageElf, Stages } from './bzimage/boot-image.js';
export { readBootImage } from './bzimage/read-boot-image.js';
export { LOADFLAGS, SETUP_FIELDS, writeSetupField, XLOADFLAGS, type SetupHeader } from './bzimage/setup-header.js';
export type { KernelInfo } from './bzimage/kernel-info.js';
export type { PeImage } from './bzimage/pe.js';

export { COMPRESSION_FORMATS, detectCompression, type Compression } from './compression/formats.js';
export { decompress, type Decompressed, type DecompressOptions } from './compression/decompress.js';
export { compress } from './compression/compress.js';

export type { ElfFile, ElfHeader, ProgramHeader, SectionHeader } from './elf/elf-file.js';
export { elfEnd, readElf } from './elf/read-elf.js';
export { addSymbols } from './elf/add-symbols.js';

export type { KernelSegment, Vmlinux } from './kernel/vmlinux.js';
export { readVmlinux } from './kernel/read-vmlinux.js';
export { decompressPayload, DEFAULT_LIMIT, recoverVmlinux, type RecoverOptions } from './kernel/recover.js';
export { findNote, noteNumber, type KernelNote } from './kernel/notes.js';
export type { RelocationTable } from './kernel/relocation-table.js';
export { applyRelocations, placeKernel, type KernelMove, type PlacedSegment } from './kernel/relocate.js';
export { relocatedElf } from './kernel/relocated-elf.js';
export { readConfig } from './kernel/ikconfig.js';
export { readBtf } from './kernel/btf.js';
export { countKallsyms, formatSystemMap, readKallsyms, type KernelSymbol } from './kernel/kallsyms/kallsyms.js';
export { readXenParameters, type XenParameters } from './kernel/xen-parameters.js';

export type {
  BootPlan,
  CpuState,
  DescriptorTable,
  HookPoint,
  PlanFacts,
  Protocol,
  Region,
  RegionPurpose,
  SegmentState,
  Stage,
} from './boot/plan.js';
export { parseMemorySize, pcMemoryMap, type MemoryMap, type MemoryRange } from './boot/memory-map.js';
export { parseMemoryMap } from './boot/e820.js';
export type { PlanRequest } from './boot/request.js';
export { planBoot } from './boot/plan-boot.js';
export { checkPlan } from './boot/plan-check.js';
export { resumeAtKernel } from './boot/hook.js';
export { planToJson, type PlanDocument } from './boot/plan-json.js';
export { planXenPv, type XenPvRequest } from './boot/xen-pv.js';
export { SERIAL_COMMAND_LINE } from './boot/command-line.js';

export { verify, verifyFor, type Report, type Verdict, type Violation } from './verify/judge.js';
export { planStart, refuseUnfit } from './verify/obey.js';
export { createSubject, subjectOf, Subject } from './verify/subject.js';
export { LOADER_IDS, type Loader, type LoaderId } from './verify/loader.js';
export { LOADERS } from './verify/loaders/index.js';
export type { Rule, RuleStage, Severity } from './verify/rule.js';
export { RULES } from './verify/rules/index.js';

export { pack, type Packed, type PackRequest } from './pack/pack.js';
export { parseNote, parseNoteName, type NoteChange } from './pack/edit-notes.js';
export { probeElf, probeImage } from './probe/image.js';
export { readProbeReport, type ProbeReport } from './probe/report.js';

export { inspect, type Inspection, type InspectRequest } from './explain/inspect.js';
export type { InspectDocument, Recovered, RecoveredKernel } from './explain/inspect-document.js';
export { setupFacts, type Fact } from './explain/setup-facts.js';
export { efiFacts } from './explain/efi-facts.js';
export { kernelFacts, noteText, ukiFacts } from './explain/kernel-facts.js';
export { fileParts, memoryParts, type FilePart, type MemoryPart } from './explain/layout.js';
export { planFacts, planStripes, type Stripe, type StripeKind } from './explain/plan-picture.js';
export { extract, type Extract, type ExtractRequest } from './explain/extract.js';
export { count, sizeText } from './explain/text.js';

export { writeCpio } from './cpio/newc.js';
export { demoInitramfs } from './cpio/initramfs.js';

export type { Guest, GuestEnd, GuestExit, Machine, StartOptions, StartTiming } from './machines/machine.js';
export { createV86Machine, type V86Bios, type V86Parts, type V86Resources } from './machines/v86/v86-machine.js';
