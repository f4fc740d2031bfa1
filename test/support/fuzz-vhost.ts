/** A program that serves rings, without looking into them: it starts and stops at leisure, interrupts, and dies at times. */
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_INDIRECT_DESC } from '../../src/virtio/features.ts'
import type { VhostBackend, VhostEvents, VhostRing } from '../../src/virtio/vhost-backend.ts'
import type { Random } from './random.ts'

export class FuzzVhost implements VhostBackend {
  readonly features = VIRTIO_F_RING_EVENT_IDX | VIRTIO_F_RING_INDIRECT_DESC
  kicks = 0
  private events: VhostEvents | undefined
  private readonly rings = new Set<number>()
  private stopping: (() => void)[] = []

  constructor(
    private readonly random: Random,
    private readonly defer: (task: () => void) => void,
  ) {}

  start(_features: bigint, events: VhostEvents): void {
    if (this.events !== undefined) throw new Error('the back end is started twice')
    this.events = events
  }

  startRing({ index }: VhostRing): void {
    if (this.events === undefined) throw new Error('a ring is started before the back end')
    if (this.rings.has(index)) throw new Error('a ring is started twice')
    this.rings.add(index)
  }

  stopRing(index: number, done: () => void): void {
    const finish = () => {
      this.rings.delete(index)
      done()
    }
    if (this.random.below(2) === 0) {
      finish()
      return
    }
    this.stopping.push(finish)
    this.defer(() => this.settle())
  }

  stop(): void {
    if (this.rings.size > 0) throw new Error('the back end is stopped before its rings')
    this.events = undefined
  }

  kick(_index: number): void {
    this.kicks++
  }

  close(): void {
    this.events = undefined
  }

  serves(index: number): boolean {
    return this.rings.has(index)
  }

  /** Rings that are being stopped are. */
  settle(): void {
    const { stopping } = this
    this.stopping = []
    for (const finish of stopping) finish()
  }

  stir(): void {
    const index = this.random.below(2)
    if (this.random.below(20) > 0) {
      if (this.rings.has(index)) this.events?.interrupt(index)
      return
    }
    this.settle()
    this.rings.clear()
    this.events?.lost('it was told to')
  }
}
