/**
 * File system device. VIRTIO 1.2 §5.11. The queues carry FUSE, which a program outside speaks (virtiofsd): the device
 * itself is the configuration space, the life cycle, and the answer for a program that died. One request queue; no
 * notification queue (VIRTIO_FS_F_NOTIFICATION), no DAX window.
 */
import { Access, IdentitySpace } from '../memory/dma-space.ts'
import { Extents } from '../memory/extents.ts'
import type { VirtioDevice, VirtioHost } from './device.ts'
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_INDIRECT_DESC, VIRTIO_F_RING_RESET } from './features.ts'
import { VIRTIO_ID_FS } from './ids.ts'
import { Chain, type VirtQueue } from './queue.ts'
import { SplitQueue } from './split-queue.ts'
import { findUnanswered } from './unanswered.ts'
import type { VhostBackend } from './vhost-backend.ts'

/** struct virtio_fs_config: the tag, padded with zeros, and num_request_queues. §5.11.4. */
export const FS_TAG_SIZE = 36
const CONFIG_SIZE = 40
const NUM_REQUEST_QUEUES = 36

/** PCI class: mass storage, other. */
const CLASS_STORAGE_OTHER = 0x01_80_00

/** §5.11.2: the high priority queue, then the request queues. */
const HIPRIO_QUEUE_SIZE = 128
/** A FUSE request of 1 MiB takes a descriptor per page and a few more. */
const REQUEST_QUEUE_SIZE = 1024

/** struct fuse_in_header: `unique` at 8. struct fuse_out_header: len, error, unique. */
const FUSE_IN_HEADER_SIZE = 40
const FUSE_OUT_HEADER_SIZE = 16
const ENOTCONN = 107

/** A shared directory. */
export class Fs implements VirtioDevice {
  readonly id = VIRTIO_ID_FS
  readonly classCode = CLASS_STORAGE_OTHER
  readonly features = 0n
  readonly transportFeatures: bigint
  readonly queueSizes = [HIPRIO_QUEUE_SIZE, REQUEST_QUEUE_SIZE]
  readonly config = new Uint8Array(CONFIG_SIZE)
  readonly statistics = { lost: 0, unanswered: 0 }
  private host: VirtioHost | undefined
  /** Rings that the back end serves, by index. */
  private readonly running = new Map<number, VirtQueue>()
  /** Rings that are of no use before their next reset. */
  private readonly broken = new Set<number>()

  /** `tag` is at most 36 bytes long. */
  constructor(
    readonly name: string,
    tag: Uint8Array,
    private readonly backend: VhostBackend,
  ) {
    this.config.set(tag)
    this.config[NUM_REQUEST_QUEUES] = 1
    // A reset of one ring needs nothing of the back end that it does not have.
    const rings = backend.features & (VIRTIO_F_RING_INDIRECT_DESC | VIRTIO_F_RING_EVENT_IDX)
    this.transportFeatures = rings | VIRTIO_F_RING_RESET
  }

  activate(host: VirtioHost): void {
    this.host = host
    this.backend.start(host.features, {
      interrupt: index => this.interrupt(index),
      lost: reason => this.lost(reason),
    })
    for (const index of this.queueSizes.keys()) {
      const queue = host.queue(index)
      if (queue !== undefined) this.startRing(queue, 0)
    }
  }

  notify(index: number): void {
    const queue = this.host?.queue(index)
    if (queue === undefined || this.broken.has(index)) return
    // Enabled after DRIVER_OK, or again after a reset of the queue.
    if (!this.running.has(index)) this.startRing(queue, 0)
    this.backend.kick(index)
  }

  reset(done: () => void): void {
    this.host = undefined
    const rings = [...this.running.keys()]
    this.running.clear()
    this.broken.clear()
    let left = rings.length
    const stopped = () => {
      this.backend.stop()
      done()
    }
    if (left === 0) stopped()
    for (const index of rings)
      this.backend.stopRing(index, () => {
        left--
        if (left === 0) stopped()
      })
  }

  resetQueue(index: number, done: () => void): void {
    this.running.delete(index)
    this.broken.delete(index)
    this.backend.stopRing(index, done)
  }

  close(): void {
    this.host = undefined
    this.backend.close()
  }

  private interrupt(index: number): void {
    this.running.get(index)?.interrupt()
  }

  /** Hands a ring to the back end, if it is where the back end can reach it. */
  private startRing(queue: VirtQueue, base: number): void {
    const { index, size, areas } = queue
    const tail = this.has(VIRTIO_F_RING_EVENT_IDX) ? 2 : 0
    // The back end takes the addresses in descriptors for guest-physical ones, so it would see through an IOMMU.
    const problem = !(queue.space instanceof IdentitySpace)
      ? 'the program that serves the directory cannot be confined by an IOMMU'
      : (contiguous(queue, 'descriptor table', areas.desc, 16 * size) ??
        contiguous(queue, 'available ring', areas.driver, 4 + 2 * size + tail) ??
        contiguous(queue, 'used ring', areas.device, 4 + 8 * size + tail))
    if (problem !== undefined) {
      this.break(index, problem)
      return
    }
    this.running.set(index, queue)
    this.backend.startRing({ index, size, ...areas, base })
  }

  /**
   * The program died, and with it the state of the guest's mount. What it had taken is answered with ENOTCONN, as a
   * dead FUSE daemon's requests are, so that nobody in the guest waits for ever; then the rings go to the next program.
   * That refuses everything until the guest mounts again, with FUSE_INIT.
   */
  private lost(reason: string): void {
    const { host } = this
    if (host === undefined) return
    this.statistics.lost++
    const rings = [...this.running]
    this.running.clear()
    for (const [index, queue] of rings) {
      const base = this.answerAll(host, queue)
      if (base !== undefined) this.startRing(queue, base)
      else this.break(index, `the program that serves the directory is gone (${reason}), and the rings do not add up`)
    }
  }

  private has(feature: bigint): boolean {
    return this.host !== undefined && (this.host.features & feature) !== 0n
  }

  private break(index: number, problem: string): void {
    this.broken.add(index)
    this.host?.needsReset(`queue ${index}: ${problem}`)
  }

  /** Answers what was taken; returns where the next back end goes on, undefined if the rings make no sense. */
  private answerAll(host: VirtioHost, queue: VirtQueue): number | undefined {
    const { index, size, space, areas } = queue
    const left = findUnanswered(space, areas, size)
    if (left === undefined) return undefined
    const resume = (start: number) =>
      new SplitQueue({
        index,
        size,
        space,
        areas,
        eventIdx: this.has(VIRTIO_F_RING_EVENT_IDX),
        indirect: this.has(VIRTIO_F_RING_INDIRECT_DESC),
        interrupt: () => queue.interrupt(),
        onBroken: problem => host.log(problem),
        start,
      })
    const rest = resume(left.usedIdx)
    const chain = new Chain(space)
    for (const head of left.heads) {
      if (!rest.take(head, chain)) return undefined
      rest.push(chain, refuse(chain))
    }
    rest.flush()
    this.statistics.unanswered += left.heads.length
    const base = (left.usedIdx + left.heads.length) & 0xffff
    // A back end asks for a notification when it takes a chain. None is left, so the driver would wait for that.
    resume(base).requestNotifications()
    return base
  }
}

/** Answers a FUSE request with ENOTCONN; returns how many bytes. One without room for an answer expects none. */
function refuse(chain: Chain): number {
  const request = new Uint8Array(FUSE_IN_HEADER_SIZE)
  const isWhole = chain.readable.read(0, request) === FUSE_IN_HEADER_SIZE
  if (!isWhole || chain.writable.size < FUSE_OUT_HEADER_SIZE) return 0
  const reply = new Uint8Array(FUSE_OUT_HEADER_SIZE)
  const view = new DataView(reply.buffer)
  view.setUint32(0, FUSE_OUT_HEADER_SIZE, true)
  view.setInt32(4, -ENOTCONN, true)
  reply.set(request.subarray(8, 16), 8)
  return chain.writable.write(0, reply)
}

/** What is wrong with an area of a ring that has to be one piece of RAM. */
function contiguous(queue: VirtQueue, name: string, address: number, size: number): string | undefined {
  const extents = new Extents(queue.space.memory)
  const isThere = queue.space.translate(address, size, Access.read | Access.write, extents)
  return isThere && extents.count === 1
    ? undefined
    : `the ${name} at 0x${address.toString(16)} is not in one piece of RAM`
}
