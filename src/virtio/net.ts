/**
 * Network device. VIRTIO 1.2 §5.1.
 *
 * Queues: receive and transmit of each pair in turn, then the control queue. Left out: receive-side scaling and hash
 * reports, UDP segmentation, announcements (nothing here moves a guest to another host), notification coalescing.
 */
import type { VirtioDevice, VirtioHost } from './device.ts'
import { VIRTIO_ID_NET } from './ids.ts'
import { macNumber, NetControl } from './net-control.ts'
import { netCounters } from './net-counters.ts'
import {
  featuresComplete,
  GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_STATUS,
} from './net-features.ts'
import { NetFilter } from './net-filter.ts'
import type { NetBackend } from './net-port.ts'
import { NetReceiver } from './net-receive.ts'
import { NetTransmitter } from './net-transmit.ts'

const NETWORK_CLASS = 0x020000
const QUEUE_SIZE = 256
const CONTROL_QUEUE_SIZE = 64

/** struct virtio_net_config, §5.1.4: the fields up to mtu. */
const Config = { mac: 0, status: 6, maxVirtqueuePairs: 8, mtu: 10, size: 12 } as const
const VIRTIO_NET_S_LINK_UP = 1

/** What a network device is made of. */
export interface NetOptions {
  readonly name: string
  /** Six bytes. */
  readonly mac: Uint8Array
  /** Told to the driver when given (VIRTIO_NET_F_MTU). */
  readonly mtu?: number
  readonly backend: NetBackend
}

/** Serves one queue, up to a bound per `run`. */
interface Runner {
  /** The queue's index. */
  readonly index: number | undefined
  readonly isStarted: boolean
  run(): boolean
  stop(): void
}

/** A network interface on a backend with one port or more. */
export class VirtioNet implements VirtioDevice {
  readonly id = VIRTIO_ID_NET
  readonly name: string
  readonly classCode = NETWORK_CLASS
  readonly features: bigint
  readonly queueSizes: readonly number[]
  readonly config = new Uint8Array(Config.size)
  private readonly counters = netCounters()
  private readonly configView = new DataView(this.config.buffer)
  private readonly backend: NetBackend
  private readonly filter = new NetFilter()
  private readonly receivers: readonly NetReceiver[]
  private readonly transmitters: readonly NetTransmitter[]
  private readonly control: NetControl
  /** Waiting for their turn. */
  private readonly scheduled = new Set<Runner>()
  private readonly mac: Uint8Array
  private host: VirtioHost | undefined
  private activePairs = 1

  constructor({ name, mac, mtu, backend }: NetOptions) {
    this.name = name
    this.backend = backend
    this.mac = mac.slice()
    const pairs = backend.ports.length
    const guestOffloads = backend.offloads & GUEST_OFFLOADS
    this.features =
      VIRTIO_NET_F_MAC |
      VIRTIO_NET_F_STATUS |
      VIRTIO_NET_F_MRG_RXBUF |
      VIRTIO_NET_F_CTRL_VQ |
      VIRTIO_NET_F_CTRL_RX |
      VIRTIO_NET_F_CTRL_RX_EXTRA |
      VIRTIO_NET_F_CTRL_VLAN |
      VIRTIO_NET_F_CTRL_MAC_ADDR |
      backend.offloads |
      (guestOffloads === 0n ? 0n : VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |
      (mtu === undefined ? 0n : VIRTIO_NET_F_MTU) |
      (pairs === 1 ? 0n : VIRTIO_NET_F_MQ)
    this.queueSizes = [...backend.ports.flatMap(() => [QUEUE_SIZE, QUEUE_SIZE]), CONTROL_QUEUE_SIZE]
    this.configView.setUint16(Config.maxVirtqueuePairs, pairs, true)
    this.configView.setUint16(Config.mtu, mtu ?? 0, true)
    this.restoreConfig()
    const log = (message: string) => this.host?.log(message)
    this.receivers = backend.ports.map(port => new NetReceiver(port, this.filter, this.counters, log))
    this.transmitters = backend.ports.map(port => new NetTransmitter(port, this.counters, log))
    this.control = new NetControl(this.filter, this, log)
    backend.start({
      readable: pair => this.run(this.receivers[pair] as NetReceiver),
      writable: pair => this.run(this.transmitters[pair] as NetTransmitter),
      linkChanged: () => this.linkChanged(),
    })
  }

  get statistics(): Readonly<Record<string, number>> {
    return { ...this.counters }
  }

  acceptFeatures(features: bigint): boolean {
    return featuresComplete(features)
  }

  activate(host: VirtioHost): void {
    this.host = host
    this.filter.reset(macNumber(this.mac, 0), (host.features & VIRTIO_NET_F_CTRL_VLAN) !== 0n)
    this.setGuestOffloads(host.features & GUEST_OFFLOADS)
    this.setPairs(1)
    for (const index of this.queueSizes.keys()) this.notify(index)
  }

  notify(index: number): void {
    const runner = this.runner(index)
    if (runner === undefined) return
    if (!runner.isStarted) this.start(index)
    this.run(runner)
  }

  reset(done: () => void): void {
    for (const runner of [...this.receivers, ...this.transmitters, this.control]) runner.stop()
    this.host = undefined
    this.restoreConfig()
    done()
  }

  resetQueue(index: number, done: () => void): void {
    this.runner(index)?.stop()
    done()
  }

  close(): void {
    this.reset(() => {})
    this.backend.close()
  }

  /** §5.1.6.5.2: the configuration space shows the address that the driver set. */
  setMac(mac: number): void {
    for (let i = 0, rest = mac; i < 6; i++, rest = Math.floor(rest / 256)) this.config[Config.mac + 5 - i] = rest % 256
    this.filter.setMac(mac)
  }

  /** §5.1.6.5.5: from 1 to max_virtqueue_pairs. */
  setPairs(count: number): boolean {
    if (count < 1 || count > this.receivers.length || !this.backend.setActivePairs(count)) return false
    this.activePairs = count
    for (const receiver of this.receivers.slice(count)) receiver.release()
    for (let pair = 0; pair < count; pair++) this.notify(pair * 2)
    return true
  }

  setGuestOffloads(features: bigint): boolean {
    return (this.backend.offloads & GUEST_OFFLOADS) === 0n || this.backend.setGuestOffloads(features)
  }

  /** Which queue `index` is depends on what was negotiated: without VIRTIO_NET_F_MQ there is one pair (§5.1.2). */
  private runner(index: number): Runner | undefined {
    const { host } = this
    if (host === undefined) return undefined
    const pairs = (host.features & VIRTIO_NET_F_MQ) === 0n ? 1 : this.receivers.length
    if (index === pairs * 2) return (host.features & VIRTIO_NET_F_CTRL_VQ) === 0n ? undefined : this.control
    if (index > pairs * 2) return undefined
    const pair = index >>> 1
    if ((index & 1) === 1) return this.transmitters[pair]
    // §5.1.6.5.5.1: nothing comes in by the queues of a pair that is not in use.
    return pair < this.activePairs ? this.receivers[pair] : undefined
  }

  private start(index: number): void {
    const queue = this.host?.queue(index)
    const features = this.host?.features ?? 0n
    if (queue === undefined) return
    const runner = this.runner(index)
    if (runner instanceof NetReceiver)
      runner.start(queue, {
        mergeable: (features & VIRTIO_NET_F_MRG_RXBUF) !== 0n,
        keepsHeader: this.backend.passesHeader && (features & VIRTIO_NET_F_GUEST_CSUM) !== 0n,
      })
    else if (runner === this.control) this.control.start(queue, features)
    else if (runner instanceof NetTransmitter) runner.start(queue, features)
  }

  /** Runs now, and again after the others for as long as there may be more. */
  private run(runner: Runner): void {
    // A packet may come while the queue must not be touched; what is there then is looked at when it may be again.
    if (runner.index === undefined || this.host?.queue(runner.index) === undefined) return
    if (this.scheduled.has(runner) || !runner.run()) return
    this.scheduled.add(runner)
    this.backend.defer(() => {
      this.scheduled.delete(runner)
      this.run(runner)
    })
  }

  private linkChanged(): void {
    this.showLink()
    this.host?.configChanged()
  }

  private restoreConfig(): void {
    this.config.set(this.mac, Config.mac)
    this.showLink()
  }

  private showLink(): void {
    this.configView.setUint16(Config.status, this.backend.linkUp ? VIRTIO_NET_S_LINK_UP : 0, true)
  }
}
