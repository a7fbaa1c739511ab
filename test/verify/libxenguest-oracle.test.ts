/** The domain that `plan --role domu` describes against the one that Xen's own domain builder builds, byte by byte. */
import { describe, expect, it } from 'vitest';
import type { BootPlan } from '../../src/boot/plan.js';
import { planXenPv } from '../../src/boot/xen-pv.js';
import { hex } from '../../src/bytes/numbers.js';
import { readBootImage } from '../../src/bzimage/read-boot-image.js';
import type { BootImage } from '../../src/bzimage/boot-image.js';
import { recoverVmlinux } from '../../src/kernel/recover.js';
import { corpus, corpusFile, readCorpus } from '../kernels/corpus.js';
import { buildDomain, libxenguest, type DomainBuild } from '../oracles/libxenguest.js';
import { all, editedKernel, retypeNote, type Edit } from './edit.js';

const MOD_START_PFN = 16;
const INIT_P2M = 15;
const COMMAND_LINE = 'console=hvc0';
/** No gzip member: libxenguest would unpack that on its way into the domain. */
const INITRD = new Uint8Array(300_001).fill(7);
const xenKernels = corpus.filter(({ notes }) => notes.some(({ name }) => name === 'XEN_ELFNOTE_XEN_VERSION'));

/** The plan's labels, which are the hypervisor's, in the domain builder's words. */
const LABELS: Readonly<Record<string, string>> = {
  'Loaded kernel': 'kernel',
  'Init. ramdisk': 'module0',
  'Phys-Mach map': 'phys2mach',
  'Start info': 'start info',
  'Xenstore ring': 'xenstore',
  'Console ring': 'console',
  'Page tables': 'page tables',
  'Boot stack': 'boot stack',
};

/** The first difference between what the plan puts into memory and what is there; null if there is none. */
function difference(plan: BootPlan, memory: Uint8Array): string | null {
  const expected = new Uint8Array(memory.length);
  for (const { address, bytes, label } of plan.regions) {
    if (bytes === undefined) continue;
    if (Number(address) + bytes.length > memory.length) return `${label} lies beyond what was filled`;
    expected.set(bytes, Number(address));
  }
  if (Buffer.compare(expected, memory) === 0) return null;
  const at = expected.findIndex((byte, i) => byte !== memory[i]);
  const region = plan.regions.find(({ address, size }) => at >= address && at < address + BigInt(size));
  return `${region?.label ?? 'no region'} at ${hex(at)}: ${hex(expected[at] ?? 0)}, libxenguest ${hex(memory[at] ?? 0)}`;
}

function compare(plan: BootPlan, real: DomainBuild): void {
  expect(real.failed).toBeNull();
  const region = plan.facts.arrangement?.find(({ label }) => label === 'TOTAL');
  for (const { label, start, end } of plan.facts.arrangement ?? []) {
    const name = LABELS[label];
    if (name === undefined) continue;
    const segment = real.segments.get(name);
    // Outside of the region, the log shows the next free address instead of the one that the kernel asked for.
    if (region !== undefined && start >= region.start && start < region.end) {
      expect({ label, start: segment?.start, end: segment?.end }).toEqual({ label, start, end });
    }
  }
  expect(real.log).toContain(`virt_pgtab_end : 0x${(region?.end ?? 0n).toString(16)}`);
  expect(difference(plan, real.memory)).toBeNull();
}

const variants: readonly (readonly [string, Edit])[] = [
  ['as it is', () => undefined],
  ['initrd mapped', retypeNote(MOD_START_PFN, 99)],
  ['p2m list inside', retypeNote(INIT_P2M, 99)],
  ['both', all(retypeNote(MOD_START_PFN, 99), retypeNote(INIT_P2M, 99))],
];

async function check(image: BootImage, memory: number, initrd: Uint8Array | undefined): Promise<void> {
  const vmlinux = await recoverVmlinux(image);
  const given = initrd === undefined ? {} : { initrd };
  const plan = planXenPv(vmlinux, { role: 'domu', memory: BigInt(memory) << 20n, commandLine: COMMAND_LINE, ...given });
  compare(plan, buildDomain(image.file.bytes, { memory, ...given }));
}

describe.skipIf(libxenguest === null || xenKernels.length === 0)(
  'libxenguest builds the domain that is planned',
  () => {
    it.each(xenKernels.map(({ name, file, compression }) => ({ name, file, compression })))('$name', async (kernel) => {
      // Debian builds libxenguest without bzip2 and lzo: it gets what is inside.
      const unpacked = ['bzip2', 'lzo'].includes(kernel.compression);
      await check(
        unpacked ? await editedKernel(kernel.name, () => undefined) : readBootImage(readCorpus(kernel.file)),
        256,
        INITRD,
      );
    });
  },
);

describe.skipIf(libxenguest === null || corpusFile('k64-gzip.bzImage') === null)('other arrangements', () => {
  const cases = variants.flatMap(([name, edit]) =>
    [64, 1027].flatMap((memory) => [INITRD, undefined].map((initrd) => ({ name, edit, memory, initrd }))),
  );
  it.each(cases.map((one) => ({ ...one, with: one.initrd === undefined ? 'no initrd' : 'an initrd' })))(
    '$name, $memory MiB, $with',
    async ({ edit, memory, initrd }) => {
      await check(await editedKernel('k64-gzip', edit), memory, initrd);
    },
  );
});
