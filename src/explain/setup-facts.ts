/** What the setup header's values mean, in words. */
import { hex } from '../bytes/numbers.js';
import type { BootImage } from '../bzimage/boot-image.js';
import { LOADFLAGS, setBitNames, setupField, XLOADFLAGS, type SetupHeader } from '../bzimage/setup-header.js';
import { count, sizeText } from './text.js';

/** Field name, value, explanation. */
export type Fact = readonly [name: string, value: string, meaning: string];

const INITRD_MAX_DEFAULT = 0x37ffffff;
const CMDLINE_DEFAULT = 255;

function loading(setup: SetupHeader): Fact[] {
  const {
    loadflags = 0,
    code32_start,
    relocatable_kernel,
    kernel_alignment = 0,
    min_alignment,
    pref_address,
  } = setup.values;
  const facts: Fact[] = [];
  const names = setBitNames(setupField('loadflags'), loadflags);
  facts.push([
    'loadflags',
    names.join(' ') || '0',
    (loadflags & LOADFLAGS.LOADED_HIGH) !== 0
      ? 'loaded high, at 1 MiB or above'
      : 'loaded low, at 0x10000: at most 512 KiB',
  ]);
  if (code32_start !== undefined)
    facts.push(['code32_start', hex(code32_start), 'the setup code jumps there in protected mode']);
  if (relocatable_kernel !== undefined) {
    const least =
      min_alignment === undefined || min_alignment === 0
        ? ''
        : `, at least ${sizeText(2 ** Math.min(min_alignment, 63))}`;
    facts.push([
      'relocatable_kernel',
      relocatable_kernel === 0 ? 'no' : 'yes',
      relocatable_kernel === 0
        ? 'runs only where it was linked for'
        : `may be loaded at any multiple of ${sizeText(kernel_alignment)}${least}`,
    ]);
  }
  if (pref_address !== undefined) {
    facts.push(['pref_address', hex(pref_address), 'where it would like to be']);
  }
  return facts;
}

function memory(setup: SetupHeader): Fact[] {
  const { init_size, initrd_addr_max, cmdline_size, xloadflags = 0 } = setup.values;
  const facts: Fact[] = [];
  if (init_size !== undefined) facts.push(['init_size', sizeText(init_size), 'memory that it needs while it starts']);
  const above = (xloadflags & XLOADFLAGS.XLF_CAN_BE_LOADED_ABOVE_4G) !== 0 ? '; 64-bit loaders may go above 4 GiB' : '';
  facts.push([
    'initrd_addr_max',
    hex(initrd_addr_max ?? INITRD_MAX_DEFAULT),
    `highest byte of an initrd${initrd_addr_max === undefined ? ' (by convention before 2.03)' : above}`,
  ]);
  facts.push([
    'cmdline_size',
    count(cmdline_size ?? CMDLINE_DEFAULT),
    `longest command line${cmdline_size === undefined ? ' (by convention before 2.06)' : ''}`,
  ]);
  return facts;
}

const XLOADFLAG_MEANINGS: readonly (readonly [mask: number, meaning: string])[] = [
  [XLOADFLAGS.XLF_KERNEL_64, '64-bit entry at +0x200'],
  [XLOADFLAGS.XLF_CAN_BE_LOADED_ABOVE_4G, 'loads above 4 GiB'],
  [XLOADFLAGS.XLF_EFI_HANDOVER_32, '32-bit EFI handover'],
  [XLOADFLAGS.XLF_EFI_HANDOVER_64, '64-bit EFI handover'],
  [XLOADFLAGS.XLF_EFI_KEXEC, 'kexec with EFI'],
  [XLOADFLAGS.XLF_5LEVEL, '5-level paging'],
  [XLOADFLAGS.XLF_5LEVEL_ENABLED, '5-level paging built in'],
  [XLOADFLAGS.XLF_MEM_ENCRYPTION, 'memory encryption'],
];

function abilities(image: BootImage, setup: SetupHeader): Fact[] {
  const { xloadflags, handover_offset = 0 } = setup.values;
  const facts: Fact[] = [];
  if (xloadflags !== undefined) {
    const meanings = XLOADFLAG_MEANINGS.filter(([mask]) => (xloadflags & mask) !== 0).map(([, meaning]) => meaning);
    facts.push(['xloadflags', hex(xloadflags), meanings.join(', ') || '32-bit kernel']);
  }
  if (handover_offset !== 0)
    facts.push(['handover_offset', hex(handover_offset), 'EFI handover entry in the protected-mode part']);
  if (image.kernelInfo !== null) {
    facts.push([
      'kernel_info',
      hex(image.kernelInfo.offset),
      `setup_data types up to ${hex(image.kernelInfo.setup_type_max)}`,
    ]);
  }
  return facts;
}

/** The header's facts that a person starting this kernel wants to know. */
export function setupFacts(image: BootImage, setup: SetupHeader): Fact[] {
  const { syssize = 0 } = setup.values;
  const facts: Fact[] = [
    ['protocol', setup.protocol, `header from 0x1f1 to ${hex(setup.headerEnd)}`],
    [
      'setup_sects',
      count(setup.setupSects),
      `${count((setup.setupSects + 1) * 512)} bytes of real-mode code with the boot sector`,
    ],
    [
      'syssize',
      count(syssize),
      setup.version < 0x0204 ? 'only 16 bits wide before 2.04' : `${count(syssize * 16)} bytes of protected-mode code`,
    ],
  ];
  return setup.version === 0 ? facts : [...facts, ...loading(setup), ...memory(setup), ...abilities(image, setup)];
}
