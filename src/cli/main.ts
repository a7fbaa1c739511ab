/** The command line's frame: parses, calls a command, turns errors into one line and an exit status. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { BootImageError, describeError } from '../bytes/error.js';
import { writeError } from '../node/files.js';
import { createIo, type CliIo, type CommonOptions } from './io.js';
import {
  addCommonOptions,
  addLimitOption,
  addPlanOptions,
  collect,
  COMPRESSIONS,
  oneOf,
  parseCount,
  parseSeconds,
} from './options.js';

const EXIT = { image: 1, usage: 2, outside: 3 } as const;

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

/** Runs a command's work and leaves its exit status behind. */
async function finish(work: Promise<number>): Promise<void> {
  process.exitCode = await work;
}

function build(): Command {
  const program = new Command('bzelf')
    .description('Linux x86 kernel images: read, explain, check, prove, build and start them at any stage.')
    .version(version(), '--version')
    .helpOption('--help', 'show help')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'bzelf: ')) });

  /** A command on one image. */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- ties a command's options to its work
  const add = <Options extends CommonOptions & { readonly kaslr?: unknown }>(
    name: string,
    description: string,
    run: (image: string, options: Options, io: CliIo) => Promise<number>,
  ): Command =>
    addCommonOptions(
      program.command(name).description(description).argument('[image]', 'file name, or - for standard input'),
    )
      .usage('[options] <image>')
      .action((image: string | undefined, options: Options, command: Command) => {
        // `--kaslr IMAGE`: an option with an optional value swallows the word behind it.
        if (image === undefined && typeof options.kaslr === 'string') {
          return finish(run(options.kaslr, { ...options, kaslr: true }, createIo(options)));
        }
        if (image === undefined) return command.error("bzelf: missing argument 'image'", { exitCode: EXIT.usage });
        return finish(run(image, options, createIo(options)));
      });

  addLimitOption(
    add(
      'inspect',
      'say what the file says, damaged or not',
      async (image, options: import('./inspect.js').InspectOptions, io) =>
        (await import('./inspect.js')).runInspect(image, options, io),
    ),
  ).option('--no-payload', 'do not decompress: fast, and without the kernel inside');

  addLimitOption(
    add(
      'extract',
      'take something out of an image',
      async (image, options: import('./extract.js').ExtractOptions, io) =>
        (await import('./extract.js')).runExtract(image, options, io),
    ),
  )
    .option('-o, --output <file>', 'write to FILE instead of stdout')
    .option(
      '--what <what>',
      'vmlinux, raw, payload, config, symbols, notes, btf or setup',
      oneOf(['vmlinux', 'raw', 'payload', 'config', 'symbols', 'notes', 'btf', 'setup'] as const),
      'vmlinux',
    )
    .option('--symbols', 'add .symtab and .strtab rebuilt from kallsyms')
    .option('--kaslr [seed]', 'relocate vmlinux to a random base')
    .option('--memory <size>', 'with --kaslr: RAM that the guest has at least (256M)');

  addLimitOption(
    addCommonOptions(
      program
        .command('verify')
        .description('judge an image by every rule that real loaders enforce')
        .argument('[image]', 'file name, or - for standard input'),
    ),
  )
    .option('--for <loaders>', 'judge by what these loaders need, separated by commas')
    .option('--list', 'print rules and loaders')
    .action(async (image: string | undefined, options: import('./verify.js').VerifyOptions, command: Command) => {
      if (image === undefined && options.list !== true)
        command.error("bzelf: missing argument 'image'", { exitCode: EXIT.usage });
      await finish((await import('./verify.js')).runVerify(image, options, createIo(options)));
    });

  addLimitOption(
    add(
      'prove',
      'run the stages and compare guest memory with what the headers promise',
      async (image, options: import('./prove.js').ProveOptions, io) =>
        (await import('./prove.js')).runProve(image, options, io),
    ),
  )
    .option('--memory <size>', 'guest memory', '512M')
    .option('--kaslr', 'let the decompressor choose its addresses, read them and compare after our own relocation')
    .option('--timeout <seconds>', 'give up after this time', parseSeconds, 120);

  addPlanOptions(
    add(
      'plan',
      'what goes where, and how the CPU starts',
      async (image, options: import('./plan.js').PlanCommandOptions, io) =>
        (await import('./plan.js')).runPlan(image, options, io),
    ),
  )
    .option('--ram <file>', 'write the plan as a sparse RAM image, its state beside it as FILE.json')
    .option('--elf <file>', 'write the plan as one ELF file for multiboot and PVH loaders');

  addPlanOptions(
    add(
      'boot',
      'start it and connect its serial console; probe instead of an image starts our own test kernel, which checks itself',
      async (image, options: import('./boot.js').BootOptions, io) =>
        (await import('./boot.js')).runBoot(image, options, io),
    ),
  )
    .option('--machine <machine>', 'v86 or qemu', oneOf(['v86', 'qemu'] as const))
    .option('--qemu-machine <type>', 'q35, pc or microvm', oneOf(['q35', 'pc', 'microvm'] as const))
    .option('--smp <count>', 'processors (qemu)', parseCount)
    .option('--bios <file>', 'BIOS for the setup and hook stages (v86)')
    .option('--timeout <seconds>', 'end the guest after this time', parseSeconds)
    .option('--until <text>', 'end the guest, successfully, once its console shows this')
    .option('--timing', 'print times as JSON on the last line of stderr');

  addPlanOptions(
    add(
      'load',
      'write a plan into a window on another machine’s memory',
      async (image, options: import('./load.js').LoadOptions, io) =>
        (await import('./load.js')).runLoad(image, options, io),
    ),
  )
    .requiredOption('--window <file>', 'FILE[@OFFSET[:LENGTH]]: a PCI BAR or any file that can be mapped')
    .option('--window-address <address>', 'guest physical address that the window begins at', '0')
    .option('--width <bytes>', 'width of every access: 1, 2, 4 or 8', oneOf(['1', '2', '4', '8'] as const), '4')
    .option(
      '--edges <rule>',
      'words that the plan fills in part: merge keeps their other bytes, refuse writes none of them',
      oneOf(['merge', 'refuse'] as const),
      'merge',
    )
    .option('--base-register <place>', 'FILE@OFFSET: a 32-bit register that moves the window over a larger memory');

  addLimitOption(
    add(
      'pack',
      'make a boot image from an ELF kernel or from another image',
      async (image, options: import('./pack.js').PackOptions, io) =>
        (await import('./pack.js')).runPack(image, options, io),
    ),
  )
    .requiredOption('-o, --output <file>', 'the image to write')
    .option('--compress <format>', COMPRESSIONS.join(', '), oneOf(COMPRESSIONS))
    .option('--layout <layout>', 'payload, stage or both', oneOf(['payload', 'stage', 'both'] as const))
    .option('--note <note>', 'add or change an ELF note: OWNER:TYPE=VALUE', collect)
    .option('--remove-note <note>', 'remove an ELF note: OWNER:TYPE', collect)
    .option('--setup <setup>', 'own, or keep the image’s own', oneOf(['own', 'keep'] as const))
    .option('--append <text>', 'default command line')
    .option('--initrd <file>', 'initial RAM disk inside the image');

  addCommonOptions(
    program
      .command('scan')
      .description('one line for each boot image found below the paths')
      .argument('<paths...>', 'files and directories; .deb packages are looked into'),
  )
    .option('--jobs <count>', 'files at a time', parseCount)
    .action(async (paths: readonly string[], options: import('./scan.js').ScanOptions) =>
      finish((await import('./scan.js')).runScan(paths, options, createIo(options))),
    );

  return program;
}

let outputLost = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader of a pipe has gone: nobody hears the rest, but the exit status still counts.
  if (error.code === 'EPIPE' || outputLost) return;
  outputLost = true;
  process.stderr.write(`bzelf: ${describeError(writeError('-', error))}\n`);
  // Whatever else the command finds: its result has not arrived.
  process.once('exit', () => (process.exitCode = EXIT.outside));
});
// Where remarks cannot be written, the work still can be done.
process.stderr.on('error', () => undefined);

async function main(): Promise<void> {
  try {
    await build().parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage;
    } else if (error instanceof BootImageError) {
      process.stderr.write(`bzelf: ${describeError(error)}\n`);
      process.exitCode = EXIT[error.blame];
    } else {
      process.stderr.write(
        `bzelf: internal error: ${error instanceof Error ? error.message : String(error)}; please report it\n`,
      );
      if (process.env['BZELF_DEBUG'] !== undefined && error instanceof Error)
        process.stderr.write(`${error.stack ?? ''}\n`);
      process.exitCode = 1;
    }
  }
}

void main();
