/**
 * A virtio-iommu with its driver: a real IOMMU with endpoints behind it, the device, and requests as bytes.
 *
 * @example
 * const bench = iommuDevice()
 * bench.attach(1, DISK)                                  // { status: 0, written: 4, ... }
 * bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
 * bench.canReach(DISK, 0x1000, Access.read)              // true
 */
import type { EndpointOptions } from '../../src/iommu/endpoint.ts'
import type { IommuEvent, Untimed } from '../../src/iommu/events.ts'
import { Iommu, type IommuOptions } from '../../src/iommu/iommu.ts'
import { Extents } from '../../src/memory/extents.ts'
import { VirtioIommu, type VirtioIommuOptions } from '../../src/virtio/iommu.ts'
import { DeferredTasks } from './deferred-tasks.ts'
import { DeviceHarness } from './device-harness.ts'
import type { Used } from './virtio-driver.ts'
import { VirtioMemory } from './virtio-memory.ts'

/** Ids of the two endpoints that there are without `endpoints`. */
export const DISK = 0x08
export const NET = 0x10
/** MSIs of both. */
export const MSI = { kind: 'msi', start: 0xfee0_0000, end: 0xfeef_ffff } as const

const TAIL = 4

export interface IommuDeviceOptions
  extends Partial<Omit<VirtioIommuOptions, 'iommu'>>,
    Partial<Omit<IommuOptions, 'memory'>> {
  readonly endpoints?: readonly EndpointOptions[]
  /** Of the device's own: what is negotiated. All if absent. */
  readonly features?: bigint
  /** Ring features. */
  readonly ring?: bigint
  /** No driver is there yet: `harness.activate()` brings it. */
  readonly isIdle?: boolean
}

/** What became of a request. */
export interface IommuAnswer {
  /** First byte of the tail; undefined: the tail was not written, or there is none. */
  readonly status: number | undefined
  /** Used length. */
  readonly written: number
  /** The device-writable bytes in front of the tail, and the tail. */
  readonly properties: Uint8Array
  readonly tail: Uint8Array
}

/** See above. */
export class IommuDevice {
  readonly memory = new VirtioMemory()
  readonly iommu: Iommu
  readonly device: VirtioIommu
  readonly harness: DeviceHarness
  readonly tasks = new DeferredTasks()
  readonly events: Untimed<IommuEvent>[] = []

  constructor(options: IommuDeviceOptions) {
    const { features, ring = 0n, isIdle = false, endpoints = DEFAULT_ENDPOINTS } = options
    this.iommu = new Iommu({
      granule: 4096,
      input: { start: 0, end: 2 ** 48 - 1 },
      domains: { start: 0, end: 2 ** 32 - 1 },
      bypass: false,
      limits: { domain: 2 ** 20, total: 2 ** 20 },
      doorbells: [MSI],
      ...options,
      memory: this.memory.memory,
    })
    for (const endpoint of endpoints) this.iommu.addEndpoint(endpoint)
    this.device = new VirtioIommu({
      name: 'iommu',
      probeSize: 512,
      mmio: true,
      legacyBypass: false,
      defer: this.tasks.defer,
      ...options,
      iommu: this.iommu,
    })
    this.harness = new DeviceHarness(this.device, {
      features: (features ?? this.device.features) | ring,
      memory: this.memory,
    })
    if (!isIdle) this.harness.activate()
  }

  /** From now on `events` fills. */
  trace(): this {
    this.iommu.tracer = event => void this.events.push(event)
    return this
  }

  /** Sends a request with `room` bytes for the answer, of which the last 4 are the tail. */
  send(request: Uint8Array, room = TAIL): IommuAnswer {
    return answerOf(this.harness.request(0, { out: [request], in: [room] }), room)
  }

  /** Adds a request and notifies; the answer may come later. */
  post(request: Uint8Array, room = TAIL): void {
    this.harness.send(0, { out: [request], in: [room] })
  }

  /** Answers that are there now. */
  answers(room = TAIL): readonly IommuAnswer[] {
    return this.harness
      .driver(0)
      .pollAll()
      .map(used => answerOf(used, room))
  }

  attach(domain: number, endpoint: number, flags = 0): IommuAnswer {
    return this.send(attachRequest(domain, endpoint, flags))
  }

  detach(domain: number, endpoint: number): IommuAnswer {
    return this.send(detachRequest(domain, endpoint))
  }

  map(domain: number, start: Address, end: Address, phys: Address, flags: number): IommuAnswer {
    return this.send(mapRequest(domain, start, end, phys, flags))
  }

  unmap(domain: number, start: Address, end: Address): IommuAnswer {
    return this.send(unmapRequest(domain, start, end))
  }

  probe(endpoint: number, room = this.probeSize + TAIL): IommuAnswer {
    return this.send(probeRequest(endpoint), room)
  }

  /** Whether an endpoint can access a byte now; a refusal is a fault. */
  canReach(endpoint: number, iova: number, access: number): boolean {
    return this.translate(endpoint, iova, access) !== undefined
  }

  /** Where an access of one byte gets. */
  translate(endpoint: number, iova: number, access: number): number | undefined {
    const extents = new Extents(this.memory.memory)
    const { space } = this.iommu.endpoint(endpoint)!
    return space.translate(iova, 1, access, extents) ? extents.start(0) : undefined
  }

  /** Mappings of a domain, as [start, end, phys, flags]. */
  mappings(domain: number): readonly (readonly [number, number, number, number])[] {
    const found = this.iommu.domain(domain)?.mappings(0, 1000) ?? []
    return found.map(({ start, end, phys, flags }) => [start, end, phys, flags])
  }

  /** Ids of domains, and what is attached to them. */
  get domains(): readonly (readonly [id: number, endpoints: readonly number[]])[] {
    return this.iommu.state().domains.map(({ id, endpoints }) => [id, endpoints])
  }

  /** Names of the rules that were broken. */
  get broken(): readonly string[] {
    return this.device.findings.map(({ name }) => name)
  }

  private get probeSize(): number {
    return new DataView(this.device.config.buffer).getUint32(32, true)
  }
}

/** A device that is driven and ready. */
export function iommuDevice(options: IommuDeviceOptions = {}): IommuDevice {
  return new IommuDevice(options)
}

/** Above 2^53: a bigint. */
export type Address = number | bigint

const DEFAULT_ENDPOINTS: readonly EndpointOptions[] = [
  { id: DISK, name: 'disk0', reserved: [MSI] },
  { id: NET, name: 'net0', reserved: [MSI] },
]

export function attachRequest(domain: number, endpoint: number, flags = 0): Uint8Array {
  return bytes(20, view => {
    view.setUint8(0, 1)
    view.setUint32(4, domain, true)
    view.setUint32(8, endpoint, true)
    view.setUint32(12, flags, true)
  })
}

export function detachRequest(domain: number, endpoint: number): Uint8Array {
  return bytes(20, view => {
    view.setUint8(0, 2)
    view.setUint32(4, domain, true)
    view.setUint32(8, endpoint, true)
  })
}

export function mapRequest(domain: number, start: Address, end: Address, phys: Address, flags: number): Uint8Array {
  return bytes(36, view => {
    view.setUint8(0, 3)
    view.setUint32(4, domain, true)
    view.setBigUint64(8, BigInt(start), true)
    view.setBigUint64(16, BigInt(end), true)
    view.setBigUint64(24, BigInt(phys), true)
    view.setUint32(32, flags, true)
  })
}

export function unmapRequest(domain: number, start: Address, end: Address): Uint8Array {
  return bytes(28, view => {
    view.setUint8(0, 4)
    view.setUint32(4, domain, true)
    view.setBigUint64(8, BigInt(start), true)
    view.setBigUint64(16, BigInt(end), true)
  })
}

export function probeRequest(endpoint: number): Uint8Array {
  return bytes(72, view => {
    view.setUint8(0, 5)
    view.setUint32(4, endpoint, true)
  })
}

/** The request with one byte set. */
export function withByte(request: Uint8Array, offset: number, value: number): Uint8Array {
  const changed = request.slice()
  changed[offset] = value
  return changed
}

function bytes(size: number, fill: (view: DataView) => void): Uint8Array {
  const view = new DataView(new ArrayBuffer(size))
  fill(view)
  return new Uint8Array(view.buffer)
}

function answerOf({ written, in: inputs }: Used, room: number): IommuAnswer {
  const answer = inputs[0] ?? new Uint8Array(0)
  const tail = answer.slice(Math.max(0, room - TAIL))
  const [status] = tail
  // The driver filled the buffer beforehand with bytes that are no status.
  const isTouched = tail.length === TAIL && status !== 0xee
  return { status: isTouched ? status : undefined, written, properties: answer.slice(0, room - TAIL), tail }
}
