/** What needs Node: files, and the machines that plans run on. */
export * from './index.js';
export { readImage, writeFileAtomically } from './node/files.js';
export { createNodeV86Machine, type NodeV86Options } from './machines/v86/node.js';
export { createQemuMachine, type QemuOptions } from './machines/qemu/qemu-machine.js';
