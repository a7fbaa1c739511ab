/** A plan on the terminal: guest memory from address 0 downwards, then the CPU and what was decided. */
import type { BootPlan } from '../boot/plan.js';
import { planFacts, planStripes, type StripeKind } from '../explain/plan-picture.js';
import { sizeText } from '../explain/text.js';
import { wrap } from './inspect-drawing.js';
import type { CliIo } from './io.js';

interface Look {
  /** One character that fills the box. */
  readonly fill: string;
  readonly style: Parameters<CliIo['paint']>[0];
}

const LOOKS: Readonly<Record<StripeKind, Look>> = {
  kernel: { fill: '▓', style: 'green' },
  cleared: { fill: '░', style: 'green' },
  stage: { fill: '▒', style: 'yellow' },
  data: { fill: '─', style: 'cyan' },
  initrd: { fill: '▞', style: 'blue' },
  free: { fill: ' ', style: 'gray' },
  absent: { fill: '╱', style: 'gray' },
};

function boxed(text: string, fill: string, width: number): string {
  const label = text === '' ? '' : ` ${text.length > width - 4 ? `${text.slice(0, width - 5)}…` : text} `;
  const left = Math.floor((width - label.length) / 2);
  return fill.repeat(left) + label + fill.repeat(width - label.length - left);
}

const SIZE_WIDTH = 10;

/** The picture of guest memory, at most `width` columns wide. */
export function drawMemory(plan: BootPlan, width: number, io: Pick<CliIo, 'paint'>): string[] {
  const all = planStripes(plan);
  const digits = Math.max(8, (all.at(-1)?.end ?? 0n).toString(16).length);
  const margin = digits + 3;
  const inside = Math.max(24, Math.min(width - margin - SIZE_WIDTH - 3, 72));
  const address = (value: bigint): string => `0x${value.toString(16).padStart(digits, '0')} `;
  const lines = [`${' '.repeat(margin)}┌${'─'.repeat(inside)}┐`];
  for (const { start, end, label, kind, rows } of all) {
    const { fill, style } = LOOKS[kind];
    const middle = Math.floor((rows - 1) / 2);
    for (let row = 0; row < rows; row++) {
      const text = boxed(row === middle ? label : '', fill, inside);
      const size = row === middle ? ` ${sizeText(Number(end - start)).padStart(SIZE_WIDTH)}` : '';
      const left = row === 0 ? address(start) : ' '.repeat(margin);
      lines.push(`${io.paint('gray', left)}│${io.paint(style, text)}│${size}`);
    }
  }
  lines.push(`${io.paint('gray', address(all.at(-1)?.end ?? 0n))}└${'─'.repeat(inside)}┘`);
  return lines;
}

/** The whole page: memory, CPU and facts. */
export function drawPlan(plan: BootPlan, width: number, io: Pick<CliIo, 'paint'>): string[] {
  const rows = planFacts(plan);
  const indent = Math.max(...rows.map(([heading]) => heading.length)) + 2;
  const text = rows.flatMap(([heading, body]) =>
    wrap(body, Math.max(30, width - indent)).map(
      (line, index) => io.paint('bold', (index === 0 ? heading : '').padEnd(indent)) + line,
    ),
  );
  return [...drawMemory(plan, width, io), '', ...text];
}
