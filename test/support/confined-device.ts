/**
 * A device behind a real IOMMU and a real PCI transport. Its endpoint is attached to a domain in which the driver's own
 * memory, where the rings are, is mapped page by page to itself; the test maps buffers elsewhere.
 *
 * @example
 * const confined = new ConfinedDevice(new Rng(...)).start()
 * confined.map(0x10_0000_0000, HIGH_START, 2)                    // two pages
 * confined.send(0, [{ address: 0x10_0000_0ff0, length: 32, write: true }])
 * confined.faults; confined.take(0); confined.bytes(HIGH_START, 64)
 */
import type { Fault } from '../../src/iommu/fault.ts'
import { Iommu, type Range } from '../../src/iommu/iommu.ts'
import { MapFlag } from '../../src/iommu/mapping-flags.ts'
import { Outcome } from '../../src/iommu/outcome.ts'
import { TranslatedInterrupts } from '../../src/machine/translated-interrupts.ts'
import { IdentitySpace } from '../../src/memory/dma-space.ts'
import type { VirtioDevice } from '../../src/virtio/device.ts'
import { VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_RING_PACKED } from '../../src/virtio/features.ts'
import type { DriverBuffer, UsedEntry } from './driver-ring.ts'
import { VirtioMemory } from './virtio-memory.ts'
import { VirtioPciDriver } from './virtio-pci-driver.ts'

/** Requester ID of the device, 00:01.0, and the domain that it is in. */
export const ENDPOINT = 8
export const DOMAIN = 1
const PAGE_SIZE = 4096
/** More than the rings, headers and the like of a test take. */
const DRIVER_PAGES = 64
/** Where tests put I/O virtual addresses of buffers: no memory of the guest has these. */
export const IOVA = 0x10_0000_0000
export const READ_WRITE = MapFlag.read | MapFlag.write

export interface ConfinedOptions {
  /** Host addresses, for back ends that do system calls. */
  readonly memory?: VirtioMemory
  readonly packed?: boolean
  /** Ring and device features; the device's own if absent. */
  readonly features?: bigint
  /** Where MSIs have to come to, through the endpoint's mappings. Without: they leave as they are. */
  readonly doorbell?: Range
}

/** A request that the IOMMU answers now or later. */
export interface Pending {
  outcome: Outcome | undefined
}

/** See above. */
export class ConfinedDevice {
  readonly memory: VirtioMemory
  readonly iommu: Iommu
  readonly faults: Fault[] = []
  readonly driver: VirtioPciDriver
  private readonly features: bigint

  constructor(
    readonly device: VirtioDevice,
    { memory = new VirtioMemory(), packed = false, features = device.features, doorbell }: ConfinedOptions = {},
  ) {
    this.memory = memory
    this.features = features | VIRTIO_F_ACCESS_PLATFORM | (packed ? VIRTIO_F_RING_PACKED : 0n)
    this.iommu = new Iommu({
      memory: memory.memory,
      granule: PAGE_SIZE,
      input: { start: 0, end: 2 ** 48 - 1 },
      domains: { start: 0, end: 0xffff_ffff },
      bypass: false,
      limits: { domain: 2 ** 20, total: 2 ** 20 },
      doorbells: doorbell === undefined ? [] : [doorbell],
    })
    this.iommu.onFault = fault => this.faults.push(fault)
    const { space } = this.iommu.addEndpoint({ id: ENDPOINT, name: device.name, reserved: [] })
    const driverSpace = new IdentitySpace(memory.memory)
    this.driver = new VirtioPciDriver(device, {
      memory,
      space,
      driverSpace,
      accessPlatform: true,
      packed,
      ...(doorbell === undefined ? {} : { wrapHost: host => new TranslatedInterrupts(host, space) }),
    })
    this.driver.enableMsix()
  }

  /** Attaches the endpoint, maps the driver's memory, and sets the device up as far as DRIVER_OK. */
  start(): this {
    this.attach()
    this.map(0, 0, DRIVER_PAGES)
    this.startDriver()
    return this
  }

  /** From ACKNOWLEDGE to DRIVER_OK, with MSI-X vector 0 for changes of the configuration. */
  startDriver(): void {
    this.driver.negotiate(this.features)
    this.driver.write('configMsixVector', 0)
    const count = this.device.queueSizes.length
    for (let index = 0; index < count; index++) this.driver.enableQueue(index, this.features, 16)
    this.driver.write('deviceStatus', this.driver.status | 4)
  }

  /** Resets the device and sets it up anew. */
  restart(): void {
    this.driver.write('deviceStatus', 0)
    this.startDriver()
  }

  attach(domain = DOMAIN, bypass = false): Pending {
    return pending(done => this.iommu.attach(ENDPOINT, domain, bypass, done))
  }

  detach(): Pending {
    return pending(done => this.iommu.detach(ENDPOINT, DOMAIN, done))
  }

  /** Maps `pages` pages, each by itself. */
  map(iova: number, phys: number, pages = 1, flags: number = READ_WRITE): void {
    for (let at = 0; at < pages * PAGE_SIZE; at += PAGE_SIZE) {
      const outcome = this.iommu.map(DOMAIN, iova + at, iova + at + PAGE_SIZE - 1, phys + at, flags)
      if (outcome !== Outcome.ok) throw new Error(`0x${(iova + at).toString(16)} is not mapped: ${outcome}`)
    }
  }

  unmap(iova: number, pages = 1): Pending {
    return pending(done => this.iommu.unmap(DOMAIN, iova, iova + pages * PAGE_SIZE - 1, done))
  }

  /** Takes the pages of a queue's rings away. */
  unmapRings(queue: number): void {
    const { desc, driver, device } = this.ring(queue).areas
    for (const address of [desc, driver, device]) this.unmap(address - (address % PAGE_SIZE))
  }

  /** Makes buffers at I/O virtual addresses available, and notifies the device. */
  send(queue: number, buffers: readonly DriverBuffer[]): number {
    const id = this.ring(queue).add(buffers)
    this.driver.notify(queue)
    return id
  }

  /** The next used chain. */
  take(queue: number): UsedEntry | undefined {
    return this.ring(queue).take()
  }

  /** Guest memory; to be read or changed. */
  bytes(address: number, size: number): Uint8Array {
    return this.memory.memory.bytesAt(address, size)
  }

  /** DEVICE_NEEDS_RESET. */
  get needsReset(): boolean {
    return (this.driver.status & 0x40) !== 0
  }

  /** Changes of the configuration that the driver was told of. */
  get configInterrupts(): number {
    return this.driver.messages(0).length
  }

  private ring(queue: number) {
    const driver = this.driver.queues[queue]
    if (driver === undefined) throw new Error(`there is no queue ${queue}`)
    return driver.ring
  }
}

function pending(start: (done: (outcome: Outcome) => void) => void): Pending {
  const request: Pending = { outcome: undefined }
  start(outcome => {
    request.outcome = outcome
  })
  return request
}
