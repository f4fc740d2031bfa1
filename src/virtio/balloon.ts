/**
 * Traditional memory balloon. VIRTIO 1.2 §5.5, with statistics (§5.5.6.4), page poison (§5.5.6.6) and free page
 * reporting (§5.5.6.7), without free page hinting.
 *
 * A discarded page reads as zeros and comes back by being touched, so deflation needs no work here.
 * Page numbers are guest-physical by definition: drivers decline VIRTIO_F_ACCESS_PLATFORM for this device.
 */
import type { Extents } from '../memory/extents.ts'
import { type BalloonStatistics, readStatistics } from './balloon-statistics.ts'
import type { VirtioDevice, VirtioHost } from './device.ts'
import { VIRTIO_ID_BALLOON } from './ids.ts'
import { Chain, type VirtQueue } from './queue.ts'

const VIRTIO_BALLOON_F_MUST_TELL_HOST = 1n << 0n
const VIRTIO_BALLOON_F_STATS_VQ = 1n << 1n
const VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 1n << 2n
const VIRTIO_BALLOON_F_PAGE_POISON = 1n << 4n
const VIRTIO_BALLOON_F_REPORTING = 1n << 5n

// struct virtio_balloon_config, §5.5.4: num_pages, actual, free_page_hint_cmd_id, poison_val.
const CONFIG_SIZE = 16
const NUM_PAGES = 0
const ACTUAL = 4
const POISON_VAL = 12

const VIRTIO_BALLOON_PFN_SHIFT = 12
const PAGE_SIZE = 1 << VIRTIO_BALLOON_PFN_SHIFT
const PAGES_PER_MIB = 2 ** 20 / PAGE_SIZE

const INFLATE = 0
const DEFLATE = 1
const STATISTICS = 2
/**
 * §5.5.2 gives reporting queue 4. Linux and QEMU count only the queues that there are, which makes it 3, or 2 without
 * statistics; so every queue from 2 on that is not for statistics takes reports.
 */
const QUEUE_SIZES = [128, 128, 16, 32, 32]

/** Page numbers looked at together: a bound of the work for one chain's piece, and of what one merge can see. */
const PFNS_AT_ONCE = 1024
/** Page numbers in one chain beyond this are ignored (Linux sends 256, others 1024); bounds the work for one chain. */
const MAX_PFNS = 2 ** 13
/** Chains that one event moves in one queue before other devices get their turn; fewer after so many discards. */
const BATCH = 32
const MAX_DISCARDS = 2 ** 13

/** Requests for statistics that wait for the same answer; the oldest one goes. */
const MAX_WAITING = 16

/** Where the guest's memory goes. */
export interface BalloonMemory {
  /** Gives page-aligned guest-physical memory back to the host, as far as it is RAM; it reads as zeros afterwards. */
  discard(start: number, size: number): void
}

/** What a balloon is made of. */
export interface BalloonOptions {
  readonly name: string
  readonly memory: BalloonMemory
  /** Let the guest take pages back when it would otherwise kill processes. */
  readonly deflateOnOom: boolean
  /** Runs a task when the present event has been served. */
  readonly defer: (task: () => void) => void
  /** The driver changed the balloon's size. */
  readonly onActual?: (mib: number) => void
}

/** The device. The methods after `close` are for whoever sets the balloon's size. */
export class VirtioBalloon implements VirtioDevice {
  readonly id = VIRTIO_ID_BALLOON
  readonly name: string
  readonly classCode = 0x00ff00
  readonly features: bigint
  readonly queueSizes = QUEUE_SIZES
  readonly config = new Uint8Array(CONFIG_SIZE)
  readonly statistics = { inflatedPages: 0, deflatedPages: 0, reportedBytes: 0, discards: 0 }
  private readonly configView = new DataView(this.config.buffer)
  private readonly pfns = new Uint32Array(PFNS_AT_ONCE)
  private readonly pfnBytes = new Uint8Array(this.pfns.buffer)
  private host: VirtioHost | undefined
  private chain: Chain | undefined
  /** The statistics buffer, kept until somebody asks for new ones: only its id is used after the event it came in. */
  private held: Chain | undefined
  private isHolding = false
  /** Queues that are looked at again later. */
  private readonly deferred = new Set<number>()
  private waiting: ((statistics: BalloonStatistics) => void)[] = []

  constructor(private readonly options: BalloonOptions) {
    this.name = options.name
    this.features =
      VIRTIO_BALLOON_F_MUST_TELL_HOST |
      VIRTIO_BALLOON_F_STATS_VQ |
      (options.deflateOnOom ? VIRTIO_BALLOON_F_DEFLATE_ON_OOM : 0n) |
      VIRTIO_BALLOON_F_PAGE_POISON |
      VIRTIO_BALLOON_F_REPORTING
  }

  /** `actual` and `poison_val` are the driver's. */
  writeConfig(offset: number, size: number, value: number): void {
    if (size !== 4 || (offset !== ACTUAL && offset !== POISON_VAL)) return
    this.configView.setUint32(offset, value, true)
    if (offset === ACTUAL) this.options.onActual?.(this.actualMiB)
  }

  activate(host: VirtioHost): void {
    this.host = host
  }

  notify(index: number): void {
    if (index === INFLATE || index === DEFLATE) this.changePages(index)
    else if (index === STATISTICS && this.has(VIRTIO_BALLOON_F_STATS_VQ)) this.takeStatistics()
    else this.takeReports(index)
  }

  reset(done: () => void): void {
    this.host = undefined
    this.isHolding = false
    // A driver that starts anew has an empty balloon.
    this.configView.setUint32(ACTUAL, 0, true)
    this.configView.setUint32(POISON_VAL, 0, true)
    done()
  }

  resetQueue(index: number, done: () => void): void {
    if (index === STATISTICS) this.isHolding = false
    done()
  }

  close(): void {
    this.waiting = []
  }

  /** MiB that the driver says the balloon holds. */
  get actualMiB(): number {
    return this.configView.getUint32(ACTUAL, true) / PAGES_PER_MIB
  }

  /** MiB that the guest is asked to give up. */
  get targetMiB(): number {
    return this.configView.getUint32(NUM_PAGES, true) / PAGES_PER_MIB
  }

  /** Asks the guest to give up `mib` MiB of its memory; 0 gives all back. */
  setTarget(mib: number): void {
    this.configView.setUint32(NUM_PAGES, Math.min(Math.round(mib * PAGES_PER_MIB), 0xffff_ffff), true)
    this.host?.configChanged()
  }

  /** Asks the driver for new statistics; false when there is no driver that has any. */
  requestStatistics(onStatistics: (statistics: BalloonStatistics) => void): boolean {
    const queue = this.has(VIRTIO_BALLOON_F_STATS_VQ) ? this.host?.queue(STATISTICS) : undefined
    if (queue === undefined) return false
    // A guest that never answers must not collect those who have given up.
    if (this.waiting.length === MAX_WAITING) this.waiting.shift()
    this.waiting.push(onStatistics)
    if (!this.isHolding || this.held === undefined) return true
    // §5.5.6.4: the used buffer is the request; it comes back with new values.
    this.isHolding = false
    queue.push(this.held, 0)
    queue.flush()
    return true
  }

  private has(feature: bigint): boolean {
    return this.host !== undefined && (this.host.features & feature) !== 0n
  }

  private changePages(index: number): void {
    this.eachChain(index, chain => {
      const { readable } = chain
      const count = Math.min(Math.floor(readable.size / 4), MAX_PFNS)
      if (readable.size > MAX_PFNS * 4 || readable.size % 4 !== 0)
        this.host?.log(`${readable.size} bytes are no list of page numbers`)
      if (index === DEFLATE) this.statistics.deflatedPages += count
      else
        for (let at = 0; at < count; at += PFNS_AT_ONCE) this.inflate(readable, at, Math.min(count - at, PFNS_AT_ONCE))
    })
  }

  /** Discards the pages of `count` numbers from the `first` on; runs of pages go together. */
  private inflate(list: Extents, first: number, count: number): void {
    const pfns = this.pfns.subarray(0, list.read(first * 4, this.pfnBytes, 0, count * 4) >> 2)
    // Linux takes pages from its free lists downwards as well as upwards.
    pfns.sort()
    let start = 0
    let end = 0
    for (const pfn of pfns) {
      const page = pfn * PAGE_SIZE
      if (page < end) continue
      if (list.memory.windowRoom(page) < PAGE_SIZE) {
        this.host?.log(`page 0x${pfn.toString(16)} is not RAM`)
        continue
      }
      if (page !== end) {
        this.discard(start, end - start)
        start = page
      }
      end = page + PAGE_SIZE
    }
    this.discard(start, end - start)
    this.statistics.inflatedPages += count
  }

  /** §5.5.6.7: the driver lends free pages as writable buffers. */
  private takeReports(index: number): void {
    // §5.5.6.7.2: pages that must come back with a value other than zero stay.
    const mayDiscard = this.has(VIRTIO_BALLOON_F_REPORTING) && this.poison === 0
    this.eachChain(index, ({ writable }) => {
      if (!mayDiscard) return
      this.statistics.reportedBytes += writable.size
      for (let i = 0; i < writable.count; i++) {
        const start = Math.ceil(writable.start(i) / PAGE_SIZE) * PAGE_SIZE
        const end = Math.floor((writable.start(i) + writable.length(i)) / PAGE_SIZE) * PAGE_SIZE
        this.discard(start, end - start)
      }
    })
  }

  private get poison(): number {
    return this.has(VIRTIO_BALLOON_F_PAGE_POISON) ? this.configView.getUint32(POISON_VAL, true) : 0
  }

  private discard(start: number, size: number): void {
    if (size <= 0) return
    this.statistics.discards++
    this.options.memory.discard(start, size)
  }

  private takeStatistics(): void {
    const queue = this.host?.queue(STATISTICS)
    if (queue === undefined || this.isHolding) return
    this.held ??= new Chain(queue.space)
    if (!queue.pop(this.held) && !(queue.requestNotifications() && queue.pop(this.held))) return
    this.isHolding = true
    // With event indexes a driver tells of its next buffer, the new values, only when it was asked to after this one.
    queue.requestNotifications()
    const { waiting } = this
    if (waiting.length === 0) return
    this.waiting = []
    const statistics = readStatistics(this.held.readable)
    for (const tell of waiting) tell(statistics)
  }

  /** Uses and pushes the chains of a queue, a batch at a time. */
  private eachChain(index: number, use: (chain: Chain) => void): void {
    const queue = this.host?.queue(index)
    if (queue === undefined) return
    this.chain ??= new Chain(queue.space)
    queue.suppressNotifications()
    const limit = this.statistics.discards + MAX_DISCARDS
    let more = true
    for (let turns = 0; turns < BATCH && this.statistics.discards < limit; turns++) {
      more = this.take(queue, this.chain)
      if (!more) break
      use(this.chain)
      queue.push(this.chain, 0)
    }
    queue.flush()
    if (more) this.notifyLater(index)
  }

  /** Once, however often a driver notifies meanwhile. */
  private notifyLater(index: number): void {
    if (this.deferred.has(index)) return
    this.deferred.add(index)
    this.options.defer(() => {
      this.deferred.delete(index)
      this.notify(index)
    })
  }

  private take(queue: VirtQueue, chain: Chain): boolean {
    return queue.pop(chain) || (queue.requestNotifications() && queue.pop(chain))
  }
}
