/** What needs Node: files, and the machines that plans run on. */
export * from './index.js';
export { readImage, writeFileAtomically } from './node/files.js';
export { createNodeV86Machine, type NodeV86Options } from './machines/v86/node.js';
export { createQemuMachine, kernelParameters, type QemuOptions } from './machines/qemu/qemu-machine.js';
export {
  openFileWindow,
  type FilePlace,
  type FileWindow,
  type FileWindowOptions,
  type FileWindowPlace,
} from './machines/device-window/file-window.js';
export type { AccessWidth, MemoryWindow } from './machines/device-window/memory-window.js';
export type { EdgeRule } from './machines/device-window/spans.js';
export { writeWindow, type WriteOptions, type WriteReport } from './machines/device-window/write-window.js';
export { wrapPlan } from './machines/wrapper/elf-wrapper.js';
