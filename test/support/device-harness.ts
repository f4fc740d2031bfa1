/**
 * Plays the transport for a virtio device: queues with their drivers, features, notifications, reset.
 *
 * @example
 * const harness = deviceHarness(new Rng(source), { features: VIRTIO_F_RING_EVENT_IDX })
 * const used = harness.request(0, { in: [16] })     // adds, notifies, and gives what the device answered
 * // With a back end that completes later: `turn` lets it go on, and is called until the answer is there.
 * const used = harness.request(0, { out: [header], in: [512, 1] }, () => loop.wait(1000))
 */
import { type DmaSpace, IdentitySpace } from '../../src/memory/dma-space.ts'
import type { VirtioDevice, VirtioHost } from '../../src/virtio/device.ts'
import {
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from '../../src/virtio/features.ts'
import type { VirtQueue } from '../../src/virtio/queue.ts'
import { type DriverRequest, type Used, VirtioDriver } from './virtio-driver.ts'
import { VirtioMemory, type VirtioMemoryOptions } from './virtio-memory.ts'

export interface HarnessOptions extends VirtioMemoryOptions {
  /** What is negotiated besides VIRTIO_F_VERSION_1; the ring features choose the layout. All of the device's if absent. */
  readonly features?: bigint
  /** The most entries that a queue gets. */
  readonly queueSize?: number
  /** Queues that the driver enables; all if absent. */
  readonly queues?: readonly number[]
  readonly memory?: VirtioMemory
  readonly space?: (memory: VirtioMemory) => DmaSpace
  /** What the drivers go through instead. */
  readonly driverSpace?: (memory: VirtioMemory) => DmaSpace
}

/** Rounds of `turn` before a request counts as lost; each may block for long. */
const TURNS = 1000

/** A device with its drivers. */
export class DeviceHarness implements VirtioHost {
  readonly features: bigint
  readonly memory: VirtioMemory
  readonly space: DmaSpace
  /** Interrupts for a changed configuration. */
  configChanges = 0
  /** Reasons for DEVICE_NEEDS_RESET. */
  readonly resetReasons: string[] = []
  readonly logged: string[] = []
  private readonly drivers = new Map<number, VirtioDriver>()
  private readonly ownsMemory: boolean

  constructor(
    readonly device: VirtioDevice,
    private readonly options: HarnessOptions,
  ) {
    this.features = (options.features ?? device.features) | VIRTIO_F_VERSION_1
    this.ownsMemory = options.memory === undefined
    this.memory = options.memory ?? new VirtioMemory(options)
    this.space = options.space?.(this.memory) ?? new IdentitySpace(this.memory.memory)
  }

  /** Enables the queues and sets DRIVER_OK; again after `reset`. */
  activate(): void {
    if (this.device.acceptFeatures?.(this.features) === false) throw new Error('the device refuses the features')
    for (const index of this.options.queues ?? this.device.queueSizes.keys()) this.enableQueue(index)
    this.device.activate(this)
  }

  /** The driver of queue `index`, which must be enabled. */
  driver(index: number): VirtioDriver {
    const driver = this.drivers.get(index)
    if (driver === undefined) throw new Error(`queue ${index} is not enabled`)
    return driver
  }

  /** Adds one request, notifies the device, and waits for it; `turn` lets a back end go on. */
  request(index: number, request: DriverRequest, turn?: () => void): Used {
    const token = this.send(index, request)
    const used = this.receive(index, turn)
    if (used.token !== token) throw new Error('another request was used first')
    return used
  }

  /** Adds a request and notifies the device. */
  send(index: number, request: DriverRequest): number {
    const driver = this.driver(index)
    const token = driver.add(request)
    driver.kick()
    return token
  }

  /** The next used request of a queue, waited for. */
  receive(index: number, turn?: () => void): Used {
    const driver = this.driver(index)
    let used = driver.poll()
    for (let i = 0; used === undefined && turn !== undefined && i < TURNS; i++) {
      turn()
      used = driver.poll()
    }
    if (used === undefined) throw new Error(`queue ${index}: nothing was used${this.complaints()}`)
    return used
  }

  /** Resets the device; its queues are gone at once. `turn` lets it finish. Whether it did. */
  reset(turn?: () => void): boolean {
    const drivers = [...this.drivers.values()]
    this.drivers.clear()
    return this.finish(drivers, done => this.device.reset(done), turn)
  }

  /** Resets one queue, and forgets its driver; whether the device finished. */
  resetQueue(index: number, turn?: () => void): boolean {
    const driver = this.driver(index)
    this.drivers.delete(index)
    return this.finish([driver], done => this.device.resetQueue(index, done), turn)
  }

  /** A queue with new rings. After DRIVER_OK, notify the device (`send` does). */
  enableQueue(index: number): VirtioDriver {
    const most = Math.min(this.device.queueSizes[index] ?? 0, this.options.queueSize ?? 32768)
    const driver = new VirtioDriver({
      memory: this.memory,
      space: this.space,
      driverSpace: this.options.driverSpace?.(this.memory) ?? this.space,
      index,
      size: most,
      packed: this.has(VIRTIO_F_RING_PACKED),
      eventIdx: this.has(VIRTIO_F_RING_EVENT_IDX),
      indirect: this.has(VIRTIO_F_RING_INDIRECT_DESC),
      onKick: () => this.device.notify(index),
      // As the transport does: a broken queue needs a reset of the device.
      onBroken: reason => this.needsReset(reason),
    })
    this.drivers.set(index, driver)
    return driver
  }

  queue(index: number): VirtQueue | undefined {
    return this.drivers.get(index)?.queue
  }

  configChanged(): void {
    this.configChanges++
  }

  needsReset(reason: string): void {
    this.resetReasons.push(reason)
  }

  log(message: string): void {
    this.logged.push(message)
  }

  /** Closes the device and gives back the memory. */
  [Symbol.dispose](): void {
    this.device.close()
    if (this.ownsMemory) this.memory[Symbol.dispose]()
  }

  private finish(drivers: readonly VirtioDriver[], start: (done: () => void) => void, turn?: () => void): boolean {
    let done = false
    start(() => {
      done = true
      // Not before: until then the device may still use the buffers.
      for (const driver of drivers) driver.discard()
    })
    for (let i = 0; !done && turn !== undefined && i < TURNS; i++) turn()
    return done
  }

  private has(feature: bigint): boolean {
    return (this.features & feature) !== 0n
  }

  private complaints(): string {
    return [...this.resetReasons, ...this.logged].map(line => `\n  ${line}`).join('')
  }
}

/** A device that is driven and ready. */
export function deviceHarness(device: VirtioDevice, options: HarnessOptions = {}): DeviceHarness {
  const harness = new DeviceHarness(device, options)
  harness.activate()
  return harness
}
