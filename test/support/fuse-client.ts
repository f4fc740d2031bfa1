/** The guest kernel's side of FUSE over virtio-fs, as far as tests need it. linux/fuse.h, protocol 7.31. */
import type { DeviceHarness } from './device-harness.ts'

const FUSE_LOOKUP = 1
const FUSE_FORGET = 2
const FUSE_OPEN = 14
const FUSE_READ = 15
const FUSE_WRITE = 16
const FUSE_INIT = 26
const FUSE_CREATE = 35

const HIPRIO = 0
const REQUESTS = 1
const IN_HEADER = 40
const OUT_HEADER = 16
const INIT_OUT = 64
const ENTRY_OUT = 128
const OPEN_OUT = 16
const WRITE_OUT = 8
export const ROOT = 1n

/** What came back. */
export interface FuseReply {
  /** 0, or a negative errno. */
  readonly error: number
  /** Behind the header. */
  readonly body: Uint8Array
}

/** Sends requests through a device's queues; `turn` lets the back end go on. */
export class FuseClient {
  private unique = 1n

  constructor(
    private readonly harness: DeviceHarness,
    private readonly turn: () => void,
  ) {}

  /** Starts a session; the protocol version that the server speaks. */
  init(): FuseReply & { readonly version: string } {
    const reply = this.request(FUSE_INIT, 0n, [words32(7, 31, 0x20000, 0)], [INIT_OUT])
    const view = viewOf(reply.body)
    return { ...reply, version: `${view.getUint32(0, true)}.${view.getUint32(4, true)}` }
  }

  /** A name in the root directory: its node, and the size in its attributes. */
  lookup(name: string): FuseReply & { readonly node: bigint; readonly size: number } {
    const reply = this.request(FUSE_LOOKUP, ROOT, [cName(name)], [ENTRY_OUT])
    return { ...reply, node: viewOf(reply.body).getBigUint64(0, true), size: viewOf(reply.body).getUint32(48, true) }
  }

  open(node: bigint, flags: number): FuseReply & { readonly handle: bigint } {
    const reply = this.request(FUSE_OPEN, node, [words32(flags, 0)], [OPEN_OUT])
    return { ...reply, handle: viewOf(reply.body).getBigUint64(0, true) }
  }

  /** Creates a file in the root directory and opens it for writing. */
  create(name: string): FuseReply & { readonly node: bigint; readonly handle: bigint } {
    const body = new Uint8Array([...words32(1 | 0o100, 0o644 | 0o100000, 0o22, 0), ...cName(name)])
    const reply = this.request(FUSE_CREATE, ROOT, [body], [ENTRY_OUT + OPEN_OUT])
    const view = viewOf(reply.body)
    return { ...reply, node: view.getBigUint64(0, true), handle: view.getBigUint64(ENTRY_OUT, true) }
  }

  read(node: bigint, handle: bigint, offset: number, size: number): FuseReply {
    return this.request(FUSE_READ, node, [transfer(handle, offset, size)], [size])
  }

  write(node: bigint, handle: bigint, offset: number, bytes: Uint8Array): FuseReply {
    return this.request(FUSE_WRITE, node, [transfer(handle, offset, bytes.length), bytes], [WRITE_OUT])
  }

  /** Gives a node back, on the high priority queue and without an answer; bytes that the device wrote. */
  forget(node: bigint): number {
    const header = this.header(FUSE_FORGET, node, [words64(1n)])
    return this.harness.request(HIPRIO, { out: [header, words64(1n)] }, this.turn).written
  }

  /** Any request. */
  request(opcode: number, node: bigint, body: readonly Uint8Array[], room: readonly number[]): FuseReply {
    const header = this.header(opcode, node, body)
    const unique = this.unique
    const used = this.harness.request(REQUESTS, { out: [header, ...body], in: [OUT_HEADER, ...room] }, this.turn)
    const [head, ...rest] = used.in
    return reply(head as Uint8Array, Buffer.concat(rest), unique)
  }

  /** Sends one of the requests that nobody will answer: its token. */
  send(opcode: number, node: bigint, body: readonly Uint8Array[], room: readonly number[]): number {
    const header = this.header(opcode, node, body)
    return this.harness.send(REQUESTS, { out: [header, ...body], in: [OUT_HEADER, ...room] })
  }

  private header(opcode: number, node: bigint, body: readonly Uint8Array[]): Uint8Array {
    const header = new Uint8Array(IN_HEADER)
    const view = viewOf(header)
    view.setUint32(0, IN_HEADER + body.reduce((sum, part) => sum + part.length, 0), true)
    view.setUint32(4, opcode, true)
    this.unique += 2n
    view.setBigUint64(8, this.unique, true)
    view.setBigUint64(16, node, true)
    return header
  }
}

/** Takes a reply apart; throws when it answers another request. */
function reply(head: Uint8Array, body: Uint8Array, unique: bigint): FuseReply {
  const view = viewOf(head)
  const seen = view.getBigUint64(8, true)
  if (seen !== unique) throw new Error(`request ${unique} is answered as ${seen}`)
  const size = view.getUint32(0, true) - OUT_HEADER
  // An error comes without a body; it reads as zeros then.
  return { error: view.getInt32(4, true), body: size === 0 ? new Uint8Array(body.length) : body.subarray(0, size) }
}

/** struct fuse_read_in and fuse_write_in. */
function transfer(handle: bigint, offset: number, size: number): Uint8Array {
  const bytes = new Uint8Array(40)
  const view = viewOf(bytes)
  view.setBigUint64(0, handle, true)
  view.setBigUint64(8, BigInt(offset), true)
  view.setUint32(16, size, true)
  return bytes
}

function words32(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer)
}

function words64(...values: readonly bigint[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values).buffer)
}

function cName(name: string): Uint8Array {
  return new TextEncoder().encode(`${name}\0`)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
