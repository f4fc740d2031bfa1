/** Entropy device. VIRTIO 1.2 §5.4. One queue, no configuration. */
import type { Extents } from '../memory/extents.ts'
import type { VirtioDevice, VirtioHost } from './device.ts'
import { VIRTIO_ID_RNG } from './ids.ts'
import { Chain } from './queue.ts'

const REQUESTS = 0
/** §5.4.6.2 allows fewer bytes than the buffer has; more at once would keep other devices waiting. */
const CHAIN_BYTES = 64 * 1024
/** What one event serves before other devices get their turn. */
const EVENT_CHAINS = 64
const EVENT_BYTES = 256 * 1024

/** Where randomness comes from. */
export interface EntropySource {
  /** Fills the first `length` bytes of `buffer`; returns how many it could. Does not block. */
  fill(buffer: Extents, length: number): number
}

/** What an entropy device is made of. */
export interface RngOptions {
  readonly name: string
  readonly source: EntropySource
  /** Runs a task when the present event has been served. */
  readonly defer: (task: () => void) => void
}

/** Answers each buffer with random bytes. */
export class Rng implements VirtioDevice {
  readonly id = VIRTIO_ID_RNG
  readonly name: string
  /** Other (base class ff): there is no class for this. */
  readonly classCode = 0xff0000
  readonly features = 0n
  readonly queueSizes = [128]
  readonly config = new Uint8Array(0)
  readonly statistics = { bytes: 0 }
  private host: VirtioHost | undefined
  private chain: Chain | undefined
  private isDeferred = false

  constructor(private readonly options: RngOptions) {
    this.name = options.name
  }

  activate(host: VirtioHost): void {
    this.host = host
  }

  notify(_index: number): void {
    const queue = this.host?.queue(REQUESTS)
    if (queue === undefined) return
    this.chain ??= new Chain(queue.space)
    const { chain } = this
    let bytes = 0
    let more = true
    for (let count = 0; count < EVENT_CHAINS && bytes < EVENT_BYTES; count++) {
      more = queue.pop(chain)
      if (!more) break
      const { writable } = chain
      // Nothing was asked of a buffer that may only be read (§5.4.6.1); it is given back.
      const written = writable.size === 0 ? 0 : this.options.source.fill(writable, Math.min(writable.size, CHAIN_BYTES))
      bytes += written
      queue.push(chain, written)
    }
    queue.flush()
    this.statistics.bytes += bytes
    if (more || queue.requestNotifications()) this.deferNotify()
  }

  reset(done: () => void): void {
    this.host = undefined
    done()
  }

  resetQueue(_index: number, done: () => void): void {
    done()
  }

  close(): void {
    this.host = undefined
  }

  private deferNotify(): void {
    if (this.isDeferred) return
    this.isDeferred = true
    this.options.defer(() => {
      this.isDeferred = false
      this.notify(REQUESTS)
    })
  }
}
