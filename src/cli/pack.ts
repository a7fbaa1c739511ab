/** The `pack` command: a new image, written atomically, and what was made of it. */
import { BootImageError } from '../bytes/error.js';
import { readImage, writeFileAtomically } from '../node/files.js';
import { parseNote, parseNoteName } from '../pack/edit-notes.js';
import { pack } from '../pack/pack.js';
import type { CliIo, CommonOptions } from './io.js';
import { checkStandardInput, type COMPRESSIONS } from './options.js';
import { openKernel } from './probe.js';

export interface PackOptions extends CommonOptions {
  readonly output: string;
  readonly compress?: (typeof COMPRESSIONS)[number];
  readonly layout?: 'payload' | 'stage' | 'both';
  readonly note?: readonly string[];
  readonly removeNote?: readonly string[];
  readonly setup?: 'own' | 'keep';
  readonly append?: string;
  readonly initrd?: string;
  readonly limit: number;
}

export async function runPack(path: string, options: PackOptions, io: CliIo): Promise<number> {
  const notes = [...(options.removeNote ?? []).map(parseNoteName), ...(options.note ?? []).map(parseNote)];
  if (io.asJson && options.output === '-') {
    throw new BootImageError('bad-argument', '--json and an image cannot both go to standard output', { field: '-o' });
  }
  checkStandardInput({ image: path, '--initrd': options.initrd });
  const image = await openKernel(path);
  const packed = await pack(
    image,
    {
      notes,
      keepSetup: options.setup === 'keep',
      ...(options.compress === undefined ? {} : { compression: options.compress }),
      ...(options.layout === undefined ? {} : { layout: options.layout }),
      ...(options.initrd === undefined ? {} : { initrd: readImage(options.initrd) }),
      ...(options.append === undefined ? {} : { commandLine: options.append }),
    },
    { limit: options.limit },
  );
  writeFileAtomically(options.output, packed.bytes);
  const { compression, layout, payloadLength, initSize } = packed;
  if (io.asJson) {
    io.json({
      output: options.output,
      size: packed.bytes.length,
      compression,
      layout,
      payload_length: payloadLength,
      init_size: initSize,
    });
  } else {
    io.note(`${options.output}: ${packed.bytes.length} bytes, ${compression}, layout ${layout}, init_size ${initSize}`);
  }
  return 0;
}
