/** Every loader, in the order in which reports show them. */
import { LOADER_IDS, type Loader, type LoaderId } from '../loader.js';
import { EFI, GRUB, GRUB16, IPXE, KEXEC, KEXEC_FILE, QEMU, SYSLINUX, U_BOOT, V86 } from './linux-protocol.js';
import { OWN } from './own.js';
import { CLOUD_HYPERVISOR, FIRECRACKER } from './rust-vmm.js';
import { PV_GRUB, XEN_DOM0, XEN_DOMU, XEN_PVH } from './xen.js';

const TABLE: Readonly<Record<LoaderId, Loader>> = {
  own: OWN,
  qemu: QEMU,
  firecracker: FIRECRACKER,
  'cloud-hypervisor': CLOUD_HYPERVISOR,
  v86: V86,
  'xen-domu': XEN_DOMU,
  'xen-dom0': XEN_DOM0,
  'xen-pvh': XEN_PVH,
  pvgrub: PV_GRUB,
  kexec: KEXEC,
  'kexec-file': KEXEC_FILE,
  grub: GRUB,
  grub16: GRUB16,
  efi: EFI,
  syslinux: SYSLINUX,
  ipxe: IPXE,
  'u-boot': U_BOOT,
};

export const LOADERS: readonly Loader[] = LOADER_IDS.map((id) => TABLE[id]);

export function isLoaderId(text: string): text is LoaderId {
  return text in TABLE;
}

export function loaderOf(id: LoaderId): Loader {
  return TABLE[id];
}
