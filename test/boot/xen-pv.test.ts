import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { planXenPv } from '../../src/boot/xen-pv.js';
import type { BootPlan } from '../../src/boot/plan.js';
import { START_INFO_64 } from '../../src/boot/xen-start-info.js';
import { ByteView } from '../../src/bytes/byte-view.js';
import { findOverlap } from '../../src/bytes/ranges.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import { recoverVmlinux } from '../../src/kernel/recover.js';
import { readXenParameters, xenPhysicalRange } from '../../src/kernel/xen-parameters.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { debianKernel } from '../kernels/debian.js';
import { bootXen, xenHypervisor } from '../oracles/xen.js';

const xenKernels = corpus.filter(({ notes }) => notes.some(({ name }) => name === 'XEN_ELFNOTE_XEN_VERSION'));
const load = async (file: string) => recoverVmlinux(readBootImage(readCorpus(file)));
const sixteen = (address: bigint): string => address.toString(16).padStart(16, '0');

/** What Xen prints, from a plan. */
function printed(plan: BootPlan): Map<string, string> {
  return new Map(
    (plan.facts.arrangement ?? []).map(({ label, start, end }) => [
      label,
      label === 'ENTRY ADDRESS' ? sixteen(start) : `${sixteen(start)}->${sixteen(end)}`,
    ]),
  );
}

/** Walks the plan's page tables as a CPU does; the physical address, or null. */
function translate(plan: BootPlan, virtual: bigint): { address: bigint; writable: boolean } | null {
  const read = (address: bigint): bigint => {
    const region = plan.regions.find(({ address: start, size }) => address >= start && address < start + BigInt(size));
    return region?.bytes === undefined ? 0n : new ByteView(region.bytes).u64(Number(address - region.address));
  };
  let table = plan.cpu.cr3;
  let writable = true;
  for (const shift of [39n, 30n, 21n, 12n]) {
    const entry = read(table + ((virtual >> shift) & 511n) * 8n);
    if ((entry & 1n) === 0n) return null;
    if (shift === 12n) writable = (entry & 2n) !== 0n;
    table = entry & 0xf_ffff_ffff_f000n;
  }
  return { address: table + (virtual & 0xfffn), writable };
}

describe.skipIf(xenKernels.length === 0)('the initial domain', () => {
  it.each(xenKernels.map(({ name, file }) => ({ name, file })))('$name: dom0 and domU obey xen.h', async ({ file }) => {
    const vmlinux = await load(file);
    for (const role of ['dom0', 'domu'] as const) {
      const initrd = new Uint8Array(10_000).fill(7);
      const plan = planXenPv(vmlinux, { role, memory: 256n << 20n, initrd, commandLine: 'console=hvc0' });
      expect(
        findOverlap(plan.regions.map(({ address, size }) => ({ start: address, end: address + BigInt(size) }))),
      ).toBeNull();
      const arrangement = new Map(plan.facts.arrangement?.map(({ label, start, end }) => [label, { start, end }]));
      const total = arrangement.get('TOTAL');
      const stack = arrangement.get('Boot stack');
      // xen.h: ends on a 4 MiB boundary, with at least 512 KiB of padding.
      expect((total?.end ?? 1n) % (4n << 20n)).toBe(0n);
      expect((total?.end ?? 0n) - (stack?.end ?? 0n)).toBeGreaterThanOrEqual(512n << 10n);

      // Every page of the region is mapped to consecutive frames; page tables are read-only.
      const start = total?.start ?? 0n;
      const tables = arrangement.get('Page tables');
      for (const [label, part] of arrangement) {
        if (label === 'TOTAL' || label === 'ENTRY ADDRESS' || label === 'Phys-Mach map') continue;
        for (const at of [part.start, part.end - 1n]) {
          expect(translate(plan, at)).toEqual({
            address: at - start,
            writable: !(tables !== undefined && at >= tables.start && at < tables.end),
          });
        }
      }
      // The p2m list can be read through the page tables wherever it lies: frame 4097 is machine frame 4097.
      const p2m = translate(plan, (arrangement.get('Phys-Mach map')?.start ?? 0n) + 4097n * 8n);
      const list = plan.regions.find(({ purpose }) => purpose === 'p2m');
      expect(p2m?.address).toBe((list?.address ?? 0n) + 4097n * 8n);
      expect(new ByteView(list?.bytes ?? new Uint8Array()).u64(4097 * 8)).toBe(4097n);

      const info = plan.regions.find(({ purpose }) => purpose === 'start-info');
      const values = START_INFO_64.read(new ByteView(info?.bytes ?? new Uint8Array()));
      expect(Buffer.from(values.magic).toString('latin1').replace(/\0+$/, '')).toBe('xen-3.0-x86_64');
      expect(values.nr_pages).toBe(65536n);
      // The toolstack counts the pages of an initrd that is not mapped.
      expect(values.mod_len).toBe(role === 'dom0' ? 10_000n : 12_288n);
      expect(values.pt_base).toBe(tables?.start);
      expect(plan.cpu.registers.rsi).toBe(arrangement.get('Start info')?.start);
      expect(plan.cpu.registers.rsp).toBe(stack?.end);
    }
  });

  it('refuses a domain that is too small, in Xen’s words', async () => {
    const [kernel] = xenKernels;
    const vmlinux = await load(kernel?.file ?? '');
    expect(() => planXenPv(vmlinux, { role: 'dom0', memory: 24n << 20n, commandLine: '' })).toThrow(
      'Domain 0 allocation is too small for kernel image',
    );
  });

  it.skipIf(corpusFile('k64-noxen.bzImage') === null)('refuses a kernel without Xen notes by rule', async () => {
    const vmlinux = await load('k64-noxen.bzImage');
    expect(() => planXenPv(vmlinux, { role: 'dom0', memory: 256n << 20n, commandLine: '' })).toThrow(
      expect.objectContaining({ code: 'rule-violated', field: 'notes.xen-loader' }) as Error,
    );
  });
});

describe.skipIf(xenHypervisor === null)('real Xen prints the same arrangement', () => {
  const initrd = corpusFile('initramfs-64.cpio.gz');
  const cases = [
    ...xenKernels.flatMap(({ name, file }, i) => [
      { name, path: corpusFile(file), memory: 384, ramdisk: initrd },
      // Another size of memory and no initrd once.
      ...(i === 0 ? [{ name: `${name}, without an initrd`, path: corpusFile(file), memory: 256, ramdisk: null }] : []),
    ]),
    { name: 'Debian, cloud', path: debianKernel('cloud-amd64'), memory: 384, ramdisk: initrd },
    { name: 'Debian, generic', path: debianKernel('amd64'), memory: 512, ramdisk: initrd },
    { name: 'Debian 11, cloud', path: debianKernel('bullseye-cloud-amd64'), memory: 384, ramdisk: null },
  ];
  for (const { name, path, memory, ramdisk } of cases) {
    it.skipIf(path === null)(name, async () => {
      const vmlinux = await recoverVmlinux(readBootImage(readFileSync(path ?? '')));
      const real = await bootXen(path ?? '', {
        memory: memory + 512,
        dom0Memory: memory,
        ...(ramdisk === null ? {} : { initrd: ramdisk }),
      });
      const plan = planXenPv(vmlinux, {
        role: 'dom0',
        memory: BigInt(memory) << 20n,
        commandLine: '',
        ...(ramdisk === null ? {} : { initrd: readFileSync(ramdisk) }),
      });
      expect(real.built).toBe(true);
      expect(printed(plan)).toEqual(real.arrangement);
      expect(real.kernelLine).toContain(`paddr ${xenPhysicalRange(readXenParameters(vmlinux.raw, false))}`);
    });
  }
});
