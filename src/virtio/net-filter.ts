/**
 * Which frames a driver wants, as it says through the control queue. VIRTIO 1.2 §5.1.6.5.1 to §5.1.6.5.3. Addresses
 * are 48-bit numbers, first byte on top.
 */
import { ETHERNET_HEADER } from './net-header.ts'

const BROADCAST = 0xffff_ffff_ffff
const VLAN_TPID = 0x8100
const TYPE_OFFSET = 12

/** How much of a frame decides. */
export const FILTERED_BYTES = ETHERNET_HEADER + 4

/** The switches of VIRTIO_NET_CTRL_RX, in the order of their command numbers. */
export const RX_MODES = ['promisc', 'allmulti', 'alluni', 'nomulti', 'nouni', 'nobcast'] as const
export type RxMode = (typeof RX_MODES)[number]

/** Lets everything pass until the driver asks for less. */
export class NetFilter {
  readonly modes: Record<RxMode, boolean> = {
    promisc: true,
    allmulti: false,
    alluni: false,
    nomulti: false,
    nouni: false,
    nobcast: false,
  }
  private readonly unicast = new Set<number>()
  private readonly multicast = new Set<number>()
  private readonly vlans = new Set<number>()
  private mac = 0
  private tagsFiltered = false

  /** As after a reset, with VIRTIO_NET_F_CTRL_VLAN negotiated or not. */
  reset(mac: number, tagsFiltered: boolean): void {
    for (const mode of RX_MODES) this.modes[mode] = mode === 'promisc'
    this.unicast.clear()
    this.multicast.clear()
    this.vlans.clear()
    this.mac = mac
    this.tagsFiltered = tagsFiltered
  }

  setMac(mac: number): void {
    this.mac = mac
  }

  /** Replaces both tables. */
  setTables(unicast: readonly number[], multicast: readonly number[]): void {
    this.unicast.clear()
    this.multicast.clear()
    for (const address of unicast) this.unicast.add(address)
    for (const address of multicast) this.multicast.add(address)
  }

  setVlan(id: number, on: boolean): void {
    if (on) this.vlans.add(id)
    else this.vlans.delete(id)
  }

  /** Whether everything passes, so that `accepts` need not be asked. */
  get isOpen(): boolean {
    return this.modes.promisc
  }

  /** Whether the driver wants the frame of `size` bytes at `at` of `view`. */
  accepts(view: DataView, at: number, size: number): boolean {
    if (size < ETHERNET_HEADER) return false
    const destination = view.getUint16(at) * 0x1_0000_0000 + view.getUint32(at + 2)
    if (this.tagsFiltered && size >= FILTERED_BYTES && view.getUint16(at + TYPE_OFFSET) === VLAN_TPID)
      if (!this.vlans.has(view.getUint16(at + ETHERNET_HEADER) & 0xfff)) return false
    const { modes } = this
    if (destination === BROADCAST) return !modes.nobcast
    if ((view.getUint8(at) & 1) !== 0) return !modes.nomulti && (modes.allmulti || this.multicast.has(destination))
    return !modes.nouni && (modes.alluni || destination === this.mac || this.unicast.has(destination))
  }
}
