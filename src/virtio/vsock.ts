/**
 * Socket device. VIRTIO 1.2 §5.10, stream sockets. Packets are matched to connections here; a connection's state and
 * credit are in vsock-connection.ts, and the host's side of it is a `VsockStream`.
 *
 * The event queue is accepted and never used: its one event is for guests that move to another host.
 */
import type { VirtioDevice, VirtioHost } from './device.ts'
import { VIRTIO_ID_VSOCK } from './ids.ts'
import { Chain, type VirtQueue } from './queue.ts'
import { VsockConnection } from './vsock-connection.ts'
import {
  HEADER_SIZE,
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RW,
  VIRTIO_VSOCK_TYPE_STREAM,
  VMADDR_CID_HOST,
  VsockHeader,
} from './vsock-packet.ts'
import { VsockRefusals } from './vsock-refusals.ts'
import type { VsockBackend, VsockStream } from './vsock-stream.ts'
import { VsockTable } from './vsock-table.ts'

/** §5.10.3. */
const VIRTIO_VSOCK_F_STREAM = 1n << 0n

const RX = 0
const TX = 1
const QUEUE_SIZES = [256, 256, 64]
/** Packets that one event moves in one direction before other devices get their turn. */
const BATCH = 64
/** The first port that stands for a host program which connects to the guest. */
const FIRST_HOST_PORT = 2 ** 30

/** What a socket device is made of. */
export interface VsockOptions {
  readonly name: string
  /** The guest's context id: above 2, and 32 bits. */
  readonly cid: number
  readonly backend: VsockBackend
  /** Runs a task when the present event has been served. */
  readonly defer: (task: () => void) => void
}

/** The device. */
export class VirtioVsock implements VirtioDevice {
  readonly id = VIRTIO_ID_VSOCK
  readonly name: string
  readonly classCode = 0x078000
  readonly features = VIRTIO_VSOCK_F_STREAM
  readonly queueSizes = QUEUE_SIZES
  /** struct virtio_vsock_config, §5.10.4: le64 guest_cid. */
  readonly config = new Uint8Array(8)
  readonly statistics = { connections: 0, refused: 0, sentBytes: 0, receivedBytes: 0 }
  private readonly cid: number
  private readonly backend: VsockBackend
  private readonly defer: VsockOptions['defer']
  private readonly table = new VsockTable()
  private readonly refusals = new VsockRefusals()
  /** Connections that have something to send, each once, in turn. */
  private waiting: VsockConnection[] = []
  private readonly incoming = new VsockHeader()
  private readonly outgoing = new VsockHeader()
  private host: VirtioHost | undefined
  private rxChain: Chain | undefined
  private txChain: Chain | undefined
  private nextHostPort = FIRST_HOST_PORT
  /** Inside the device's own work, at whose end everything is sent. */
  private isBusy = false
  private isDeferred = false

  constructor({ name, cid, backend, defer }: VsockOptions) {
    this.name = name
    this.cid = cid
    this.backend = backend
    this.defer = defer
    new DataView(this.config.buffer).setUint32(0, cid, true)
    backend.onRequest((guestPort, stream) => this.request(guestPort, stream))
  }

  activate(host: VirtioHost): void {
    this.host = host
  }

  notify(index: number): void {
    if (index === RX || index === TX) this.work()
  }

  reset(done: () => void): void {
    this.host = undefined
    this.refusals.clear()
    this.waiting = []
    for (const connection of this.table.clear()) connection.drop()
    done()
  }

  resetQueue(_index: number, done: () => void): void {
    done()
  }

  close(): void {
    this.reset(() => {})
    this.backend.close()
  }

  /** Takes what the guest has sent and sends what there is for it, a batch of each. */
  private work(): void {
    if (this.isBusy) return
    this.isBusy = true
    const tx = this.host?.queue(TX)
    const rx = this.host?.queue(RX)
    const isMoreToTake = tx !== undefined && this.takePackets(tx)
    const isMoreToSend = rx !== undefined && this.sendPackets(rx)
    this.isBusy = false
    // Taking had stopped for want of room, and now there is some.
    const canGoOn = tx?.hasAvailable === true && !this.refusals.isFull
    if ((isMoreToTake || isMoreToSend || canGoOn) && !this.isDeferred) {
      this.isDeferred = true
      this.defer(() => {
        this.isDeferred = false
        this.work()
      })
    }
  }

  /** True when it stopped at the bound. */
  private takePackets(queue: VirtQueue): boolean {
    this.txChain ??= new Chain(queue.space)
    const chain = this.txChain
    queue.suppressNotifications()
    let turns = 0
    // §5.10.6.1: what cannot be answered is not taken.
    for (; turns < BATCH && !this.refusals.isFull; turns++) {
      if (!queue.pop(chain) && !(queue.requestNotifications() && queue.pop(chain))) break
      this.takePacket(chain)
      queue.push(chain, 0)
    }
    queue.flush()
    return turns === BATCH
  }

  private takePacket({ readable }: Chain): void {
    const header = this.incoming
    const size = readable.read(0, header.bytes)
    if (size < HEADER_SIZE) {
      this.host?.log(`a packet has ${size} bytes`)
      return
    }
    // §5.10.6.4: the driver uses its own context id. There is nobody else to answer to.
    if (header.srcCid !== this.cid || header.srcCidHigh !== 0) {
      this.host?.log(`a packet comes from context id ${header.srcCid}`)
      return
    }
    const isForHost = header.dstCid === VMADDR_CID_HOST && header.dstCidHigh === 0
    if (!isForHost || header.type !== VIRTIO_VSOCK_TYPE_STREAM) {
      this.refuse()
      return
    }
    const connection = this.table.find(header.dstPort, header.srcPort)
    if (connection === undefined) {
      if (header.op !== VIRTIO_VSOCK_OP_REQUEST || !this.connect()) this.refuse()
    } else if (!connection.take(header, readable)) this.table.remove(connection)
    else if (header.op === VIRTIO_VSOCK_OP_RW && !connection.isDead) this.statistics.receivedBytes += header.len
  }

  private refuse(): void {
    this.statistics.refused++
    this.refusals.add(this.incoming)
  }

  /** The guest's request for a connection; false when there is nobody to connect to. */
  private connect(): boolean {
    const { incoming } = this
    if (this.table.isFull) {
      this.host?.log('there are too many connections')
      return false
    }
    const stream = this.backend.connect(incoming.dstPort)
    if (stream === undefined) return false
    const connection = new VsockConnection(incoming.dstPort, incoming.srcPort, stream, 'guest', this.wake)
    connection.setCredit(incoming)
    this.add(connection)
    return true
  }

  /** A host program's request; undefined when there is no driver, or no room. */
  private request(guestPort: number, stream: VsockStream): number | undefined {
    if (this.host === undefined || this.table.isFull) return undefined
    let hostPort = this.nextHostPort
    // Fewer connections than ports: ends.
    while (this.table.find(hostPort, guestPort) !== undefined) hostPort = following(hostPort)
    this.nextHostPort = following(hostPort)
    this.add(new VsockConnection(hostPort, guestPort, stream, 'host', this.wake))
    return hostPort
  }

  private add(connection: VsockConnection): void {
    this.statistics.connections++
    this.table.add(connection)
    this.wake(connection)
  }

  private readonly wake = (connection: VsockConnection): void => {
    if (!connection.isQueued && connection.isWaiting) {
      connection.isQueued = true
      this.waiting.push(connection)
    }
    this.work()
  }

  /** True when it stopped at the bound. */
  private sendPackets(queue: VirtQueue): boolean {
    this.rxChain ??= new Chain(queue.space)
    const chain = this.rxChain
    let turns = 0
    for (; turns < BATCH && (!this.refusals.isEmpty || this.waiting.length > 0); turns++) {
      if (!queue.pop(chain) && !(queue.requestNotifications() && queue.pop(chain))) break
      const room = chain.writable.size
      if (room <= HEADER_SIZE) {
        this.host?.log(`a receive buffer has ${room} bytes`)
        queue.push(chain, 0)
        continue
      }
      const size = this.fill(chain)
      if (size === 0) queue.rewind(1)
      else queue.push(chain, size)
    }
    queue.flush()
    return turns === BATCH
  }

  /** Puts the next packet into a buffer; 0 when the connection whose turn it is has none after all. */
  private fill({ writable }: Chain): number {
    const header = this.outgoing
    if (!this.refusals.isEmpty) this.refusals.take(header)
    else {
      const connection = this.waiting.shift() as VsockConnection
      connection.isQueued = false
      header.srcCid = VMADDR_CID_HOST
      header.srcCidHigh = 0
      header.type = VIRTIO_VSOCK_TYPE_STREAM
      const size = connection.fill(header, writable)
      if (connection.isDead) this.table.remove(connection)
      else if (connection.isWaiting) {
        connection.isQueued = true
        this.waiting.push(connection)
      }
      if (size === undefined) return 0
      this.statistics.sentBytes += size
    }
    header.dstCid = this.cid
    writable.write(0, header.bytes)
    return HEADER_SIZE + header.len
  }
}

/** The next port for a host program; stays in the upper part of the numbers, without VMADDR_PORT_ANY. */
function following(port: number): number {
  return port >= 0xffff_fffe ? FIRST_HOST_PORT : port + 1
}
