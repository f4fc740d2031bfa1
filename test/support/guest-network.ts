/**
 * The network stack of a guest, as small as a test can use it: DHCP, ARP, and one TCP connection at a time that sends
 * a request and reads to the end. IPv4 over the frames of a network device's harness.
 */
import { packet } from '../unit/virtio/net-frames.ts'
import type { DeviceHarness } from './device-harness.ts'

const HEADER = 12
const ETHERNET = 14
const IP = 20
const TCP = 20
const ARP_TYPE = 0x0806
const IPV4_TYPE = 0x0800
const PROTOCOL_TCP = 6
const PROTOCOL_UDP = 17
const FIN = 1
const SYN = 2
const ACK = 16
const BROADCAST = [255, 255, 255, 255, 255, 255]
const BUFFERS = 64
/** Frames that are looked at before a reply counts as lost. */
const PATIENCE = 10_000

/** What DHCP gave. */
export interface Lease {
  readonly address: readonly number[]
  readonly router: readonly number[]
  readonly dns: readonly number[]
  readonly mtu: number
}

export class GuestNetwork {
  private address: readonly number[] = [0, 0, 0, 0]

  constructor(
    private readonly harness: DeviceHarness,
    private readonly mac: Uint8Array,
    private readonly turn: () => void,
  ) {
    for (let i = 0; i < BUFFERS; i++) this.post()
    harness.driver(0).kick()
  }

  /** DHCPDISCOVER, and the offer that comes back. */
  discover(): Lease {
    const bootp = new Uint8Array(244)
    bootp.set([1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80, 0])
    bootp.set(this.mac, 28)
    bootp.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 236)
    const udp = Uint8Array.from([0, 68, 0, 67, ...u16(8 + bootp.length), 0, 0, ...bootp])
    this.send(BROADCAST, IPV4_TYPE, ipPacket(PROTOCOL_UDP, [0, 0, 0, 0], [255, 255, 255, 255], udp))
    const offer = this.receive(IPV4_TYPE, bytes => bytes[9] === PROTOCOL_UDP && bytes[IP + 3] === 68).subarray(IP + 8)
    const options = dhcpOptions(offer.subarray(240))
    this.address = [...offer.subarray(16, 20)]
    return {
      address: this.address,
      router: options.get(3) ?? [],
      dns: options.get(6) ?? [],
      mtu: toU16(options.get(26) ?? [0, 0]),
    }
  }

  /** The Ethernet address of a neighbour. */
  resolve(ip: readonly number[]): readonly number[] {
    this.send(
      BROADCAST,
      ARP_TYPE,
      Uint8Array.from([0, 1, 8, 0, 6, 4, 0, 1, ...this.mac, ...this.address, 0, 0, 0, 0, 0, 0, ...ip]),
    )
    const reply = this.receive(ARP_TYPE, bytes => bytes[7] === 2 && bytes.subarray(14, 18).join() === ip.join())
    return [...reply.subarray(8, 14)]
  }

  /** Connects to `ip`:`port` by way of `gateway`, and returns all that the other side sends until it closes. */
  download(gateway: readonly number[], ip: readonly number[], port: number): Uint8Array {
    const parts: Uint8Array[] = []
    let ours = 1000
    const sendSegment = (flags: number, theirs: number, options: readonly number[] = []) => {
      const length = (TCP + options.length) << 2
      const tcp = Uint8Array.from([
        0xc0,
        0,
        ...u16(port),
        ...u32(ours),
        ...u32(theirs),
        length,
        flags,
        255,
        255,
        0,
        0,
        0,
        0,
        ...options,
      ])
      const pseudo = Uint8Array.from([...this.address, ...ip, 0, PROTOCOL_TCP, ...u16(tcp.length), ...tcp])
      tcp.set(u16(internetChecksum(pseudo)), 16)
      this.send(gateway, IPV4_TYPE, ipPacket(PROTOCOL_TCP, this.address, ip, tcp))
    }
    const isOurs = (bytes: Uint8Array) => bytes[9] === PROTOCOL_TCP && toU16(bytes.subarray(IP, IP + 2)) === port
    // Maximum segment size 1460.
    sendSegment(SYN, 0, [2, 4, 0x05, 0xb4])
    const first = this.receive(IPV4_TYPE, isOurs)
    if (first[IP + 13] !== (SYN | ACK)) throw new Error(`the connection was refused: flags ${first[IP + 13]}`)
    let next = (sequence(first) + 1) >>> 0
    ours++
    sendSegment(ACK, next)
    for (;;) {
      const bytes = this.receive(IPV4_TYPE, isOurs)
      const data = bytes.subarray(IP + ((bytes[IP + 12] as number) >> 4) * 4, toU16(bytes.subarray(2, 4)))
      const isNext = sequence(bytes) === next
      if (isNext) {
        parts.push(data.slice())
        next = (next + data.length) >>> 0
      }
      const isEnd = isNext && ((bytes[IP + 13] as number) & FIN) !== 0
      if (isEnd) next = (next + 1) >>> 0
      if (data.length > 0 || isEnd) sendSegment(isEnd ? ACK | FIN : ACK, next)
      if (isEnd) return new Uint8Array(Buffer.concat(parts))
    }
  }

  /** Waits for somebody to connect to `port` of the guest. */
  awaitConnection(port: number): void {
    this.receive(
      IPV4_TYPE,
      bytes => bytes[9] === PROTOCOL_TCP && toU16(bytes.subarray(IP + 2, IP + 4)) === port && bytes[IP + 13] === SYN,
    )
  }

  private post(): void {
    this.harness.driver(0).add({ in: [1526] })
  }

  private send(destination: readonly number[], type: number, body: Uint8Array): void {
    this.harness.send(1, { out: [packet(Uint8Array.from([...destination, ...this.mac, ...u16(type), ...body]))] })
    this.harness.driver(1).pollAll()
  }

  /** What follows the Ethernet header of the next frame of `type` that `fits`. */
  private receive(type: number, fits: (bytes: Uint8Array) => boolean): Uint8Array {
    const driver = this.harness.driver(0)
    for (let i = 0; i < PATIENCE; i++) {
      const { written, in: buffers } = this.harness.receive(0, this.turn)
      this.post()
      driver.kick()
      const frame = (buffers[0] as Uint8Array).subarray(HEADER, written)
      const bytes = frame.subarray(ETHERNET)
      if (toU16(frame.subarray(12, 14)) === type && fits(bytes)) return bytes
    }
    throw new Error('no reply came')
  }
}

function ipPacket(
  protocol: number,
  source: readonly number[],
  target: readonly number[],
  body: Uint8Array,
): Uint8Array {
  const header = Uint8Array.from([
    0x45,
    0,
    ...u16(IP + body.length),
    0,
    0,
    0x40,
    0,
    64,
    protocol,
    0,
    0,
    ...source,
    ...target,
  ])
  header.set(u16(internetChecksum(header)), 10)
  return Uint8Array.from([...header, ...body])
}

/** RFC 1071. */
export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0
  for (const [index, byte] of bytes.entries()) sum += index % 2 === 0 ? byte << 8 : byte
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000)
  return ~sum & 0xffff
}

function dhcpOptions(bytes: Uint8Array): ReadonlyMap<number, number[]> {
  const options = new Map<number, number[]>()
  for (let at = 0; at < bytes.length && bytes[at] !== 255; at += 2 + (bytes[at + 1] as number))
    options.set(bytes[at] as number, [...bytes.subarray(at + 2, at + 2 + (bytes[at + 1] as number))])
  return options
}

function sequence(ip: Uint8Array): number {
  return new DataView(ip.buffer, ip.byteOffset).getUint32(IP + 4)
}

function u16(value: number): readonly number[] {
  return [(value >> 8) & 0xff, value & 0xff]
}

function u32(value: number): readonly number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)]
}

function toU16(bytes: ArrayLike<number>): number {
  return ((bytes[0] as number) << 8) | (bytes[1] as number)
}
