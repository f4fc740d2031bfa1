/** A transmit queue: packets go from the driver's buffers straight to the port. VIRTIO 1.2 §5.1.6.2. */
import type { NetCounters } from './net-counters.ts'
import { HEADER_SIZE, transmitFault } from './net-header.ts'
import { type NetPort, WOULD_BLOCK } from './net-port.ts'
import { Chain, type VirtQueue } from './queue.ts'

/** Packets in one go; then the other devices have their turn. */
const BUDGET = 64

/** The device's end of one transmit queue. */
export class NetTransmitter {
  private chain: Chain | undefined
  private queue: VirtQueue | undefined
  private features = 0n

  constructor(
    private readonly port: NetPort,
    private readonly counters: NetCounters,
    private readonly log: (message: string) => void,
  ) {}

  /** Serves `queue`, of a device with `features`, until `stop`. */
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

  /** Sends what is there, up to a bound; true when there may be more. */
  run(): boolean {
    const { queue, chain } = this
    if (queue === undefined || chain === undefined) return false
    queue.suppressNotifications()
    for (let i = 0; i < BUDGET; i++) {
      if (!queue.pop(chain)) {
        queue.flush()
        // A packet may have come just before notifications were on.
        return queue.requestNotifications()
      }
      if (this.transmit(chain) === WOULD_BLOCK) {
        // Given back rather than kept, as its translation may not last; `writable` of the port brings us back.
        queue.rewind(1)
        queue.flush()
        this.counters.txBlocked++
        return false
      }
      queue.push(chain, 0)
    }
    queue.flush()
    return true
  }

  /** Sends the packet or drops it; WOULD_BLOCK when it has to wait. */
  private transmit({ readable }: Chain): number {
    const { port, counters } = this
    const size = readable.size - HEADER_SIZE
    // Read once: what is checked is what is sent, whatever the driver does to its memory meanwhile.
    if (size >= 0) this.readHeader(readable)
    const fault = size < 0 ? 'a packet without a header' : transmitFault(port.header, size, this.features)
    if (fault !== undefined) {
      this.log(`the driver sent ${fault}`)
      counters.txDropped++
      return 0
    }
    const result = port.send(readable)
    if (result === 0) {
      counters.txPackets++
      counters.txBytes += size
    } else if (result !== WOULD_BLOCK) counters.txDropped++
    return result
  }

  private readHeader(readable: Chain['readable']): void {
    const { header } = this.port
    header.setUint32(0, readable.getUint32(0), true)
    header.setUint32(4, readable.getUint32(4), true)
    header.setUint32(8, readable.getUint32(8), true)
  }
}
