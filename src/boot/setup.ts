/**
 * The setup stage: what a BIOS boot loader does (boot.rst, "Memory Layout of The Real-Mode Code", "Sample Boot
 * Configuration", "Running the Kernel"). The guest runs everything; firmware services are there.
 */
import { BootImageError } from '../bytes/error.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { LOADFLAGS } from '../bzimage/setup-header.js';
import type { Vmlinux } from '../kernel/vmlinux.js';
import { fillHeader } from './boot-params.js';
import { OLD_COMMAND_LINE_SIZE, videoMode } from './command-line.js';
import { realModeState } from './cpu.js';
import { Draft } from './draft.js';
import { LoaderHeader } from './loader-header.js';
import type { BootPlan, CpuState } from './plan.js';
import type { PlanRequest } from './request.js';
import { kernelBits, LOW_LOAD_ADDRESS, placeStage, protectedModeBytes, requireSetup } from './stage.js';

/** How the real-mode part lies in memory; offsets count from `base`. */
interface RealModeLayout {
  /** A multiple of 16 below 1 MiB. */
  readonly base: bigint;
  /** End of the heap, for heap_end_ptr. */
  readonly heapEnd: number;
  readonly stackTop: number;
  /** End of what setup may use; the command line lies behind it. */
  readonly end: number;
  /** One past the highest byte of the command line. */
  readonly ceiling: bigint;
}

/** Protocol 2.02 and newer run from any segment. This one leaves the BIOS' own memory alone; setup gets all of its 64 KiB. */
const MODERN: RealModeLayout = {
  base: 0x10000n,
  heapEnd: 0xe000,
  stackTop: 0xfff0,
  end: 0x10000,
  ceiling: 0x9a000n,
};
/** Older protocols and every zImage work at 0x90000; boot.rst: "avoid using memory above 0x9a000". */
const OLD: RealModeLayout = { base: 0x90000n, heapEnd: 0x9800, stackTop: 0x9800, end: 0x9800, ceiling: 0x9a000n };

/** boot.rst: the real-mode code can total up to 32 KiB. */
const SETUP_CODE_LIMIT = 0x8000;
/** Largest protected-mode part of a zImage: from 0x10000 to the setup code at 0x90000. */
const LOW_LOAD_LIMIT = 0x80000;

/** Words in the boot sector by which protocols before 2.02 take a command line. */
const CMD_LINE_MAGIC = { offset: 0x20, value: 0xa33f };
const CMD_LINE_OFFSET = 0x22;

/** A real-mode part with its place; the stage that follows it is still to be placed. */
export interface RealModeDraft {
  readonly draft: Draft;
  readonly header: LoaderHeader;
  readonly cpu: CpuState;
  /** Writes the setup code, when every header field has been set. */
  readonly addSetupCode: () => void;
}

/**
 * Places the real-mode part, its heap and stack, and the command line.
 * @throws BootImageError `unsupported`, `bad-field`, `does-not-fit`, `overlap`, `bad-argument`
 */
export function placeRealMode(image: BootImage, request: PlanRequest): RealModeDraft {
  const header = LoaderHeader.of(requireSetup(image));
  const range = image.stages.setup ?? { offset: 0, length: 0 };
  const code = image.file.slice(range.offset, range.length, 'setup_sects').slice();
  if (code.length > SETUP_CODE_LIMIT) {
    throw new BootImageError(
      'bad-field',
      `setup code of ${code.length} bytes; real mode leaves it ${SETUP_CODE_LIMIT}`,
      {
        field: 'setup_sects',
        offset: 0x1f1,
      },
    );
  }
  const draft = new Draft(request);
  draft.refuseKernelOptions();
  if ((request.initrd?.length ?? 0) > 0) header.require('ramdisk_image', 'an initrd');
  const layout = header.version >= 0x0202 && header.loadedHigh ? MODERN : OLD;
  draft.placement.claim(layout.base, BigInt(layout.end), 'the setup code with its heap and stack');
  const limit = header.has('cmd_line_ptr') ? header.commandLineSize : OLD_COMMAND_LINE_SIZE;
  const line = draft.addCommandLine(limit, layout.base + BigInt(layout.end), layout.ceiling);
  draft.keepFirmwareMemory();

  header.set('heap_end_ptr', layout.heapEnd - 0x200);
  if (header.has('heap_end_ptr')) header.setLoadflags(LOADFLAGS.CAN_USE_HEAP, LOADFLAGS.KASLR_FLAG);
  const mode = videoMode(draft.commandLine);
  if (mode !== null) header.set('vid_mode', mode);

  const addSetupCode = (): void => {
    fillHeader(draft, header);
    if (!header.has('cmd_line_ptr')) {
      const offset = Number(line - layout.base);
      const view = new DataView(code.buffer);
      view.setUint16(CMD_LINE_MAGIC.offset, CMD_LINE_MAGIC.value, true);
      view.setUint16(CMD_LINE_OFFSET, offset, true);
      header.set('setup_move_size', offset + draft.commandLine.length + 1);
    }
    header.writeTo(code);
    const rest = { address: layout.base + BigInt(code.length), size: layout.end - code.length };
    draft.add({ address: layout.base, size: code.length, bytes: code, purpose: 'setup', label: 'setup code' });
    draft.add({ ...rest, purpose: 'stack', label: "setup's heap and stack" });
  };
  return { draft, header, cpu: realModeState(Number(layout.base >> 4n), layout.stackTop), addSetupCode };
}

function placeLowStage(draft: Draft, image: BootImage): void {
  const bytes = protectedModeBytes(image);
  if (bytes.length > LOW_LOAD_LIMIT) {
    throw new BootImageError(
      'does-not-fit',
      `a zImage's protected-mode part of ${bytes.length} bytes does not fit below its setup code (${LOW_LOAD_LIMIT})`,
      { field: 'loadflags', offset: 0x211 },
    );
  }
  draft.placement.claim(LOW_LOAD_ADDRESS, BigInt(bytes.length), 'the protected-mode part');
  draft.add({ address: LOW_LOAD_ADDRESS, size: bytes.length, bytes, purpose: 'stage', label: 'protected-mode part' });
}

/** @throws BootImageError as `placeRealMode` and `placeStage` */
export function planSetup(image: BootImage, vmlinux: Vmlinux | null, request: PlanRequest): BootPlan {
  const { draft, header, cpu, addSetupCode } = placeRealMode(image, request);
  if (header.loadedHigh) placeStage(draft, image, header, 'conventional');
  else placeLowStage(draft, image);
  draft.addInitrd(header.initrdLimit, false);
  addSetupCode();
  return draft.finish({
    stage: 'setup',
    protocol: 'linux16',
    bits: kernelBits(image, vmlinux),
    cpu,
    firmware: 'bios',
    hook: null,
  });
}
