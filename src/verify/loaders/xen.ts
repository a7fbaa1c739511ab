/** Xen's hypervisor and toolstack, and GRUB as a Xen guest. */
import type { Check, Loader } from '../loader.js';
import type { Subject } from '../subject.js';

const INIT = 'xen/common/libelf/libelf-loader.c: elf_init';
const DOMINFO = 'xen/common/libelf/libelf-dominfo.c';
const LOAD = 'xen/common/libelf/libelf-loader.c: elf_load_binary';

/** What libelf checks before it looks at notes. */
const LIBELF: readonly Check[] = [
  { rule: 'elf.magic', where: INIT, says: 'ELF: not an ELF binary' },
  { rule: 'elf.phdr-table', where: INIT, says: 'ELF: phdr overflow' },
  {
    rule: 'elf.shnum-plausible',
    where: 'xen/common/libelf/libelf-tools.c: elf_shdr_count',
    says: 'far too many section headers',
  },
  { rule: 'elf.shdr-table', where: INIT, says: 'ELF: shdr overflow' },
];

const LOADING: readonly Check[] = [
  {
    rule: 'elf.loadable',
    where: `${DOMINFO}: elf_xen_addr_calc_check`,
    says: 'ERROR: ELF start or entries are out of bounds',
  },
  { rule: 'elf.copy-limit', where: LOAD, says: 'Failed to load the kernel binary' },
  { rule: 'elf.segment-file-range', where: LOAD, says: 'Failed to load the kernel binary' },
  { rule: 'elf.filesz-memsz', where: LOAD, says: 'Failed to load the kernel binary' },
];

const PV_NOTES: readonly Check[] = [
  {
    rule: 'notes.xen-feature-known',
    where: `${DOMINFO}: elf_xen_parse_features`,
    says: 'an unknown required feature: the kernel is refused',
  },
  {
    rule: 'notes.present',
    where: `${DOMINFO}: elf_xen_note_check`,
    says: "ERROR: Not a Xen-ELF image: No ELF notes or '__xen_guest' section found",
  },
  {
    rule: 'notes.xen-loader',
    where: `${DOMINFO}: elf_xen_note_check`,
    says: 'ERROR: Will only load images built for the generic loader or Linux images',
  },
  {
    rule: 'notes.xen-version',
    where: `${DOMINFO}: elf_xen_note_check`,
    says: 'ERROR: Xen will only load images built for Xen v3.0',
  },
  {
    rule: 'notes.xen-paddr-offset',
    where: `${DOMINFO}: elf_xen_addr_calc_check`,
    says: 'ERROR: ELF_PADDR_OFFSET set, VIRT_BASE unset',
  },
  {
    rule: 'notes.xen-bounds',
    where: `${DOMINFO}: elf_xen_addr_calc_check`,
    says: 'ERROR: ELF start or entries are out of bounds',
  },
  {
    rule: 'notes.xen-p2m',
    where: `${DOMINFO}: elf_xen_addr_calc_check`,
    says: 'ERROR: P->M table base is out of bounds',
  },
  { rule: 'notes.xen-broken', where: 'xen/common/libelf/libelf-tools.c: elf_access_ok', says: 'out of range access' },
  {
    rule: 'notes.string-runs-on',
    where: `${DOMINFO}: elf_xen_parse_note`,
    says: 'the string runs on into the next note',
    unchecked: true,
  },
];

const isBoot = (s: Subject): boolean => s.hasMagic;
const isElfFile = (s: Subject): boolean => s.isElfFile;

const BZIMAGE = 'xen/arch/x86/bzimage.c: bzimage_parse';
const HYPERVISOR_BZIMAGE: readonly Check[] = [
  { rule: 'setup.protocol-2.08', where: BZIMAGE, says: 'Cannot load bzImage: at least v2.08 is required' },
  {
    rule: 'setup.sects-explicit',
    where: BZIMAGE,
    says: 'the payload is looked for at the wrong place',
    unchecked: true,
  },
  { rule: 'payload.announced', where: BZIMAGE, says: 'Mismatch between Xen and DOM0 kernel', unchecked: true },
  { rule: 'payload.range', where: BZIMAGE, says: 'the hypervisor reads beyond the image', unchecked: true },
  { rule: 'payload.format', where: 'xen/common/decompress.c: decompress', says: 'unknown compression format' },
  { rule: 'payload.decompresses', where: 'xen/common/decompress.c: decompress', says: 'decompression failed' },
  {
    rule: 'payload.size-word',
    where: 'xen/arch/x86/bzimage.c: output_length',
    says: 'the buffer has the wrong size',
    unchecked: true,
  },
];

const DOMU_BZIMAGE = 'tools/libs/guest/xg_dom_bzimageloader.c: xc_dom_probe_bzimage_kernel';
/** What follows whenever a probe fails; what libelf says in a probe is not logged. */
const NO_LOADER = 'xc_dom_find_loader: no loader found';
const TOOLSTACK_BZIMAGE: readonly Check[] = [
  { rule: 'setup.protocol-2.08', where: DOMU_BZIMAGE, says: 'xc_dom_probe_bzimage_kernel: boot protocol too old' },
  {
    rule: 'setup.sects-explicit',
    where: DOMU_BZIMAGE,
    says: 'xc_dom_probe_bzimage_kernel: unknown compression format',
  },
  { rule: 'payload.announced', where: DOMU_BZIMAGE, says: 'xc_dom_probe_bzimage_kernel: unknown compression format' },
  { rule: 'payload.range', where: DOMU_BZIMAGE, says: 'xc_dom_probe_bzimage_kernel: payload ... overflow' },
  { rule: 'payload.format', where: DOMU_BZIMAGE, says: 'xc_dom_probe_bzimage_kernel: unknown compression format' },
  {
    rule: 'payload.format-libxenguest',
    where: DOMU_BZIMAGE,
    says: 'xc_dom_probe_bzimage_kernel unable to ... decompress kernel',
  },
  { rule: 'payload.size-limit', where: 'tools/libs/guest/xg_dom_core.c: xc_dom_kernel_check_size', says: NO_LOADER },
  { rule: 'payload.decompresses', where: DOMU_BZIMAGE, says: NO_LOADER },
  // Buffers for lz4 and zstd are allocated by it; the other formats go without.
  { rule: 'payload.size-word', where: DOMU_BZIMAGE, says: 'the buffer has the wrong size', unchecked: true },
];

const DOM0_PV: readonly Check[] = [
  ...LIBELF,
  ...PV_NOTES,
  {
    rule: 'elf.class',
    where: 'xen/arch/x86/pv/dom0_build.c: dom0_construct',
    says: 'Mismatch between Xen and DOM0 kernel',
  },
  {
    rule: 'elf.little-endian',
    where: 'xen/arch/x86/pv/dom0_build.c: dom0_construct',
    says: 'Mismatch between Xen and DOM0 kernel',
  },
  {
    rule: 'notes.xen-32-pae',
    where: 'xen/arch/x86/pv/dom0_build.c: dom0_construct',
    says: 'Mismatch between Xen and DOM0 kernel',
  },
  {
    rule: 'notes.xen-dom0',
    where: 'xen/arch/x86/pv/dom0_build.c: dom0_construct',
    says: 'Kernel does not support Dom0 operation',
  },
  {
    rule: 'memory.xen-private',
    where: 'xen/arch/x86/pv/dom0_build.c: dom0_construct',
    says: 'DOM0 image overlaps with Xen private area.',
  },
  ...LOADING,
  {
    rule: 'notes.xen-hypercall-page',
    where: 'xen/arch/x86/pv/dom0_build.c: dom0_construct',
    says: 'Invalid HYPERCALL_PAGE field in ELF notes.',
  },
];

export const XEN_DOM0: Loader = {
  id: 'xen-dom0',
  title: 'Xen hypervisor, PV dom0',
  source: 'Xen 4.17, xen/arch/x86/pv/dom0_build.c and xen/common/libelf',
  enters: 'kernel (xen-pv)',
  routes: [
    { name: 'bzImage', takes: isBoot, checks: [...HYPERVISOR_BZIMAGE, ...DOM0_PV] },
    { name: 'elf', takes: isElfFile, checks: DOM0_PV },
  ],
  refusal: { where: INIT, says: 'ELF: not an ELF binary' },
};

const PVH_KERNEL: readonly Check[] = [
  ...LIBELF,
  {
    rule: 'notes.pvh',
    where: 'xen/arch/x86/hvm/dom0_build.c: pvh_load_kernel',
    says: 'Unable to find XEN_ELFNOTE_PHYS32_ENTRY address',
  },
  {
    rule: 'notes.pvh-size',
    where: 'xen/common/libelf/libelf-tools.c: elf_note_numeric',
    says: 'the entry is taken as 0',
  },
  {
    rule: 'notes.pvh-entry',
    where: `${DOMINFO}: elf_xen_addr_calc_check`,
    says: 'ERROR: ELF start or entries are out of bounds',
  },
  {
    rule: 'notes.phys32-reloc',
    where: 'xen/arch/x86/hvm/dom0_build.c: find_kernel_memory',
    says: 'the kernel is moved by a wrong alignment',
    unchecked: true,
  },
  ...LOADING,
];

export const XEN_PVH: Loader = {
  id: 'xen-pvh',
  title: 'Xen, PVH dom0 and domU',
  source: 'Xen 4.17, xen/arch/x86/hvm/dom0_build.c',
  enters: 'kernel (pvh)',
  routes: [
    { name: 'bzImage', takes: isBoot, checks: [...HYPERVISOR_BZIMAGE, ...PVH_KERNEL] },
    { name: 'elf', takes: isElfFile, checks: PVH_KERNEL },
  ],
  refusal: { where: INIT, says: 'ELF: not an ELF binary' },
};

/** The toolstack probes with libelf, which keeps its reasons to itself there. */
const probed = ({ rule, where }: Check): Check => ({ rule, where, says: NO_LOADER });
/** It loads with libelf, too, but goes on when libelf calls the file broken. */
const loaded = ({ rule, where }: Check): Check => ({
  rule,
  where,
  says: 'libelf skips the segment and the guest dies',
  unchecked: true,
});

const DOMU_ELF: readonly Check[] = [
  ...LIBELF.map(probed),
  {
    rule: 'elf.class',
    where: 'tools/libs/guest/xg_dom_elfloader.c: xc_dom_guest_type',
    says: 'xc_dom_guest_type: unknown image type',
  },
  ...PV_NOTES.map((check) => (check.unchecked === true ? check : probed(check))),
  {
    rule: 'notes.xen-not-dom0-only',
    where: 'tools/libs/guest/xg_dom_elfloader.c: xc_dom_parse_elf_kernel',
    says: 'xc_dom_parse_elf_kernel: Kernel does not support unprivileged (DomU) operation',
  },
  {
    rule: 'notes.xen-32-pae',
    where: 'tools/libs/guest/xg_dom_core.c: xc_dom_compat_check',
    says: 'guest type xen-3.0-x86_32p not supported by xen kernel, sorry',
  },
  {
    rule: 'memory.xen-page-aligned',
    where: 'tools/libs/guest/xg_dom_core.c: xc_dom_alloc_pad',
    says: "segment boundary isn't page aligned",
  },
  ...LOADING.map(loaded),
];

export const XEN_DOMU: Loader = {
  id: 'xen-domu',
  title: 'Xen toolstack (libxenguest), PV domU',
  source: 'Xen 4.17 as Debian 12 builds it, tools/libs/guest',
  enters: 'kernel (xen-pv)',
  routes: [
    { name: 'bzImage', takes: isBoot, checks: [...TOOLSTACK_BZIMAGE, ...DOMU_ELF] },
    { name: 'elf', takes: isElfFile, checks: DOMU_ELF },
  ],
  refusal: { where: 'tools/libs/guest/xg_dom_core.c: xc_dom_find_loader', says: NO_LOADER },
};

const PVGRUB = 'grub-core/loader/i386/xen.c and xen_file.c';
export const PV_GRUB: Loader = {
  id: 'pvgrub',
  title: 'GRUB as a PV guest (pvgrub)',
  source: 'GRUB 2.14, grub-core/loader/i386/xen.c',
  enters: 'kernel (xen-pv)',
  routes: [
    {
      name: 'bzImage',
      takes: (s) => s.hasBootSector,
      checks: [
        { rule: 'setup.boot-flag', where: PVGRUB, says: 'not xen image' },
        { rule: 'setup.hdrs', where: PVGRUB, says: 'not xen image' },
        { rule: 'setup.protocol-2.08', where: PVGRUB, says: 'version too old' },
        { rule: 'payload.announced', where: PVGRUB, says: 'payload size too small' },
        { rule: 'payload.range', where: PVGRUB, says: 'premature end of file' },
        { rule: 'payload.length-6', where: PVGRUB, says: 'payload size too small' },
        { rule: 'payload.format-pvgrub', where: PVGRUB, says: 'not xen image' },
        { rule: 'payload.decompresses', where: PVGRUB, says: 'premature end of file' },
        { rule: 'notes.xen-any', where: PVGRUB, says: 'no xen note' },
        { rule: 'notes.xen-loader-exact', where: PVGRUB, says: 'invalid loader type' },
        { rule: 'notes.xen-version', where: PVGRUB, says: 'invalid xen version' },
        { rule: 'notes.xen-virt-base-aligned', where: PVGRUB, says: 'virt_base is not page-aligned' },
        { rule: 'elf.segment-file-range', where: PVGRUB, says: 'premature end of file' },
      ],
    },
    {
      name: 'elf',
      takes: isElfFile,
      checks: [
        { rule: 'notes.xen-any', where: PVGRUB, says: 'no xen note' },
        { rule: 'notes.xen-loader-exact', where: PVGRUB, says: 'invalid loader type' },
        { rule: 'notes.xen-virt-base-aligned', where: PVGRUB, says: 'virt_base is not page-aligned' },
        { rule: 'elf.segment-file-range', where: PVGRUB, says: 'premature end of file' },
      ],
    },
  ],
  refusal: { where: PVGRUB, says: 'not xen image' },
};
