/** The network device's control queue. VIRTIO 1.2 §5.1.6.5. */
import {
  GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_MQ,
} from './net-features.ts'
import { type NetFilter, RX_MODES } from './net-filter.ts'
import { Chain, type VirtQueue } from './queue.ts'

/** Commands in one go. */
const BUDGET = 64
/** The entries of a MAC table that are kept; with more, all addresses of that kind pass. */
const MAX_ADDRESSES = 64
/** Class, command and the largest data: two full tables with their counts. */
const MAX_COMMAND = 2 + 2 * (4 + MAX_ADDRESSES * 6)

export const VIRTIO_NET_OK = 0
export const VIRTIO_NET_ERR = 1

export const VIRTIO_NET_CTRL_RX = 0
/** The first command of VIRTIO_NET_CTRL_RX that needs VIRTIO_NET_F_CTRL_RX_EXTRA. */
export const VIRTIO_NET_CTRL_RX_ALLUNI = 2
export const VIRTIO_NET_CTRL_MAC = 1
export const VIRTIO_NET_CTRL_MAC_TABLE_SET = 0
export const VIRTIO_NET_CTRL_MAC_ADDR_SET = 1
export const VIRTIO_NET_CTRL_VLAN = 2
export const VIRTIO_NET_CTRL_VLAN_ADD = 0
export const VIRTIO_NET_CTRL_VLAN_DEL = 1
export const VIRTIO_NET_CTRL_MQ = 4
export const VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET = 0
export const VIRTIO_NET_CTRL_GUEST_OFFLOADS = 5
export const VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET = 0

/** What commands change outside of the filter; false when it cannot be done. */
export interface NetControlTarget {
  setMac(mac: number): void
  setPairs(count: number): boolean
  setGuestOffloads(features: bigint): boolean
}

/** Serves the control queue. */
export class NetControl {
  private chain: Chain | undefined
  private queue: VirtQueue | undefined
  private features = 0n
  private readonly bytes = new Uint8Array(MAX_COMMAND)
  private readonly view = new DataView(this.bytes.buffer)
  private readonly ack = new Uint8Array(1)

  constructor(
    private readonly filter: NetFilter,
    private readonly target: NetControlTarget,
    private readonly log: (message: string) => void,
  ) {}

  start(queue: VirtQueue, features: bigint): void {
    this.queue = queue
    this.features = features
    this.chain ??= new Chain(queue.space)
  }

  stop(): void {
    this.queue = undefined
  }

  get index(): number | undefined {
    return this.queue?.index
  }

  get isStarted(): boolean {
    return this.queue !== undefined
  }

  /** Serves the commands that are there, up to a bound; true when there may be more. */
  run(): boolean {
    const { queue, chain } = this
    if (queue === undefined || chain === undefined) return false
    for (let i = 0; i < BUDGET; i++) {
      if (!queue.pop(chain)) {
        queue.flush()
        return queue.requestNotifications()
      }
      this.serve(queue, chain)
    }
    queue.flush()
    return true
  }

  private serve(queue: VirtQueue, chain: Chain): void {
    const isDone = this.execute(chain)
    if (!isDone) this.log('a control command was refused')
    this.ack[0] = isDone ? VIRTIO_NET_OK : VIRTIO_NET_ERR
    const written = chain.writable.write(0, this.ack)
    if (written === 0) this.log('a control command has no room for its answer')
    queue.push(chain, written)
  }

  private execute({ readable }: Chain): boolean {
    if (readable.size < 2) return false
    const size = readable.read(0, this.bytes) - 2
    const command = this.bytes[1] as number
    switch (this.bytes[0]) {
      case VIRTIO_NET_CTRL_RX:
        return readable.size === 3 && this.setMode(command, this.bytes[2] as number)
      case VIRTIO_NET_CTRL_MAC:
        if (command === VIRTIO_NET_CTRL_MAC_TABLE_SET) return this.setTables(readable.size - 2, readable)
        return command === VIRTIO_NET_CTRL_MAC_ADDR_SET && readable.size === 8 && this.setMac()
      case VIRTIO_NET_CTRL_VLAN:
        return readable.size === 4 && this.setVlan(command, this.view.getUint16(2, true))
      case VIRTIO_NET_CTRL_MQ:
        return command === VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && readable.size === 4 && this.setPairs()
      case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
        return command === VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET && size === 8 && this.setOffloads()
      default:
        return false
    }
  }

  private has(feature: bigint): boolean {
    return (this.features & feature) !== 0n
  }

  private setMode(command: number, on: number): boolean {
    const mode = RX_MODES[command]
    const feature = command < VIRTIO_NET_CTRL_RX_ALLUNI ? VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA
    if (mode === undefined || !this.has(feature) || on > 1) return false
    this.filter.modes[mode] = on === 1
    return true
  }

  /** §5.1.6.5.2: two tables, each a 32-bit count and that many addresses. */
  private setTables(size: number, readable: Chain['readable']): boolean {
    if (!this.has(VIRTIO_NET_F_CTRL_RX) || size < 8) return false
    const unicastSize = 4 + this.view.getUint32(2, true) * 6
    if (unicastSize + 4 > size) return false
    const count = new Uint8Array(4)
    readable.read(2 + unicastSize, count)
    const multicast = new DataView(count.buffer).getUint32(0, true)
    if (unicastSize + 4 + multicast * 6 !== size) return false
    const first = this.addresses(readable, 2 + 4, (unicastSize - 4) / 6)
    const second = this.addresses(readable, 2 + unicastSize + 4, multicast)
    this.filter.setTables(first ?? [], second ?? [])
    // More than is kept: better too many packets than too few.
    this.filter.modes.alluni = first === undefined
    if (second === undefined) this.filter.modes.allmulti = true
    return true
  }

  /** Undefined when there are too many. */
  private addresses(readable: Chain['readable'], at: number, count: number): number[] | undefined {
    if (count > MAX_ADDRESSES) return undefined
    const bytes = new Uint8Array(count * 6)
    readable.read(at, bytes)
    return Array.from({ length: count }, (_, index) => macNumber(bytes, index * 6))
  }

  private setMac(): boolean {
    if (!this.has(VIRTIO_NET_F_CTRL_MAC_ADDR)) return false
    this.target.setMac(macNumber(this.bytes, 2))
    return true
  }

  private setVlan(command: number, id: number): boolean {
    if (!this.has(VIRTIO_NET_F_CTRL_VLAN) || id > 0xfff) return false
    if (command !== VIRTIO_NET_CTRL_VLAN_ADD && command !== VIRTIO_NET_CTRL_VLAN_DEL) return false
    this.filter.setVlan(id, command === VIRTIO_NET_CTRL_VLAN_ADD)
    return true
  }

  private setPairs(): boolean {
    return this.has(VIRTIO_NET_F_MQ) && this.target.setPairs(this.view.getUint16(2, true))
  }

  private setOffloads(): boolean {
    const offloads = this.view.getBigUint64(2, true)
    // §5.1.6.5.6.1: only what was negotiated.
    if (!this.has(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) || (offloads & ~(this.features & GUEST_OFFLOADS)) !== 0n)
      return false
    return this.target.setGuestOffloads(offloads)
  }
}

/** The 6 bytes at `at` as a number, first byte on top. */
export function macNumber(bytes: Uint8Array, at: number): number {
  let value = 0
  for (let i = 0; i < 6; i++) value = value * 256 + (bytes[at + i] as number)
  return value
}
