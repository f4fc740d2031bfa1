/** A virtio device that does nothing by itself and remembers what its transport did to it. */
import type { VirtioDevice, VirtioHost } from '../../src/virtio/device.ts'
import { Chain } from '../../src/virtio/queue.ts'

export interface ProbeOptions {
  readonly features?: bigint
  readonly transportFeatures?: bigint
  readonly queueSizes?: readonly number[]
  readonly configSize?: number
  /** Resets end only with `finish`. */
  readonly slow?: boolean
  /** What the device refuses at FEATURES_OK. */
  readonly refused?: bigint
}

/** Two queues of 64 and 8 bytes of configuration, unless told otherwise. */
export class ProbeDevice implements VirtioDevice {
  readonly id = 0x3e
  readonly name = 'probe'
  readonly classCode = 0xff0000
  readonly features: bigint
  readonly transportFeatures?: bigint
  readonly queueSizes: readonly number[]
  readonly config: Uint8Array
  /** Calls of the transport, in order. */
  readonly calls: string[] = []
  host: VirtioHost | undefined
  private readonly pending: (() => void)[] = []

  constructor(private readonly options: ProbeOptions = {}) {
    this.features = options.features ?? 0n
    if (options.transportFeatures !== undefined) this.transportFeatures = options.transportFeatures
    this.queueSizes = options.queueSizes ?? [64, 64]
    this.config = Uint8Array.from({ length: options.configSize ?? 8 }, (_, i) => 0x10 + i)
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.calls.push(`config ${offset} ${size} 0x${value.toString(16)}`)
  }

  acceptFeatures(features: bigint): boolean {
    return (features & (this.options.refused ?? 0n)) === 0n
  }

  activate(host: VirtioHost): void {
    this.host = host
    this.calls.push('activate')
  }

  notify(index: number): void {
    this.calls.push(`notify ${index}`)
  }

  reset(done: () => void): void {
    this.calls.push('reset')
    this.end(done)
  }

  resetQueue(index: number, done: () => void): void {
    this.calls.push(`reset queue ${index}`)
    this.end(done)
  }

  close(): void {
    this.calls.push('close')
  }

  /** Ends the resets that are under way, oldest first. */
  finish(): void {
    for (const done of this.pending.splice(0)) done()
  }

  /** Uses what is available in a queue, as a device without any work; how many chains. */
  serve(index: number): number {
    const queue = this.host?.queue(index)
    if (queue === undefined) return 0
    const chain = new Chain(queue.space)
    let count = 0
    for (; queue.pop(chain); count++) queue.push(chain, 0)
    queue.flush()
    return count
  }

  private end(done: () => void): void {
    if (this.options.slow === true) this.pending.push(done)
    else done()
  }
}
