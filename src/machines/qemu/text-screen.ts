/** Reads a VGA text screen through the monitor, while the guest runs. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Qmp } from './qmp.js';

/** Longest wait for the screen of a guest that is to end. */
const PATIENCE_MS = 500;

const CRTC_INDEX = 0x3d4;
const CRTC_DATA = 0x3d5;
const START_HIGH = 0x0c;
const START_LOW = 0x0d;
const TEXT_MEMORY = 0xb8000;
/** Cells of text memory; the screen may begin at any, the kernel scrolls by moving it. */
const CELLS = 0x4000;
const COLUMNS = 80;
const ROWS = 25;

async function crtc(qmp: Qmp, register: number): Promise<number> {
  await qmp.monitor(`o /b 0x${CRTC_INDEX.toString(16)} 0x${register.toString(16)}`);
  const answer = /= 0x([0-9a-f]+)/.exec(await qmp.monitor(`i /b 0x${CRTC_DATA.toString(16)}`));
  return parseInt(answer?.[1] ?? '0', 16);
}

async function readScreen(qmp: Qmp): Promise<string[]> {
  const start = (await crtc(qmp, START_HIGH)) * 256 + (await crtc(qmp, START_LOW));
  const dump = await qmp.monitor(`xp /${String(CELLS)}hx 0x${TEXT_MEMORY.toString(16)}`);
  const cells = [...dump.matchAll(/ 0x([0-9a-f]{4})/g)].map(([, cell]) => parseInt(cell ?? '', 16) & 0xff);
  const character = (index: number): string => {
    const code = cells[index % CELLS] ?? 0;
    return code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : ' ';
  };
  return Array.from({ length: ROWS }, (_row, row) =>
    Array.from({ length: COLUMNS }, (_column, column) => character(start + row * COLUMNS + column))
      .join('')
      .trimEnd(),
  );
}

/** 25 lines of 80 columns, without trailing blanks; none if QEMU does not answer, or not soon. */
export async function readTextScreen(qmp: Qmp): Promise<string[]> {
  const patience = delay(PATIENCE_MS, undefined, { ref: false }).then(() => []);
  return Promise.race([readScreen(qmp).catch(() => []), patience]);
}
