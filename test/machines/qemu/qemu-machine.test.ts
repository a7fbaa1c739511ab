/** The machine itself: what the CPU and the chipset look like when a plan begins, how guests end, and what goes wrong. */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { protectedModeState } from '../../../src/boot/cpu.js';
import { pcMemoryMap } from '../../../src/boot/memory-map.js';
import { BOOT_CS, BOOT_DS } from '../../../src/boot/gdt.js';
import type { BootPlan } from '../../../src/boot/plan.js';
import { latin1Bytes } from '../../../src/bytes/byte-view.js';
import { demoInitramfs } from '../../../src/cpio/initramfs.js';
import { createAnonymousFile } from '../../../src/machines/qemu/anonymous-file.js';
import { clockRate } from '../../../src/machines/qemu/clock-rate.js';
import { setCpuState } from '../../../src/machines/qemu/cpu-state.js';
import { findProgram, findQemu } from '../../../src/machines/qemu/find-qemu.js';
import { kvmTrouble } from '../../../src/machines/qemu/kvm.js';
import { createQemuMachine, kernelParameters } from '../../../src/machines/qemu/qemu-machine.js';
import { ramLayout } from '../../../src/machines/qemu/ram-layout.js';
import { QemuSession } from '../../../src/machines/qemu/session.js';
import { writeRegions } from '../../../src/machines/ram-file/write-regions.js';
import { corpusFile, readCorpus } from '../../kernels/corpus.js';
import { boot, haveQemu, hookOf, openKernel, planFor, QUIET } from '../guests.js';

const memory = pcMemoryMap(64n << 20n);

/** A plan that runs `code` at 1 MiB in 32-bit protected mode. */
function program(code: readonly number[]): BootPlan {
  const bytes = Uint8Array.from(code);
  const gdt = Uint8Array.of(
    ...new Array<number>(16).fill(0),
    255,
    255,
    0,
    0,
    0,
    0x9b,
    0xcf,
    0,
    255,
    255,
    0,
    0,
    0,
    0x93,
    0xcf,
    0,
  );
  return {
    ...{ stage: 'kernel', protocol: 'linux32', bits: 32, memory, firmware: 'none', hook: null },
    regions: [
      { address: 0x3000n, size: gdt.length, bytes: gdt, purpose: 'descriptor-table', label: 'GDT' },
      { address: 0x100000n, size: bytes.length, bytes, purpose: 'kernel', label: 'code' },
    ],
    cpu: protectedModeState(0x100000n, { base: 0x3000n, limit: gdt.length - 1 }, { rsi: 0x12345n, rsp: 0x8000n }),
    facts: { remarks: [] },
  };
}

/** mov dx, 0x3f8; then each character by mov al, c; out dx, al. */
const say = (text: string): number[] => [
  ...[0x66, 0xba, 0xf8, 0x03],
  ...latin1Bytes(text).reduce<number[]>((code, byte) => [...code, 0xb0, byte, 0xee], []),
];
const CLI_HLT = [0xfa, 0xf4];
const FOREVER = [0xeb, 0xfe];

/** Processes whose command line contains a word. */
function processesWith(word: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(word);
      } catch {
        return false;
      }
    })
    .map(Number);
}

describe.runIf(haveQemu)('a plan in QEMU', () => {
  it('finds the CPU in exactly the planned state, GDTR included', async () => {
    const plan = program(FOREVER);
    const layout = ramLayout(plan, 'q35');
    if (layout === null) throw new Error('no layout');
    const session = await QemuSession.start({
      ...{ binary: findQemu(), type: 'q35', accel: 'tcg', smp: 1, bios: false, extraArgs: [], layout, needed: 0 },
      onConsole: () => undefined,
    });
    try {
      session.ram.place(plan.regions, true);
      const before = session.ram.read(0n, 0x3000);
      await setCpuState(session.gdb, session.ram, plan.cpu, true);
      expect(session.ram.read(0n, 0x3000)).toEqual(before);
      const registers = (await session.qmp.monitor('info registers')).replaceAll('\r', '');
      expect(registers).toMatch(/EIP=00100000 EFL=00000002 /);
      expect(registers).toMatch(/ESI=00012345 .*ESP=00008000/);
      expect(registers).toMatch(/GDT= +00003000 0000001f/);
      expect(registers).toContain(`CS =00${BOOT_CS.toString(16)} 00000000 ffffffff 00cf9b00`);
      for (const name of ['ES', 'SS', 'DS', 'FS', 'GS']) {
        expect(registers).toContain(`${name} =00${BOOT_DS.toString(16)} 00000000 ffffffff 00cf9300`);
      }
      expect(registers).toMatch(/CR0=00000011 CR2=00000000 CR3=00000000 CR4=00000000/);
    } finally {
      await session.stop();
    }
  });

  it('tells a guest that halts, one that resets and one that breaks down', async () => {
    const halted = await boot(program([...say('bye'), ...CLI_HLT]));
    expect(halted.text).toBe('bye');
    expect(halted.exit).toEqual({ end: 'halted', reason: 'the guest halted its processors' });
    // out 0x64, 0xfe: reset by the keyboard controller.
    const reset = await boot(program([0xb0, 0xfe, 0xe6, 0x64, ...FOREVER]));
    expect(reset.exit).toEqual({ end: 'powered-off', reason: 'the guest reset' });
    // lidt of an empty table, then int3.
    const fault = await boot(program([0x0f, 0x01, 0x1d, 0x20, 0x00, 0x10, 0x00, 0xcc]));
    expect(fault.exit).toEqual({ end: 'halted', reason: 'triple fault' });
  });

  it('passes bytes both ways', async () => {
    // Wait for a byte (line status, bit 0), send it back plus one, halt.
    const echo = [0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0x66, 0xba, 0xf8, 0x03, 0xec, 0xfe, 0xc0, 0xee];
    const { text } = await boot(
      program([...echo, ...CLI_HLT]),
      {},
      { onStart: (guest) => guest.write(Uint8Array.of(65)) },
    );
    expect(text).toBe('B');
  });

  it('stops when it is told to', async () => {
    const { exit } = await boot(program(FOREVER), {}, { milliseconds: 200 });
    expect(exit).toEqual({ end: 'stopped', reason: '' });
    const machine = createQemuMachine({ accel: 'tcg' });
    const abort = new AbortController();
    abort.abort();
    await expect(
      machine.start(program(FOREVER), { onConsole: () => undefined, signal: abort.signal }),
    ).rejects.toMatchObject({ code: 'aborted' });
  });

  it('refuses what it cannot obey, before anything starts', async () => {
    const plan = program(FOREVER);
    await expect(boot({ ...plan, protocol: 'xen-pv' })).rejects.toMatchObject({ code: 'unsupported' });
    const far = [...plan.regions, { address: 1n << 31n, size: 1 << 30, purpose: 'bss', label: 'far' } as const];
    const high = [...far, { address: 1n << 32n, size: 4096, purpose: 'bss', label: 'high' } as const];
    await expect(boot({ ...plan, regions: high }, { machine: 'q35' })).rejects.toMatchObject({ code: 'does-not-fit' });
  });
});

describe.runIf(haveQemu)('when QEMU fails', () => {
  it('is missing', async () => {
    await expect(boot(program(FOREVER), { binary: 'qemu-system-none' })).rejects.toMatchObject({
      code: 'tool-missing',
      blame: 'outside',
    });
  });

  it('refuses an option: its own words are in the error', async () => {
    const start = boot(program(FOREVER), { extraArgs: ['-device', 'no-such-device'] });
    await expect(start).rejects.toMatchObject({ code: 'machine-failed' });
    await expect(start).rejects.toThrow(/no-such-device.*not a valid device model name/);
  });

  describe('because it is something else altogether', () => {
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-fake-'));
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    const fake = (...script: readonly string[]): string => {
      const path = join(folder, `qemu-${String(readdirSync(folder).length)}`);
      writeFileSync(path, ['#!/bin/sh', ...script, ''].join('\n'));
      chmodSync(path, 0o755);
      return path;
    };

    it('that says why it cannot', async () => {
      const start = boot(program(FOREVER), { binary: fake('echo "cannot do that" >&2', 'exit 3') });
      await expect(start).rejects.toThrow('QEMU exited with status 3: cannot do that');
    });

    // Descriptor 3 is the monitor, 4 the gdb stub.
    it.each([
      ['no JSON', 'yes >&3', /monitor said "y", which is no QMP/],
      ['JSON of another kind', `echo '{"QMP":{}}' >&3; echo '[1,2]' >&3; sleep 1000`, /monitor said "\[1,2\]"/],
      ['null', 'echo null >&3; sleep 1000', /monitor said "null"/],
      [
        'no packets of gdb',
        `echo '{"QMP":{}}' >&3; read -r _ <&3; echo '{"return":{}}' >&3; printf '$a*\\001#00' >&4; sleep 1000`,
        /gdb stub sent a packet that is none/,
      ],
    ])('that says %s', async (_what, script, words) => {
      await expect(boot(program(FOREVER), { binary: fake(script) })).rejects.toThrow(words);
    });

    it('that says nothing: a signal ends the wait', async () => {
      const word = String(1_000_000 + process.pid);
      const machine = createQemuMachine({ accel: 'tcg', binary: fake(`trap '' TERM INT; sleep ${word}; sleep 1`) });
      const abort = new AbortController();
      const start = machine.start(program(FOREVER), { onConsole: () => undefined, signal: abort.signal });
      setTimeout(() => abort.abort(), 300);
      await expect(start).rejects.toMatchObject({ code: 'aborted' });
      expect(processesWith(word)).toEqual([]);
    });
  });

  it('is started by a script: both end with the guest', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-wrapper-'));
    const path = join(folder, 'qemu');
    writeFileSync(path, `#!/bin/sh\n${findQemu()} "$@"\n`);
    chmodSync(path, 0o755);
    const name = `wrapped-${String(process.pid)}`;
    const { exit } = await boot(program(FOREVER), { binary: path, extraArgs: ['-name', name] }, { milliseconds: 300 });
    expect(exit.end).toBe('stopped');
    expect(processesWith(name)).toEqual([]);
    rmSync(folder, { recursive: true });
  });

  it('dies: the guest has failed, and says how', async () => {
    const name = `doomed-${String(process.pid)}`;
    const { exit } = await boot(
      program([...say('here'), ...FOREVER]),
      { extraArgs: ['-name', name] },
      {
        onStart: () => void delay(300).then(() => processesWith(name).forEach((pid) => process.kill(pid, 'SIGSEGV'))),
      },
    );
    expect(exit).toEqual({ end: 'failed', reason: 'QEMU was ended by SIGSEGV' });
  });
});

describe('the file behind the guest’s memory', () => {
  it('has no name from the beginning', () => {
    const folder = mkdtempSync(join(tmpdir(), 'bzelf-ram-'));
    const fd = createAnonymousFile(1 << 20, 0, [folder]);
    expect(readdirSync(folder)).toEqual([]);
    if (process.platform === 'linux') expect(readlinkSync(`/proc/self/fd/${String(fd)}`)).toMatch(/\(deleted\)$/);
    closeSync(fd);
    rmSync(folder, { recursive: true });
  });

  it('is refused where there is no room', () => {
    const wanted = 2 ** 62;
    expect(() => createAnonymousFile(wanted, wanted, [tmpdir()])).toThrow(/no room for the guest's memory in/);
  });

  const small = mkdtempSync(join(tmpdir(), 'bzelf-small-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]).status === 0;
  afterAll(() => {
    if (mounted) spawnSync('umount', [small]);
    rmSync(small, { recursive: true, force: true });
  });

  it.runIf(mounted)('leaves a full disk as it was', () => {
    const fd = createAnonymousFile(4 << 20, 0, [small]);
    const bytes = new Uint8Array(2 << 20).fill(1);
    const region = { address: 0n, size: bytes.length, bytes, purpose: 'kernel', label: 'kernel' } as const;
    const write = (): void => writeRegions(fd, [region], () => 0, true);
    expect(write).toThrow("the file for the guest's memory cannot be written");
    closeSync(fd);
    expect(readdirSync(small)).toEqual([]);
    expect(statfsSync(small).bavail * statfsSync(small).bsize).toBe(1 << 20);
  });
});

describe.runIf(haveQemu && corpusFile('k64-gzip.bzImage') !== null)('a kernel on other machines', () => {
  it.each([
    { machine: 'pc', smp: 2, stage: 'kernel' },
    { machine: 'pc', smp: 1, stage: 'setup' },
    { machine: 'microvm', smp: 1, stage: 'kernel' },
    { machine: 'microvm', smp: 2, stage: 'kernel' },
    { machine: 'microvm', smp: 1, stage: 'hook' },
  ] as const)('%o', async ({ machine, smp, stage }) => {
    const kernel = await openKernel(readCorpus('k64-gzip.bzImage'));
    const words = await kernelParameters({ machine, smp, accel: 'tcg' });
    const plan = planFor(kernel, { stage, commandLine: [...words, QUIET].join(' ') });
    const { text, exit } = await boot(
      plan,
      { machine, smp },
      plan.hook === null ? {} : { onHook: hookOf(kernel, plan) },
    );
    expect(text).toContain('INIT-END');
    if (smp === 2) expect(text).toContain('smp: Brought up 1 node, 2 CPUs');
    expect(exit).toEqual({ end: 'powered-off', reason: '' });
  });
});

describe.runIf(haveQemu && corpusFile('k64-gzip.bzImage') !== null)('the rate of an emulated clock', () => {
  it('is what a kernel finds that has a better clock to compare it with', async () => {
    const plan = planFor(await openKernel(readCorpus('k64-gzip.bzImage')));
    const { text } = await boot(plan, { machine: 'q35' }, { enough: /tsc: Detected [\d.]+ MHz/ });
    const megahertz = Number(/tsc: Detected ([\d.]+) MHz/.exec(text)?.[1]);
    // A busy host's jitter puts the kernel's own figure off by a few per cent.
    expect((await clockRate(findQemu())) / 1000 / megahertz).toBeCloseTo(1, 1);
  });

  it('is asked for only where a kernel cannot find it', async () => {
    expect(await kernelParameters({ machine: 'microvm', smp: 2, accel: 'tcg' })).toEqual([
      expect.stringMatching(/^tsc_early_khz=\d{6,7}$/),
    ]);
    for (const machine of ['q35', 'pc'] as const) expect(await kernelParameters({ machine, smp: 2 })).toEqual([]);
    expect(await kernelParameters({ machine: 'microvm' })).toEqual([]);
  });
});

describe.runIf(haveQemu)('KVM', () => {
  it('is used only if it executes code, and the guest runs either way', async () => {
    const trouble = await kvmTrouble(findQemu());
    const { text, notes } = await boot(program([...say('ok'), ...CLI_HLT]), { accel: 'auto' });
    expect(text).toBe('ok');
    expect(notes.some((note) => note.startsWith('KVM is there but of no use'))).toBe(
      trouble !== null && trouble !== '',
    );
  });
});

describe.runIf(haveQemu && corpusFile('k64-gzip.bzImage') !== null)('nothing is left behind', () => {
  const program = resolve(import.meta.dirname, '../../../bin/bzelf');
  let work = '';
  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'bzelf-left-'));
    writeFileSync(join(work, 'initrd'), demoInitramfs(64));
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  /** Command lines of QEMUs hold the chosen memory, odd enough to know them by. */
  it.each([
    ['SIGINT', 60, '193M'],
    ['SIGINT', 250, '194M'],
    ['SIGTERM', 900, '195M'],
    ['SIGKILL', 900, '196M'],
  ] as const)('after %s at %i ms', async (signal, milliseconds, size) => {
    const marker = `size=${String(parseInt(size) + 2)}M`;
    const args = ['boot', corpusFile('k64-gzip.bzImage') ?? '', '--memory', size, '--append', `${QUIET} bzelf.shell`];
    // A temporary directory of its own: other tests use the common one at the same time.
    const temporary = mkdtempSync(join(work, 'tmp-'));
    const child = spawn(process.execPath, [program, ...args, '--initrd', join(work, 'initrd')], {
      stdio: 'ignore',
      env: { ...process.env, TMPDIR: temporary },
    });
    const ended = new Promise((settle) => child.on('exit', settle));
    await delay(milliseconds);
    child.kill(signal);
    await ended;
    // The kernel ends QEMU a moment after it has ended an owner that could not do so itself.
    for (let wait = 0; wait < 50 && processesWith(marker).length > 0; wait++) await delay(100);
    expect(processesWith(marker)).toEqual([]);
    expect(readdirSync(temporary)).toEqual([]);
    // Guest memory has a name for a moment only; what others create meanwhile is gone at the second look.
    const named = (): string[] => readdirSync('/dev/shm').filter((name) => name.startsWith('bzelf-'));
    const before = named();
    await delay(200);
    expect(named().filter((name) => before.includes(name))).toEqual([]);
  });
});

describe('programs', () => {
  it('are found on PATH or by their path', () => {
    expect(findProgram('sh')).toMatch(/\/sh$/);
    expect(findProgram('/bin/sh')).toBe('/bin/sh');
    expect(findProgram('/no/such/program')).toBeNull();
    expect(() => findQemu('no-such-qemu')).toThrow('no-such-qemu was not found on PATH');
  });
});
