import type { InspectDocument } from '../../src/index.js';
import type { ImageView, KernelView } from '../protocol.js';
import { Bar } from './bar.js';
import { count, hex, sizeText } from './numbers.js';
import { Section } from './section.js';
import { Facts, Table } from './table.js';

type Problem = InspectDocument['problems'][number];
type Segments = NonNullable<InspectDocument['vmlinux']>['segments'];

function Problems({ problems }: { readonly problems: readonly Problem[] }) {
  if (problems.length === 0) return null;
  return (
    <Section title="Problems">
      <ul class="problems">
        {problems.map(({ id, severity, message, field, offset }, index) => (
          <li key={index}>
            <span class={`badge ${severity}`}>{severity}</span> {message}
            <span class="remark">
              {' '}
              ({[field, offset === null ? null : hex(offset), id].filter((part) => part !== null).join(', ')})
            </span>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function FileLayout({ view }: { readonly view: ImageView }) {
  const { layout, document } = view;
  if (layout.length === 0) return null;
  return (
    <Section title="Layout of the file" remark="to scale">
      <Bar
        label={`The file, to scale: ${layout.map(({ label, length }) => `${label} ${sizeText(length)}`).join(', ')}`}
        parts={layout.map((part) => ({
          ...part,
          kind: `file-${part.kind}`,
          title: `${part.label}: ${count(part.length)} bytes at ${hex(part.offset)}`,
        }))}
      />
      <Table
        label="Parts of the file"
        prose
        head={['part', 'offset', 'bytes', 'what it is']}
        right={[1, 2]}
        rows={layout.map(({ label, kind, offset, length, meaning }) => [
          <>
            <i class={`swatch look file-${kind}`} /> {label}
          </>,
          hex(offset),
          count(length),
          meaning,
        ])}
      />
      {document.payload === null ? null : (
        <Facts
          pairs={[
            ['payload', `${document.payload.compression ?? 'unknown format'}, ${count(document.payload.length)} bytes`],
            ...(document.payload.uncompressed_length === null
              ? []
              : [['decompressed', `${count(document.payload.uncompressed_length)} bytes`] as const]),
            ...(document.payload.sha256 === null
              ? []
              : [['its sha256', <code key="sha256">{document.payload.sha256}</code>] as const]),
          ]}
        />
      )}
    </Section>
  );
}

function SetupPart({ view }: { readonly view: ImageView }) {
  if (view.facts.length === 0) return null;
  return (
    <Section title="Setup header" remark="as boot.rst defines it">
      <Table
        label="Setup header"
        prose
        head={['field', 'value', 'meaning']}
        rows={view.facts.map(([name, value, meaning]) => [
          <code key="name">{name}</code>,
          <code key="value">{value}</code>,
          meaning,
        ])}
      />
      <details>
        <summary>All {view.fields.length} fields</summary>
        <Table
          label="All fields of the setup header"
          prose
          head={['field', 'offset', 'value', 'access', 'meaning']}
          right={[1]}
          rows={view.fields.map(({ name, offset, value, access, meaning }) => [
            <code key="name">{name}</code>,
            hex(offset),
            <code key="value">{value}</code>,
            access,
            meaning,
          ])}
        />
      </details>
    </Section>
  );
}

function SegmentTable({ segments, label }: { readonly segments: Segments; readonly label: string }) {
  const size = (value: number | string): string => (typeof value === 'number' ? count(value) : value);
  return (
    <Table
      label={label}
      head={['type', 'file', 'bytes', 'virtual', 'physical', 'in memory', 'flags']}
      right={[1, 2, 3, 4, 5]}
      rows={segments.map(({ type, offset, filesz, vaddr, paddr, memsz, flags }) => [
        type,
        typeof offset === 'number' ? hex(offset) : offset,
        size(filesz),
        vaddr,
        paddr,
        size(memsz),
        flags,
      ])}
    />
  );
}

function KernelMemory({ memory }: Pick<KernelView, 'memory'>) {
  const [first] = memory;
  if (first === undefined) return null;
  const named = memory.filter(({ length }) => length > 0);
  return (
    <>
      <p class="remark">Physical memory from {hex(first.address)} on, to scale</p>
      <Bar
        label={`The kernel's memory, to scale: ${named.map(({ label, length }) => `${label === '' ? 'gap' : label} ${sizeText(length)}`).join(', ')}`}
        parts={named.map((part) => ({
          ...part,
          kind: `memory-${part.kind}`,
          title: `${part.label === '' ? 'gap' : part.label}: ${sizeText(part.length)} at ${hex(part.address)}`,
        }))}
      />
      <p class="legend">
        <i class="swatch look memory-code" /> code <i class="swatch look memory-data" /> data{' '}
        <i class="swatch look memory-bss" /> bss, zero <i class="swatch look memory-gap" /> gap
      </p>
    </>
  );
}

function KernelPart({
  kernel,
  vmlinux,
}: {
  readonly kernel: KernelView;
  readonly vmlinux: NonNullable<InspectDocument['vmlinux']>;
}) {
  return (
    <Section
      title="Kernel"
      remark={`ELF, ${String(vmlinux.class)}-bit, ${sizeText(vmlinux.size)}, entry ${vmlinux.entry}`}
    >
      {vmlinux.banner === null ? null : <p class="banner">{vmlinux.banner}</p>}
      <Facts
        pairs={[
          ['release', vmlinux.release ?? 'none'],
          ['build id', vmlinux.build_id === null ? 'none' : <code key="id">{vmlinux.build_id}</code>],
          ...kernel.facts,
        ]}
      />
      <KernelMemory memory={kernel.memory} />
      <SegmentTable label="Segments of the kernel" segments={vmlinux.segments} />
      {kernel.notes.length === 0 ? null : (
        <details>
          <summary>{kernel.notes.length} notes</summary>
          <Table
            label="Notes of the kernel"
            head={['owner', 'note', 'value']}
            rows={kernel.notes.map(([owner, name, value]) => [owner, name, value])}
          />
        </details>
      )}
    </Section>
  );
}

function EfiPart({ view }: { readonly view: ImageView }) {
  const { pe } = view.document;
  if (pe === null) return null;
  return (
    <Section title="EFI" remark={`PE header at ${hex(pe.offset)}`}>
      <Facts pairs={view.efi} />
      <details>
        <summary>{pe.sections.length} sections</summary>
        <Table
          label="Sections of the PE file"
          head={['section', 'file', 'bytes', 'address', 'in memory', 'flags']}
          right={[1, 2, 3, 4, 5]}
          rows={pe.sections.map((section) => [
            section.name,
            hex(section.raw_offset),
            count(section.raw_size),
            section.virtual_address,
            count(section.virtual_size),
            section.flags,
          ])}
        />
      </details>
    </Section>
  );
}

/** Everything that the file says. What could not be read is missing, and stands among the problems. */
export function Inspect({ view }: { readonly view: ImageView }) {
  const { document, kernel, inner } = view;
  return (
    <>
      {document.kind === 'unknown' ? (
        <p class="failure" role="alert">
          not a boot image ({document.description}); give a bzImage, a vmlinux or a unified kernel image
        </p>
      ) : null}
      <Problems problems={document.problems} />
      <FileLayout view={view} />
      <SetupPart view={view} />
      {kernel === null || document.vmlinux === null ? null : <KernelPart kernel={kernel} vmlinux={document.vmlinux} />}
      {document.stage_elf === null ? null : (
        <Section
          title="Stage ELF"
          remark={`the protected-mode part is an ELF file, at ${hex(document.stage_elf.offset)}`}
        >
          <SegmentTable label="Segments of the stage" segments={document.stage_elf.segments} />
        </Section>
      )}
      <EfiPart view={view} />
      {view.uki.length === 0 ? null : (
        <Section title="Unified kernel image">
          <Facts pairs={view.uki} />
        </Section>
      )}
      {inner === null ? null : (
        <Section title="The kernel in .linux" remark={inner.document.description}>
          <Inspect view={inner} />
        </Section>
      )}
    </>
  );
}
