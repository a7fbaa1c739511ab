/** A plan as people see it: guest memory cut into stripes, and what the picture does not show in words. */
import { ADAPTER_HOLE, usableRam } from '../boot/placement.js';
import { regionRange } from '../boot/plan-check.js';
import type { BootPlan, CpuState, Region, RegionPurpose } from '../boot/plan.js';
import { hex } from '../bytes/numbers.js';
import { subtractRanges, type AddressRange } from '../bytes/ranges.js';
import { sizeText } from './text.js';

export type StripeKind = 'kernel' | 'cleared' | 'stage' | 'initrd' | 'data' | 'free' | 'absent';

/** A piece of guest memory; all together leave nothing out. */
export interface Stripe extends AddressRange {
  readonly label: string;
  readonly kind: StripeKind;
  /** Height of the picture in rows: one up to 256 KiB, another for each factor of eight, five at most; emptiness one. */
  readonly rows: number;
}

const KINDS: Partial<Record<RegionPurpose, StripeKind>> = {
  kernel: 'kernel',
  bss: 'cleared',
  stage: 'stage',
  setup: 'stage',
  trampoline: 'stage',
  initrd: 'initrd',
};

/** Less cleared memory than this behind a region's bytes is not worth a stripe of its own. */
const WORTH_DRAWING = 0x10000;
const ONE_ROW = 0x40000;
const MOST_ROWS = 5;

function placed(start: bigint, end: bigint, label: string, kind: StripeKind): Stripe {
  const steps = Math.ceil(Math.log2(Number(end - start) / ONE_ROW) / 3);
  return { start, end, label, kind, rows: Math.min(MOST_ROWS, Math.max(1, 1 + steps)) };
}

function regionStripes(region: Region): Stripe[] {
  const { start, end } = regionRange(region);
  const kind = KINDS[region.purpose] ?? 'data';
  const length = region.bytes?.length ?? 0;
  if (region.purpose !== 'kernel' || region.size - length < WORTH_DRAWING)
    return [placed(start, end, region.label, kind)];
  const middle = start + BigInt(length);
  return [placed(start, middle, region.label, kind), placed(middle, end, 'bss, cleared', 'cleared')];
}

/** Guest memory from address 0 to the end of RAM, in address order. */
export function planStripes(plan: BootPlan): Stripe[] {
  const pv = plan.protocol === 'xen-pv';
  const ram = usableRam(plan.memory, pv ? [] : [ADAPTER_HOLE]);
  const top = ram.at(-1)?.end ?? 0n;
  const taken = plan.regions.map(regionRange);
  const free = ram.flatMap((range) => subtractRanges(range, taken));
  const holes = subtractRanges({ start: 0n, end: top }, ram);
  return [
    ...plan.regions.flatMap(regionStripes),
    ...free.map((range): Stripe => ({ ...range, label: 'free', kind: 'free', rows: 1 })),
    ...holes.map((range): Stripe => ({ ...range, label: 'no RAM', kind: 'absent', rows: 1 })),
  ].sort((a, b) => (a.start < b.start ? -1 : 1));
}

const MODES = {
  real: '16-bit real mode',
  protected: '32-bit protected mode, paging off',
  long: '64-bit long mode',
} as const;

const PREFIX = { real: '', protected: 'e', long: 'r' } as const;

/** A register under the name of the mode: rsi, esi or si. */
function registerName(cpu: CpuState, name: string): string {
  return PREFIX[cpu.mode] + name.slice(1);
}

function cpuText({ cpu }: BootPlan): string {
  const registers = [
    ...Object.entries(cpu.registers).map(([name, value]) => `${registerName(cpu, name)} ${hex(value as bigint)}`),
    ...(cpu.cr3 === 0n ? [] : [`cr3 ${hex(cpu.cr3)}`]),
    ...(cpu.gdt === null ? [] : [`GDT at ${hex(cpu.gdt.base)}`]),
  ];
  const at = cpu.mode === 'real' ? `${cpu.cs.selector.toString(16)}:${cpu.rip.toString(16)}` : hex(cpu.rip);
  return `${MODES[cpu.mode]}; starts at ${at}; ${registers.join(', ')}`;
}

function moveText(plan: BootPlan): string | null {
  const { kernelBase, physicalDelta = 0n, virtualDelta = 0n, kaslr } = plan.facts;
  if (kernelBase === undefined) return null;
  const chosen = kaslr === undefined ? '' : kaslr.seed === null ? ', at random' : `, at random from "${kaslr.seed}"`;
  const moved =
    physicalDelta === 0n && virtualDelta === 0n
      ? 'where it was linked for'
      : `moved by ${hex(physicalDelta)} in physical and ${hex(virtualDelta)} in virtual memory`;
  return `at ${hex(kernelBase)}, ${moved}${chosen}`;
}

/** What the picture does not show, as pairs of a heading and a text. */
export function planFacts(plan: BootPlan): (readonly [heading: string, text: string])[] {
  const { commandLine, initrd, arrangement } = plan.facts;
  const ram = usableRam(plan.memory).reduce((sum, { start, end }) => sum + (end - start), 0n);
  const kernel = moveText(plan);
  return [
    ['plan', `${plan.stage} by ${plan.protocol}, ${plan.bits}-bit, ${sizeText(Number(ram))} of RAM`],
    ['cpu', cpuText(plan)],
    ...(kernel === null ? [] : [['kernel', kernel] as const]),
    ...(initrd === undefined ? [] : [['initrd', `${initrd.size} bytes at ${hex(initrd.address)}`] as const]),
    ...(commandLine === undefined ? [] : [['command', commandLine.text] as const]),
    ...(plan.hook === null
      ? []
      : [['hook', `at ${hex(plan.hook.address)}, reported by port ${hex(plan.hook.port)}`] as const]),
    ...(arrangement ?? []).map(({ label, start, end }) => [label, `${hex(start)}-${hex(end)}`] as const),
    ...plan.facts.remarks.map((remark) => ['note', remark] as const),
  ];
}
