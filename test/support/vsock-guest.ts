/** The guest's side of a socket device in tests: makes packets, and takes those of the device apart. */
import { VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_TYPE_STREAM, VsockHeader } from '../../src/virtio/vsock-packet.ts'
import type { DeviceHarness } from './device-harness.ts'

const RX = 0
const TX = 1
export const GUEST_CID = 3

/** The fields of a packet that differ from a stream packet of the guest to host port 1000 from its port 2000. */
export interface Packet {
  readonly op: number
  readonly srcCid?: number
  readonly srcCidHigh?: number
  readonly dstCid?: number
  readonly srcPort?: number
  readonly dstPort?: number
  readonly type?: number
  readonly len?: number
  readonly flags?: number
  readonly bufAlloc?: number
  readonly fwdCnt?: number
  readonly data?: Uint8Array
}

/** A packet of the device. */
export interface Heard {
  readonly op: number
  readonly srcPort: number
  readonly dstPort: number
  readonly flags: number
  readonly bufAlloc: number
  readonly fwdCnt: number
  readonly srcCid: number
  readonly type: number
  readonly data: Uint8Array
}

export const HOST_PORT = 1000
export const GUEST_PORT = 2000

/** The header's bytes, and the data's. */
export function packetBytes(packet: Packet): Uint8Array {
  const header = new VsockHeader()
  const data = packet.data ?? new Uint8Array(0)
  header.srcCid = packet.srcCid ?? GUEST_CID
  header.srcCidHigh = packet.srcCidHigh ?? 0
  header.dstCid = packet.dstCid ?? 2
  header.srcPort = packet.srcPort ?? GUEST_PORT
  header.dstPort = packet.dstPort ?? HOST_PORT
  header.len = packet.len ?? data.length
  header.type = packet.type ?? VIRTIO_VSOCK_TYPE_STREAM
  header.op = packet.op
  header.flags = packet.flags ?? 0
  header.bufAlloc = packet.bufAlloc ?? 2 ** 16
  header.fwdCnt = packet.fwdCnt ?? 0
  const bytes = new Uint8Array(header.bytes.length + data.length)
  bytes.set(header.bytes)
  bytes.set(data, header.bytes.length)
  return bytes
}

/** A driver for the device in `harness`. */
export class VsockGuest {
  constructor(private readonly harness: DeviceHarness) {}

  /** Gives the device `count` receive buffers. */
  offer(count: number, size = 4096): void {
    for (let i = 0; i < count; i++) this.harness.send(RX, { in: [size] })
  }

  /** Sends a packet; it has been used when this returns, unless the device has stopped taking any. */
  send(packet: Packet): void {
    this.harness.send(TX, { out: [packetBytes(packet)] })
    this.harness.driver(TX).pollAll()
  }

  /** Packets that came since the last call. */
  hear(): readonly Heard[] {
    return this.harness
      .driver(RX)
      .pollAll()
      .map(({ written, in: buffers }) => parse(Uint8Array.from(buffers.flatMap(b => [...b])).subarray(0, written)))
  }

  /** Their operations. */
  ops(): readonly number[] {
    return this.hear().map(({ op }) => op)
  }

  /** Sends data on the connection that most tests have. */
  write(data: Uint8Array, fields: Partial<Packet> = {}): void {
    this.send({ op: VIRTIO_VSOCK_OP_RW, data, ...fields })
  }
}

function parse(bytes: Uint8Array): Heard {
  const header = new VsockHeader()
  header.bytes.set(bytes.subarray(0, 44))
  if (header.dstCid !== GUEST_CID || header.dstCidHigh !== 0) throw new Error('a packet is not for the guest')
  if (header.len !== bytes.length - 44)
    throw new Error(`${bytes.length} bytes are no packet with ${header.len} of data`)
  const { op, srcPort, dstPort, flags, bufAlloc, fwdCnt, srcCid, type } = header
  return { op, srcPort, dstPort, flags, bufAlloc, fwdCnt, srcCid, type, data: bytes.slice(44) }
}
