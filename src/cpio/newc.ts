/**
 * Writes cpio archives in the "newc" format, which the kernel unpacks as an initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */

/** What a file of the archive is; the values are the S_IFMT bits of st_mode. */
const FILE_TYPE = { directory: 0o040000, file: 0o100000, symlink: 0o120000, character: 0o020000, block: 0o060000 };

export interface CpioEntry {
  /** Path in the archive, without a leading slash. Parent directories need entries of their own, before this one. */
  readonly name: string;
  readonly type: keyof typeof FILE_TYPE;
  /** Permission bits; 0o755 for directories, 0o644 for everything else when absent. */
  readonly mode?: number;
  /** Contents of a file, or the target of a symlink. */
  readonly data?: Uint8Array;
  /** Major and minor number of a device node. */
  readonly device?: readonly [major: number, minor: number];
}

const HEADER_SIZE = 110;
const TRAILER = 'TRAILER!!!';

const align4 = (size: number): number => (size + 3) & ~3;

function writeMember(
  out: Uint8Array,
  at: number,
  fields: readonly number[],
  name: Uint8Array,
  data: Uint8Array,
): number {
  const header = '070701' + fields.map((field) => field.toString(16).padStart(8, '0')).join('');
  for (let i = 0; i < HEADER_SIZE; i++) out[at + i] = header.charCodeAt(i);
  out.set(name, at + HEADER_SIZE);
  const dataAt = at + memberSize(name.length, 0);
  out.set(data, dataAt);
  return dataAt + align4(data.length);
}

/** Name (with its NUL) and data are each padded so that what follows starts at a multiple of 4. */
const memberSize = (nameLength: number, dataLength: number): number =>
  align4(HEADER_SIZE + nameLength + 1) + align4(dataLength);

/**
 * The archive of these entries, in their order, followed by the trailer. All files belong to root and carry time 0, so
 * that equal entries give equal bytes.
 */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const encoder = new TextEncoder();
  const none = new Uint8Array(0);
  const members = entries.map((entry, index) => ({
    name: encoder.encode(entry.name),
    data: entry.data ?? none,
    inode: index + 1,
    mode: FILE_TYPE[entry.type] | (entry.mode ?? (entry.type === 'directory' ? 0o755 : 0o644)),
    links: entry.type === 'directory' ? 2 : 1,
    device: entry.device ?? [0, 0],
  }));
  members.push({ name: encoder.encode(TRAILER), data: none, inode: 0, mode: 0, links: 1, device: [0, 0] });

  const size = members.reduce((sum, member) => sum + memberSize(member.name.length, member.data.length), 0);
  const out = new Uint8Array(size);
  let at = 0;
  for (const { name, data, inode, mode, links, device } of members) {
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    const fields = [inode, mode, 0, 0, links, 0, data.length, 0, 0, device[0], device[1], name.length + 1, 0];
    at = writeMember(out, at, fields, name, data);
  }
  return out;
}
