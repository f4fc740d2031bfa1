/**
 * An IOMMU with two endpoints for tests of the core, and a user of translations as a queue is one.
 *
 * Memory: [0, 64 KiB) and [64 KiB, 128 KiB), which touch, and 64 KiB from 4 GiB on.
 */

import type { Endpoint } from '../../src/iommu/endpoint.ts'
import type { EndpointBackend } from '../../src/iommu/endpoint-backend.ts'
import type { Untimed } from '../../src/iommu/events.ts'
import type { Fault } from '../../src/iommu/fault.ts'
import { Iommu, type IommuOptions, type Range } from '../../src/iommu/iommu.ts'
import { Outcome, outcomeName } from '../../src/iommu/outcome.ts'
import type { ReservedRegion } from '../../src/iommu/reserved-region.ts'
import { Access, type DmaUser } from '../../src/memory/dma-space.ts'
import { Extents } from '../../src/memory/extents.ts'
import { GuestMemory } from '../../src/memory/guest-memory.ts'

export const DISK = 8
export const NET = 16
export const WINDOW = 0x1_0000
export const MSI: ReservedRegion = { kind: 'msi', start: 0xfee0_0000, end: 0xfeef_ffff }

/** See above. */
export interface IommuCore {
  readonly iommu: Iommu
  readonly disk: Endpoint
  readonly net: Endpoint
  readonly faults: readonly Fault[]
  readonly events: readonly Untimed[]
}

export interface IommuCoreOptions extends Partial<IommuOptions> {
  /** Of "disk"; "net" has none. */
  readonly reserved?: readonly ReservedRegion[]
  /** What translates for "disk", and for "net". */
  readonly backends?: readonly [EndpointBackend | undefined, EndpointBackend | undefined]
}

export function iommuCore({
  reserved = [MSI],
  backends = [undefined, undefined],
  ...options
}: IommuCoreOptions = {}): IommuCore {
  const window = (start: number) => ({ start, bytes: new Uint8Array(WINDOW) })
  const memory = new GuestMemory([window(0), window(WINDOW), window(2 ** 32)])
  const iommu = new Iommu({
    memory,
    granule: 4096,
    input: { start: 0, end: 2 ** 48 - 1 },
    domains: { start: 0, end: 2 ** 32 - 1 },
    bypass: false,
    limits: { domain: 1000, total: 1000 },
    doorbells: [MSI],
    ...options,
  })
  const faults: Fault[] = []
  const events: Untimed[] = []
  iommu.onFault = fault => faults.push(fault)
  iommu.tracer = event => events.push(event)
  const [ofDisk, ofNet] = backends.map(backend => (backend === undefined ? {} : { backend }))
  const disk = iommu.addEndpoint({ id: DISK, name: 'disk', reserved, ...ofDisk })
  const net = iommu.addEndpoint({ id: NET, name: 'net', reserved: [], ...ofNet })
  return { iommu, disk, net, faults, events }
}

/** A core whose "disk" is in domain 1. */
export function attachedCore(options: IommuCoreOptions = {}): IommuCore {
  const core = iommuCore(options)
  core.iommu.attach(DISK, 1, false, expectOk)
  return core
}

/** Names of what `call` was answered, in order: nothing yet while it waits. */
export function answers(call: (done: (outcome: Outcome) => void) => void): readonly string[] {
  const names: string[] = []
  call(outcome => names.push(nameOf(outcome)))
  return names
}

/** For people. */
export const nameOf = outcomeName

/** What an access comes to: extents as [start, length], or undefined if it is refused. */
export function reach(
  { space }: Endpoint,
  iova: number,
  length: number,
  access: number = Access.read,
): readonly (readonly [number, number])[] | undefined {
  const extents = new Extents(space.memory)
  if (space.translate(iova, length, access, extents))
    return Array.from({ length: extents.count }, (_, i) => [extents.start(i), extents.length(i)] as const)
  if (extents.count > 0 || extents.size > 0) throw new Error('a refused translation left extents')
  return undefined
}

/** Keeps translations of some ranges, and is busy in some. */
export class FakeUser implements DmaUser {
  kept: readonly Range[] = []
  busy: readonly Range[] = []

  keeps(start: number, end: number): boolean {
    return this.kept.some(range => range.start <= end && range.end >= start)
  }

  isBusy(start: number, end: number): boolean {
    return this.busy.some(range => range.start <= end && range.end >= start)
  }
}

/** A user of an endpoint's space that keeps translations of, and is busy in, the range. */
export function busyUser({ space }: Endpoint, start: number, end: number): FakeUser {
  const user = new FakeUser()
  user.kept = [{ start, end }]
  user.busy = [{ start, end }]
  space.addUser(user)
  return user
}

/** The user's work is done. */
export function finish(user: FakeUser, { space }: Endpoint): void {
  user.kept = []
  user.busy = []
  space.released()
}

function expectOk(outcome: Outcome): void {
  if (outcome !== Outcome.ok) throw new Error(`the request is answered with ${nameOf(outcome)}`)
}
