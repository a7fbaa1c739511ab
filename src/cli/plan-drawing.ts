/** A plan on the terminal: guest memory from address 0 downwards, then the CPU and what was decided. */
import { hex } from '../bytes/numbers.js';
import { subtractRanges } from '../bytes/ranges.js';
import { ADAPTER_HOLE, usableRam } from '../boot/placement.js';
import { regionRange } from '../boot/plan-check.js';
import type { BootPlan, CpuState, Region, RegionPurpose } from '../boot/plan.js';
import { sizeText, wrap } from './inspect-drawing.js';
import type { CliIo } from './io.js';

type Style = Parameters<CliIo['paint']>[0];

interface Look {
  /** One character that fills the box. */
  readonly fill: string;
  readonly style: Style;
}

const KERNEL: Look = { fill: '▓', style: 'green' };
const CLEARED: Look = { fill: '░', style: 'green' };
const STAGE: Look = { fill: '▒', style: 'yellow' };
const DATA: Look = { fill: '─', style: 'cyan' };
const INITRD: Look = { fill: '▞', style: 'blue' };
const FREE: Look = { fill: ' ', style: 'gray' };
const ABSENT: Look = { fill: '╱', style: 'gray' };

const LOOKS: Partial<Record<RegionPurpose, Look>> = {
  kernel: KERNEL,
  bss: CLEARED,
  stage: STAGE,
  setup: STAGE,
  trampoline: STAGE,
  initrd: INITRD,
};

/** A stripe of the picture. */
interface Stripe {
  readonly start: bigint;
  readonly end: bigint;
  readonly label: string;
  readonly look: Look;
  /** Rows grow with the size of what the plan places; emptiness takes one. */
  readonly tall: boolean;
}

/** Less cleared memory than this behind a region's bytes is not worth a stripe of its own. */
const WORTH_DRAWING = 0x10000;

function regionStripes(region: Region): Stripe[] {
  const { start, end } = regionRange(region);
  const look = LOOKS[region.purpose] ?? DATA;
  const length = region.bytes?.length ?? 0;
  const stripe = { start, end, label: region.label, look, tall: true };
  if (region.purpose !== 'kernel' || region.size - length < WORTH_DRAWING) return [stripe];
  const middle = start + BigInt(length);
  return [
    { ...stripe, end: middle },
    { start: middle, end, label: 'bss, cleared', look: CLEARED, tall: true },
  ];
}

function stripes(plan: BootPlan): Stripe[] {
  const pv = plan.protocol === 'xen-pv';
  const ram = usableRam(plan.memory, pv ? [] : [ADAPTER_HOLE]);
  const top = ram.at(-1)?.end ?? 0n;
  const placed = plan.regions.map(regionRange);
  const free = ram.flatMap((range) => subtractRanges(range, placed));
  const holes = subtractRanges({ start: 0n, end: top }, ram);
  return [
    ...plan.regions.flatMap(regionStripes),
    ...free.map((range): Stripe => ({ ...range, label: 'free', look: FREE, tall: false })),
    ...holes.map((range): Stripe => ({ ...range, label: 'no RAM', look: ABSENT, tall: false })),
  ].sort((a, b) => (a.start < b.start ? -1 : 1));
}

/** One row up to 256 KiB, another for each factor of eight, five at most. */
function rowsOf({ start, end, tall }: Stripe): number {
  if (!tall) return 1;
  const steps = Math.ceil(Math.log2(Number(end - start) / 0x40000) / 3);
  return Math.min(5, Math.max(1, 1 + steps));
}

function boxed(text: string, fill: string, width: number): string {
  const label = text === '' ? '' : ` ${text.length > width - 4 ? `${text.slice(0, width - 5)}…` : text} `;
  const left = Math.floor((width - label.length) / 2);
  return fill.repeat(left) + label + fill.repeat(width - label.length - left);
}

const SIZE_WIDTH = 10;

/** The picture of guest memory, at most `width` columns wide. */
export function drawMemory(plan: BootPlan, width: number, io: Pick<CliIo, 'paint'>): string[] {
  const all = stripes(plan);
  const digits = Math.max(8, (all.at(-1)?.end ?? 0n).toString(16).length);
  const margin = digits + 3;
  const inside = Math.max(24, Math.min(width - margin - SIZE_WIDTH - 3, 72));
  const address = (value: bigint): string => `0x${value.toString(16).padStart(digits, '0')} `;
  const lines = [`${' '.repeat(margin)}┌${'─'.repeat(inside)}┐`];
  for (const stripe of all) {
    const rows = rowsOf(stripe);
    const middle = Math.floor((rows - 1) / 2);
    for (let row = 0; row < rows; row++) {
      const text = boxed(row === middle ? stripe.label : '', stripe.look.fill, inside);
      const size = row === middle ? ` ${sizeText(Number(stripe.end - stripe.start)).padStart(SIZE_WIDTH)}` : '';
      const left = row === 0 ? address(stripe.start) : ' '.repeat(margin);
      lines.push(`${io.paint('gray', left)}│${io.paint(stripe.look.style, text)}│${size}`);
    }
  }
  lines.push(`${io.paint('gray', address(all.at(-1)?.end ?? 0n))}└${'─'.repeat(inside)}┘`);
  return lines;
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

function cpuText(plan: BootPlan): string {
  const { cpu } = plan;
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
function facts(plan: BootPlan): (readonly [string, string])[] {
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

/** The whole page: memory, CPU and facts. */
export function drawPlan(plan: BootPlan, width: number, io: Pick<CliIo, 'paint'>): string[] {
  const rows = facts(plan);
  const indent = Math.max(...rows.map(([heading]) => heading.length)) + 2;
  const text = rows.flatMap(([heading, body]) =>
    wrap(body, Math.max(30, width - indent)).map(
      (line, index) => io.paint('bold', (index === 0 ? heading : '').padEnd(indent)) + line,
    ),
  );
  return [...drawMemory(plan, width, io), '', ...text];
}
