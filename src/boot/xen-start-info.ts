/** struct start_info of Xen's public header xen.h: native 64-bit, and compat for 32-bit guests. */
import { defineStruct } from '../bytes/struct.js';

export const SIF_PRIVILEGED = 1;
export const SIF_INITDOMAIN = 2;
export const SIF_MOD_START_PFN = 8;
/** The toolstack may walk the p2m list by its virtual address; libxenguest always says so, the hypervisor never. */
export const SIF_VIRT_P2M_4TOOLS = 16;

/** MAX_GUEST_CMDLINE: the command line's place, its NUL included. */
export const XEN_COMMAND_LINE_SIZE = 1024;

const SOURCE = 'xen/include/public/xen.h, struct start_info';

export const START_INFO_64 = defineStruct('start_info', 1168, SOURCE, [
  { name: 'magic', offset: 0, type: 'bytes', length: 32, doc: '"xen-<version>-<platform>"' },
  { name: 'nr_pages', offset: 32, type: 'u64', shown: 'number', doc: 'pages allocated to this domain' },
  { name: 'shared_info', offset: 40, type: 'u64', shown: 'hex', doc: 'machine address of the shared info page' },
  { name: 'flags', offset: 48, type: 'u32', shown: 'hex', doc: 'SIF_ flags' },
  { name: 'store_mfn', offset: 56, type: 'u64', doc: 'machine frame of the xenstore page' },
  { name: 'store_evtchn', offset: 64, type: 'u32', doc: 'event channel of xenstore' },
  {
    name: 'console_mfn',
    offset: 72,
    type: 'u64',
    doc: 'domU: machine frame of the console page; dom0: offset and size of the console info',
  },
  { name: 'console_evtchn', offset: 80, type: 'u32', doc: 'domU: event channel of the console' },
  { name: 'pt_base', offset: 88, type: 'u64', shown: 'hex', doc: 'virtual address of the top page table' },
  { name: 'nr_pt_frames', offset: 96, type: 'u64', doc: 'frames of the initial page tables' },
  { name: 'mfn_list', offset: 104, type: 'u64', shown: 'hex', doc: 'virtual address of the p2m list' },
  {
    name: 'mod_start',
    offset: 112,
    type: 'u64',
    shown: 'hex',
    doc: 'initrd: virtual address, or frame number with SIF_MOD_START_PFN',
  },
  { name: 'mod_len', offset: 120, type: 'u64', doc: 'initrd: bytes' },
  { name: 'cmd_line', offset: 128, type: 'bytes', length: 1024, doc: 'command line, NUL-terminated' },
  { name: 'first_p2m_pfn', offset: 1152, type: 'u64', doc: 'first frame of a p2m list outside the initial mapping' },
  { name: 'nr_p2m_frames', offset: 1160, type: 'u64', doc: 'frames of that list and its page tables' },
]);

export const START_INFO_32 = defineStruct('start_info (compat)', 1112, SOURCE, [
  { name: 'magic', offset: 0, type: 'bytes', length: 32, doc: '"xen-<version>-<platform>"' },
  { name: 'nr_pages', offset: 32, type: 'u32', doc: 'pages allocated to this domain' },
  { name: 'shared_info', offset: 36, type: 'u32', shown: 'hex', doc: 'machine address of the shared info page' },
  { name: 'flags', offset: 40, type: 'u32', shown: 'hex', doc: 'SIF_ flags' },
  { name: 'store_mfn', offset: 44, type: 'u32', doc: 'machine frame of the xenstore page' },
  { name: 'store_evtchn', offset: 48, type: 'u32', doc: 'event channel of xenstore' },
  { name: 'console_mfn', offset: 52, type: 'u32', doc: 'domU: machine frame of the console page' },
  { name: 'console_evtchn', offset: 56, type: 'u32', doc: 'domU: event channel of the console' },
  { name: 'pt_base', offset: 60, type: 'u32', shown: 'hex', doc: 'virtual address of the top page table' },
  { name: 'nr_pt_frames', offset: 64, type: 'u32', doc: 'frames of the initial page tables' },
  { name: 'mfn_list', offset: 68, type: 'u32', shown: 'hex', doc: 'virtual address of the p2m list' },
  {
    name: 'mod_start',
    offset: 72,
    type: 'u32',
    shown: 'hex',
    doc: 'initrd: virtual address, or frame number with SIF_MOD_START_PFN',
  },
  { name: 'mod_len', offset: 76, type: 'u32', doc: 'initrd: bytes' },
  { name: 'cmd_line', offset: 80, type: 'bytes', length: 1024, doc: 'command line, NUL-terminated' },
  { name: 'first_p2m_pfn', offset: 1104, type: 'u32', doc: 'first frame of a p2m list outside the initial mapping' },
  { name: 'nr_p2m_frames', offset: 1108, type: 'u32', doc: 'frames of that list and its page tables' },
]);
