/**
 * Block device. VIRTIO 1.2 §5.2. Reads, writes, flush, discard, write-zeroes, GET_ID; several queues; a cache that the
 * driver can switch to write-through. Left out: geometry, secure erase, lifetime, zones.
 *
 * Requests are parsed in blk-request.ts; a disk behind blk-backend.ts does them, many at a time and in any order.
 */
import { type BlockBackend, type BlockClient, BlockOp, type BlockRequest } from './blk-backend.ts'
import {
  CONFIG_WRITEBACK,
  encodeConfig,
  SECTOR_SIZE,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
} from './blk-protocol.ts'
import { type BlkLimits, BlkRequest, Parsed } from './blk-request.ts'
import type { VirtioDevice, VirtioHost } from './device.ts'
import { VIRTIO_ID_BLOCK } from './ids.ts'
import type { VirtQueue } from './queue.ts'

const QUEUE_SIZE = 256
/** Rounds of one event that find new requests, before other devices get their turn. */
const MAX_ROUNDS = 16
/** Mass storage, other. */
const CLASS_CODE = 0x01_80_00

/** What a block device is made of. */
export interface BlkOptions {
  readonly name: string
  readonly backend: BlockBackend
  /** At most 20 bytes of it are shown. */
  readonly serial: string
  /** 1 to 16. */
  readonly queues: number
}

/** The device. */
export class VirtioBlk implements VirtioDevice, BlockClient {
  readonly id = VIRTIO_ID_BLOCK
  readonly name: string
  readonly classCode = CLASS_CODE
  readonly features: bigint
  readonly queueSizes: readonly number[]
  readonly config: Uint8Array
  readonly statistics = { reads: 0, writes: 0, flushes: 0, discards: 0, bytesRead: 0, bytesWritten: 0, errors: 0 }
  private readonly backend: BlockBackend
  private readonly serial = new Uint8Array(VIRTIO_BLK_ID_BYTES)
  private readonly limits: BlkLimits
  private host: VirtioHost | undefined
  private negotiated = 0n
  /** Made when first needed; those that are free are in `free`. */
  private readonly requests: BlkRequest[] = []
  private readonly free: BlkRequest[] = []
  /** Requests under way, by queue. */
  private readonly underWay: number[]
  /** Queues that may have requests, and those with answers that are not visible yet; masks. */
  private pending = 0
  private dirty = 0
  /** The queue that was served first last time. */
  private turn = 0
  private isRunning = false
  private isDeferred = false
  private resets: { readonly index: number; readonly done: () => void }[] = []

  constructor({ name, backend, serial, queues }: BlkOptions) {
    this.name = name
    this.backend = backend
    const { size, readOnly, alignment } = backend
    this.limits = { capacitySectors: size / SECTOR_SIZE, readOnly, alignment }
    this.queueSizes = new Array<number>(queues).fill(QUEUE_SIZE)
    this.underWay = new Array<number>(queues).fill(0)
    new TextEncoder().encodeInto(serial, this.serial)
    const writable = VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES
    this.features =
      VIRTIO_BLK_F_SEG_MAX |
      VIRTIO_BLK_F_BLK_SIZE |
      VIRTIO_BLK_F_TOPOLOGY |
      VIRTIO_BLK_F_FLUSH |
      VIRTIO_BLK_F_CONFIG_WCE |
      VIRTIO_BLK_F_MQ |
      (readOnly ? VIRTIO_BLK_F_RO : writable)
    const { geometry } = backend
    this.config = encodeConfig({
      capacitySectors: this.limits.capacitySectors,
      // A request also has a header and a status.
      segMax: QUEUE_SIZE - 2,
      queues,
      ...geometry,
      discardAlignment: geometry.discard,
    })
    backend.attach(this)
  }

  writeConfig(offset: number, size: number, value: number): void {
    const shift = CONFIG_WRITEBACK - offset
    if (shift < 0 || shift >= size || (this.negotiated & VIRTIO_BLK_F_CONFIG_WCE) === 0n) return
    this.config[CONFIG_WRITEBACK] = ((value >>> (8 * shift)) & 0xff) === 0 ? 0 : 1
  }

  acceptFeatures(features: bigint): boolean {
    this.negotiated = features
    // §5.2.5.2: a driver that cannot flush starts with write-through.
    this.config[CONFIG_WRITEBACK] = (features & VIRTIO_BLK_F_FLUSH) === 0n ? 0 : 1
    return true
  }

  forgetFeatures(): void {
    this.negotiated = 0n
    this.config[CONFIG_WRITEBACK] = 1
  }

  activate(host: VirtioHost): void {
    this.host = host
    this.negotiated = host.features
  }

  notify(index: number): void {
    this.pending |= 1 << index
    this.run()
  }

  reset(done: () => void): void {
    this.host = undefined
    this.forgetFeatures()
    this.pending = 0
    this.dirty = 0
    for (const request of this.requests) request.dropped = request.isBusy
    this.whenIdle(-1, done)
  }

  resetQueue(index: number, done: () => void): void {
    this.pending &= ~(1 << index)
    this.dirty &= ~(1 << index)
    for (const request of this.requests) if (request.isBusy && request.queue.index === index) request.dropped = true
    this.whenIdle(index, done)
  }

  close(): void {
    // Nobody waits for answers any more. Writes that were acknowledged are in the host's page cache or on the disk, and
    // survive this process; only the loss of power takes what the guest has not flushed.
    this.reset(() => {})
    this.backend.close()
  }

  completed(request: BlockRequest, errno: number): void {
    const own = this.requests[request.index] as BlkRequest
    if (own.dropped) {
      this.release(own)
      this.finishResets()
    } else if (errno !== 0) this.fail(own, VIRTIO_BLK_S_IOERR)
    else if (own.stable) {
      own.stable = false
      own.op = BlockOp.flush
      this.backend.submit(own)
    } else this.answer(own, VIRTIO_BLK_S_OK, own.op === BlockOp.read ? own.size + 1 : 1)
  }

  settled(): void {
    this.flush()
    this.run()
  }

  /** Serves the queues until there is nothing to do, or no room for more requests. */
  private run(): void {
    if (this.isRunning) return
    this.isRunning = true
    for (let round = 0; this.pending !== 0 && this.hasRoom(); round++) {
      if (round === MAX_ROUNDS) {
        this.runLater()
        break
      }
      const drained = this.serve()
      this.backend.kick()
      this.flush()
      // Only now: what came meanwhile is found without a notification.
      this.listen(drained)
    }
    this.isRunning = false
  }

  /** Once, however often a driver notifies meanwhile. */
  private runLater(): void {
    if (this.isDeferred) return
    this.isDeferred = true
    this.backend.defer(() => {
      this.isDeferred = false
      this.run()
    })
  }

  /** Takes requests from the queues in turn; returns which are empty now. */
  private serve(): number {
    const { host } = this
    const count = this.queueSizes.length
    let drained = 0
    this.turn = (this.turn + 1) % count
    for (let i = 0; i < count; i++) {
      const index = (this.turn + i) % count
      const bit = 1 << index
      if ((this.pending & bit) === 0) continue
      const queue = host?.queue(index)
      if (queue === undefined) {
        this.pending &= ~bit
        continue
      }
      queue.suppressNotifications()
      if (!this.drain(queue)) continue
      this.pending &= ~bit
      drained |= bit
    }
    return drained
  }

  /** Starts the requests of a queue; false when there may be more. */
  private drain(queue: VirtQueue): boolean {
    // Bounded, as what is answered at once makes room for more.
    for (let i = 0; i < queue.size; i++) {
      const request = this.free.pop() ?? this.addRequest(queue)
      if (request === undefined) return false
      if (!queue.pop(request.chain)) {
        this.free.push(request)
        return true
      }
      request.queue = queue
      request.isBusy = true
      this.underWay[queue.index]!++
      this.start(request)
    }
    return false
  }

  /** Asks for notifications of the queues in the mask; those that have requests already stay pending. */
  private listen(mask: number): void {
    for (let index = 0; mask >>> index !== 0; index++)
      if (((mask >>> index) & 1) !== 0 && this.host?.queue(index)?.requestNotifications() === true)
        this.pending |= 1 << index
  }

  private start(request: BlkRequest): void {
    switch (request.parse(this.limits)) {
      case Parsed.submit:
        this.count(request)
        // What a discard leaves is undefined, so there is nothing to make stable.
        request.stable = (request.op === BlockOp.write || request.op === BlockOp.writeZeroes) && this.isWriteThrough()
        request.chain.isPinned = true
        this.backend.submit(request)
        break
      case Parsed.nothing:
        this.answer(request, VIRTIO_BLK_S_OK, 1)
        break
      case Parsed.identify:
        this.identify(request)
        break
      case Parsed.refuse:
        this.host?.log(`${request.problem}: status ${request.status}`)
        this.fail(request, request.status)
        break
      default:
        // Not even an error can be told.
        this.host?.needsReset(`queue ${request.queue.index}: a request has no room for a status`)
        request.queue.push(request.chain, 0)
        this.finish(request)
    }
  }

  private count({ op, size }: BlkRequest): void {
    const { statistics } = this
    if (op === BlockOp.read) {
      statistics.reads++
      statistics.bytesRead += size
    } else if (op === BlockOp.write) {
      statistics.writes++
      statistics.bytesWritten += size
    } else if (op === BlockOp.flush) statistics.flushes++
    else statistics.discards++
  }

  private identify(request: BlkRequest): void {
    const { writable } = request.chain
    writable.write(0, this.serial)
    const isFull = writable.size - 1 === VIRTIO_BLK_ID_BYTES
    this.answer(request, VIRTIO_BLK_S_OK, isFull ? writable.size : VIRTIO_BLK_ID_BYTES)
  }

  /**
   * §5.2.6.2: whether a completed write has to be on the disk. So it is for a driver that did not even take
   * VIRTIO_BLK_F_FLUSH, and for one that has set the cache to write-through.
   */
  private isWriteThrough(): boolean {
    return this.config[CONFIG_WRITEBACK] === 0
  }

  private fail(request: BlkRequest, status: number): void {
    this.statistics.errors++
    // The status lies behind data that was not written: what is certain ends before it.
    this.answer(request, status, request.chain.writable.size === 1 ? 1 : 0)
  }

  private answer(request: BlkRequest, status: number, written: number): void {
    const { chain, queue } = request
    chain.writable.setUint8(chain.writable.size - 1, status)
    queue.push(chain, written)
    this.finish(request)
  }

  private finish(request: BlkRequest): void {
    this.dirty |= 1 << request.queue.index
    this.release(request)
  }

  private release(request: BlkRequest): void {
    request.isBusy = false
    request.dropped = false
    this.underWay[request.queue.index]!--
    this.free.push(request)
    if (!request.chain.isPinned) return
    request.chain.isPinned = false
    // Last: what waited for the host to let go of the buffers goes on inside.
    request.queue.space.released()
  }

  private flush(): void {
    for (let index = 0; this.dirty !== 0 && index < this.queueSizes.length; index++) {
      const bit = 1 << index
      const queue = (this.dirty & bit) === 0 ? undefined : this.host?.queue(index)
      // One that may not be used now is flushed when it may be.
      if (queue === undefined) continue
      this.dirty &= ~bit
      queue.flush()
    }
  }

  private hasRoom(): boolean {
    return this.free.length > 0 || this.requests.length < this.backend.depth
  }

  private addRequest(queue: VirtQueue): BlkRequest | undefined {
    if (this.requests.length === this.backend.depth) return undefined
    const request = new BlkRequest(this.requests.length, queue)
    this.requests.push(request)
    return request
  }

  /** Calls `done` when nothing of a queue (-1: of all) is under way. */
  private whenIdle(index: number, done: () => void): void {
    this.resets.push({ index, done })
    this.finishResets()
  }

  private finishResets(): void {
    const { underWay } = this
    const isIdle = (index: number) => (index < 0 ? underWay.every(count => count === 0) : underWay[index] === 0)
    const finished = this.resets.filter(({ index }) => isIdle(index))
    if (finished.length === 0) return
    this.resets = this.resets.filter(({ index }) => !isIdle(index))
    for (const { done } of finished) done()
  }
}
