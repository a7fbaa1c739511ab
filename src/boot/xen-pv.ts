/**
 * The Xen PV protocol: the whole initial domain as Xen's public header xen.h describes it (start-of-day memory layout),
 * laid out like the hypervisor's for dom0 and like the toolstack's for a domU.
 *
 * Frames are numbered machine = pseudo-physical: whoever places the plan under a real hypervisor translates the page
 * tables and the p2m list and fills in what only a hypervisor has (shared info, event channels).
 */
import { latin1Bytes } from '../bytes/byte-view.js';
import { BootImageError } from '../bytes/error.js';
import { alignUp, hex } from '../bytes/numbers.js';
import { linkedPhysicalBase, type Vmlinux } from '../kernel/vmlinux.js';
import { readXenParameters, XEN_FEATURES, XEN_REFUSAL_RULES, type XenParameters } from '../kernel/xen-parameters.js';
import type { BootPlan, Region } from './plan.js';
import { xenArrangement, xenLayout, type XenLayout, type XenRole } from './xen-layout.js';
import { xenPageTables } from './xen-page-tables.js';
import {
  SIF_INITDOMAIN,
  SIF_MOD_START_PFN,
  SIF_PRIVILEGED,
  SIF_VIRT_P2M_4TOOLS,
  START_INFO_32,
  START_INFO_64,
  XEN_COMMAND_LINE_SIZE,
} from './xen-start-info.js';

const PAGE = 4096n;
/** HYPERVISOR_VIRT_START and _END of a 64-bit hypervisor: a PV kernel must stay outside. */
const HYPERVISOR_START = 0xffff800000000000n;
const HYPERVISOR_END = 0xffff880000000000n;
/** FLAT_KERNEL_CS64 and FLAT_KERNEL_SS64, FLAT_COMPAT_KERNEL_CS and _DS: ring 3 and ring 1 selectors of Xen's GDT. */
const SELECTORS = { 64: { cs: 0xe033, ss: 0xe02b }, 32: { cs: 0xe019, ss: 0xe021 } } as const;

/** What a PV domain of today's Xen offers: a required feature outside is refused. */
const PV_FEATURES =
  (1 << XEN_FEATURES.writable_page_tables) |
  (1 << XEN_FEATURES.writable_descriptor_tables) |
  (1 << XEN_FEATURES.supervisor_mode_kernel) |
  (1 << XEN_FEATURES.pae_pgdir_above_4gb) |
  (1 << XEN_FEATURES.hvm_callback_vector) |
  (1 << XEN_FEATURES.dom0);

export interface XenPvRequest {
  readonly role: XenRole;
  /** Bytes of RAM that the domain owns; a multiple of 4 KiB. */
  readonly memory: bigint;
  readonly initrd?: Uint8Array | undefined;
  /** Latin-1, at most 1023 bytes. */
  readonly commandLine: string;
}

function refuse(rule: string, message: string, hint?: string): never {
  throw new BootImageError('rule-violated', message, { field: rule, hint });
}

/** What the builders check before they lay anything out, in Xen's words. */
function checkKernel(xen: XenParameters, role: XenRole): void {
  if (xen.refusal !== null) refuse(XEN_REFUSAL_RULES[xen.refusal.kind], xen.refusal.says, 'see verify --for xen-dom0');
  if (xen.bits === 64 ? xen.machine !== 62 || xen.bigEndian : xen.machine !== 3 || xen.pae === 'no' || xen.bigEndian) {
    refuse('elf.xen-machine', 'Mismatch between Xen and DOM0 kernel');
  }
  const dom0 = 1 << XEN_FEATURES.dom0;
  if (role === 'dom0' && xen.supportedFeaturesNote && (xen.supported & dom0) === 0) {
    refuse(
      'notes.xen-dom0',
      'Kernel does not support Dom0 operation',
      'use a kernel with CONFIG_XEN_DOM0, or --role domu',
    );
  }
  const unmet = xen.required & ~(role === 'dom0' ? PV_FEATURES : PV_FEATURES & ~dom0);
  if (unmet !== 0) refuse('notes.xen-feature-offered', `unsupported feature requested (${hex(unmet)})`);
}

function startInfo(layout: XenLayout, request: XenPvRequest): Uint8Array {
  const { initrd, p2m, p2mTables } = layout;
  const initrdFrames = (request.initrd?.length ?? 0) > 0;
  const flags =
    (layout.role === 'dom0' ? SIF_PRIVILEGED | SIF_INITDOMAIN : SIF_VIRT_P2M_4TOOLS) |
    (initrdFrames && initrd?.mapped === false ? SIF_MOD_START_PFN : 0);
  const p2mFrames = p2m.outside ? BigInt(p2mTables.count) + alignUp(p2m.end - p2m.start, PAGE) / PAGE : 0n;
  const firstP2m = p2m.outside ? (p2m.pfn < p2mTables.pfn ? p2m.pfn : p2mTables.pfn) : 0n;
  const bytes = BigInt(request.initrd?.length ?? 0);
  // The toolstack counts the whole pages of an initrd that it leaves unmapped.
  const length = layout.role === 'domu' && initrd?.mapped === false ? alignUp(bytes, PAGE) : bytes;
  const values = {
    magic: latin1Bytes(`xen-3.0-x86_${String(layout.bits)}${layout.bits === 32 ? 'p' : ''}`),
    nr_pages: layout.pages,
    flags,
    store_mfn: layout.xenstore?.pfn ?? 0n,
    console_mfn: layout.console?.pfn ?? 0n,
    pt_base: layout.pageTables.start,
    nr_pt_frames: BigInt(layout.pageTables.count),
    mfn_list: p2m.start,
    mod_start: initrd === null ? 0n : initrd.mapped ? initrd.start : initrd.pfn,
    mod_len: length,
    cmd_line: latin1Bytes(request.commandLine),
    first_p2m_pfn: firstP2m,
    nr_p2m_frames: p2mFrames,
  };
  if (layout.bits === 64) return START_INFO_64.build(values);
  return START_INFO_32.build(
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, typeof value === 'bigint' ? Number(value) : value]),
    ),
  );
}

/** The p2m list: frame n of the domain is machine frame n. */
function identityP2m(pages: bigint, bits: 32 | 64): Uint8Array {
  const count = Number(pages);
  if (bits === 32) {
    const list = Uint32Array.from({ length: count }, (_, i) => i);
    return new Uint8Array(list.buffer);
  }
  const list = new Uint32Array(count * 2);
  for (let i = 0; i < count; i++) list[i * 2] = i;
  return new Uint8Array(list.buffer);
}

function kernelRegions(vmlinux: Vmlinux, layout: XenLayout): Region[] {
  const base = linkedPhysicalBase(vmlinux);
  const start = layout.kernel.pfn * PAGE + (layout.kernel.start & (PAGE - 1n));
  return vmlinux.segments
    .filter((segment) => segment.memsz > 0 && (segment.flags & 7) !== 0)
    .map((segment) => ({
      address: start + (segment.paddr - base),
      size: segment.memsz,
      bytes: vmlinux.elfBytes.subarray(segment.offset, segment.offset + segment.filesz),
      purpose: 'kernel' as const,
      label: `segment ${String(segment.index)}`,
    }));
}

/**
 * Builds the initial domain.
 * @throws BootImageError `rule-violated` (field: the rule id) for a kernel that Xen refuses, in Xen's words;
 * `does-not-fit` for a domain that is too small or a command line that is too long.
 */
export function planXenPv(vmlinux: Vmlinux, request: XenPvRequest): BootPlan {
  const xen = readXenParameters(vmlinux.raw, false);
  checkKernel(xen, request.role);
  if (request.commandLine.length >= XEN_COMMAND_LINE_SIZE) {
    throw new BootImageError(
      'does-not-fit',
      `the command line has ${String(request.commandLine.length)} bytes, Xen takes 1023`,
      { field: 'cmd_line' },
    );
  }
  const pages = request.memory / PAGE;
  const layout = xenLayout(xen, request.role, pages, BigInt(request.initrd?.length ?? 0));
  const { region } = layout;
  if (layout.bits === 64 && region.start < HYPERVISOR_END && region.end > HYPERVISOR_START) {
    refuse('memory.xen-private', 'DOM0 image overlaps with Xen private area.');
  }
  if (xen.hypercallPage !== null && (xen.hypercallPage < region.start || xen.hypercallPage >= region.end)) {
    refuse('notes.xen-hypercall-page', 'Invalid HYPERCALL_PAGE field in ELF notes.');
  }

  const tables = xenPageTables(layout);
  const page = (pfn: bigint): bigint => pfn * PAGE;
  const regions: Region[] = [
    ...kernelRegions(vmlinux, layout),
    {
      address: page(layout.p2m.pfn),
      size: Number(pages) * (layout.bits / 8),
      bytes: identityP2m(pages, layout.bits),
      purpose: 'p2m',
      label: 'Phys-Mach map',
    },
    {
      address: page(layout.startInfo.pfn),
      size: Number(PAGE),
      bytes: startInfo(layout, request),
      purpose: 'start-info',
      label: 'Start info',
    },
    {
      address: page(layout.pageTables.pfn),
      size: tables.region.length,
      bytes: tables.region,
      purpose: 'page-table',
      label: 'Page tables',
    },
    { address: page(layout.bootStack.pfn), size: Number(PAGE), purpose: 'stack', label: 'Boot stack' },
  ];
  if (layout.p2mTables.count > 0) {
    regions.push({
      address: page(layout.p2mTables.pfn),
      size: tables.outside.length,
      bytes: tables.outside,
      purpose: 'page-table',
      label: 'Page tables of the p2m list',
    });
  }
  if (layout.xenstore !== null)
    regions.push({
      address: page(layout.xenstore.pfn),
      size: Number(PAGE),
      purpose: 'reserved',
      label: 'Xenstore ring',
    });
  if (layout.console !== null)
    regions.push({ address: page(layout.console.pfn), size: Number(PAGE), purpose: 'reserved', label: 'Console ring' });
  if (layout.initrd !== null && request.initrd !== undefined) {
    regions.push({
      address: page(layout.initrd.pfn),
      size: request.initrd.length,
      bytes: request.initrd,
      purpose: 'initrd',
      label: 'Init. ramdisk',
    });
  }
  regions.sort((a, b) => (a.address < b.address ? -1 : 1));

  const { cs, ss } = SELECTORS[layout.bits];
  const limit = 0xffffffff;
  const initrdAddress = layout.initrd === null ? null : page(layout.initrd.pfn);
  return {
    stage: 'kernel',
    protocol: 'xen-pv',
    bits: layout.bits,
    memory: [{ address: 0n, size: pages * PAGE, type: 'ram' }],
    regions,
    cpu: {
      mode: layout.bits === 64 ? 'long' : 'protected',
      registers: { rsi: layout.startInfo.start, rsp: layout.bootStack.end },
      rip: xen.virtEntry,
      rflags: 0x202n,
      // Ring 3 (64-bit) and ring 1 (32-bit): the hypervisor keeps ring 0.
      cs: { selector: cs, base: 0n, limit, access: layout.bits === 64 ? 0xa0fb : 0xc0bb },
      data: { selector: ss, base: 0n, limit, access: layout.bits === 64 ? 0xc0f3 : 0xc0b3 },
      cr0: 0x80050033n,
      cr3: page(layout.pageTables.pfn),
      cr4: 0x20n,
      efer: layout.bits === 64 ? 0x500n : 0n,
      gdt: null,
    },
    firmware: 'none',
    hook: null,
    facts: {
      kernelBase: page(layout.kernel.pfn),
      physicalDelta: 0n,
      virtualDelta: 0n,
      startInfo: page(layout.startInfo.pfn),
      commandLine: {
        address: page(layout.startInfo.pfn) + (layout.bits === 64 ? 128n : 80n),
        text: request.commandLine,
      },
      ...(initrdAddress === null ? {} : { initrd: { address: initrdAddress, size: request.initrd?.length ?? 0 } }),
      arrangement: [...xenArrangement(layout), { label: 'ENTRY ADDRESS', start: xen.virtEntry, end: xen.virtEntry }],
      remarks: [
        'machine frames are numbered like pseudo-physical ones: a hypervisor translates page tables and p2m list',
        'shared_info and the event channels are the hypervisor’s to fill in',
        xen.hypercallPage === null
          ? 'the kernel asks for no hypercall page'
          : `the hypervisor writes the hypercall page at ${hex(xen.hypercallPage)}`,
      ],
    },
  };
}
