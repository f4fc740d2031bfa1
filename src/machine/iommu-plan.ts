/** The IOMMU of a machine, checked and with its defaults: plain data for the device thread. */
import { MSI_DOORBELLS } from '../arch/index.ts'
import { isPowerOfTwo } from '../base/bits.ts'
import { BadInput } from '../base/errors.ts'
import type { IommuOptions, Range } from '../iommu/iommu.ts'
import type { IommuTopology } from '../iommu/topology.ts'
import { RESV_MEM_SIZE } from '../virtio/iommu-properties.ts'
import type { DeviceConfig } from './device/kinds.ts'
import { deviceNames, outsideIommu } from './device-names.ts'
import type { IommuConfig } from './iommu-config.ts'
import { machineTopology } from './iommu-topology.ts'

const MIN_GRANULE = 2 ** 12
const MAX_GRANULE = 2 ** 30
/** Addresses below it are exact in every calculation. */
const ADDRESS_LIMIT = 2 ** 52
const DEFAULT_INPUT: Range = { start: 0, end: 2 ** 48 - 1 }
const MAX_DOMAIN = 2 ** 32 - 1
const DEFAULT_PROBE_SIZE = 512
const MAX_PROBE_SIZE = 2 ** 16
/** So that the tail behind the properties is aligned. */
export const PROBE_ALIGNMENT = 8
const DEFAULT_MAPPINGS = 2 ** 20
const MAX_MAPPINGS = 2 ** 24

/** See above. */
export interface IommuPlan {
  readonly options: Omit<IommuOptions, 'memory'>
  readonly probeSize: number
  readonly mmio: boolean
  readonly legacyBypass: boolean
  readonly topology: IommuTopology
  /** For each device: the endpoint that its DMA comes from; undefined when it is not behind the IOMMU. */
  readonly endpointOf: readonly (number | undefined)[]
}

/** What the device thread makes the IOMMU from. */
export interface IommuStart extends IommuPlan {
  /** The machine's start: `performance.timeOrigin + performance.now()`, which threads have in common. */
  readonly startedMs: number
  /** Whether events are made from the start. */
  readonly isTraced: boolean
}

/** What of a machine's configuration the plan depends on. */
export interface IommuSurroundings {
  readonly devices: readonly DeviceConfig[]
  readonly rootPorts: boolean
  readonly pciBridge: boolean
}

/** Plans the IOMMU; throws `BadInput`. */
export function planIommu(config: IommuConfig, surroundings: IommuSurroundings): IommuPlan {
  const { granule = MIN_GRANULE, input = DEFAULT_INPUT, domains = { start: 0, end: MAX_DOMAIN }, limits = {} } = config
  const { probeSize = DEFAULT_PROBE_SIZE, legacyBypass = false, mmio = true } = config
  // VIRTIO 1.2 §5.13.6: the old feature is about endpoints from its negotiation on.
  if (legacyBypass && config.bypass !== undefined)
    throw new BadInput('with legacy-bypass the driver alone decides about bypass: leave one of them out')
  const bypass = config.bypass ?? !legacyBypass
  if (!isPowerOfTwo(granule) || granule < MIN_GRANULE || granule > MAX_GRANULE)
    throw new BadInput(`the IOMMU's granule is a power of two from 4K to 1G, not ${granule}`)
  checkRange("the IOMMU's input range", input, ADDRESS_LIMIT - 1)
  if (input.start % granule !== 0 || (input.end + 1) % granule !== 0)
    throw new BadInput(`the IOMMU's input range ${range(input)} must start and end at a multiple of the granule`)
  checkRange("the IOMMU's domains", domains, MAX_DOMAIN)
  checkCount('bytes of a PROBE reply', probeSize, 0, MAX_PROBE_SIZE)
  if (probeSize % PROBE_ALIGNMENT !== 0)
    throw new BadInput(`bytes of a PROBE reply: their number is a multiple of ${PROBE_ALIGNMENT}, not ${probeSize}`)
  checkCount('mappings in a domain', limits.domain ?? DEFAULT_MAPPINGS, 1, MAX_MAPPINGS)
  checkCount('mappings in all', limits.total ?? DEFAULT_MAPPINGS, 1, MAX_MAPPINGS)
  const { devices } = surroundings
  const names = deviceNames(devices)
  if (config.endpoints !== 'all') checkEndpoints(config.endpoints, devices, names)
  const { topology, endpointOf } = machineTopology(devices, {
    ...surroundings,
    iommu: config,
    doorbells: MSI_DOORBELLS,
  })
  checkReserved(config, topology, names)
  const regions = Math.max(0, ...topology.endpoints.map(({ reserved }) => reserved.length))
  if (probeSize !== 0 && probeSize < regions * RESV_MEM_SIZE)
    throw new BadInput(
      `${regions} reserved regions take ${regions * RESV_MEM_SIZE} bytes of a PROBE reply, which has ${probeSize}`,
    )
  return {
    options: {
      granule,
      input: { ...input },
      domains: { ...domains },
      bypass,
      limits: { domain: limits.domain ?? DEFAULT_MAPPINGS, total: limits.total ?? DEFAULT_MAPPINGS },
      doorbells: MSI_DOORBELLS,
    },
    probeSize,
    mmio,
    legacyBypass,
    topology,
    endpointOf,
  }
}

function checkEndpoints(wanted: readonly string[], devices: readonly DeviceConfig[], names: readonly string[]): void {
  for (const [index, name] of wanted.entries()) {
    const device = devices[names.indexOf(name)]
    if (device === undefined) throw new BadInput(`no device is called "${name}": ${thereAre(names)}`)
    if (wanted.indexOf(name) !== index) throw new BadInput(`${name} is named twice for the IOMMU`)
    const reason = outsideIommu(device.kind)
    if (reason !== undefined) throw new BadInput(`${name} cannot be behind the IOMMU: ${reason}`)
  }
}

function checkReserved({ reserved = [] }: IommuConfig, { endpoints }: IommuTopology, names: readonly string[]): void {
  for (const { device, ...region } of reserved) {
    checkRange('a reserved region', region, ADDRESS_LIMIT - 1)
    if (device === undefined) continue
    if (!names.includes(device)) throw new BadInput(`no device is called "${device}": ${thereAre(names)}`)
    if (!endpoints.some(({ name }) => name.split('+').includes(device)))
      throw new BadInput(`${device} has a reserved region, and is not behind the IOMMU`)
  }
  // VIRTIO 1.2 §5.13.6.8.1: regions of an endpoint do not overlap.
  for (const { name, reserved: regions } of endpoints)
    for (const [index, region] of regions.entries()) {
      const other = regions.slice(index + 1).find(({ start, end }) => start <= region.end && end >= region.start)
      if (other !== undefined)
        throw new BadInput(`reserved regions ${range(region)} and ${range(other)} of ${name} overlap`)
    }
}

function checkRange(what: string, { start, end }: Range, last: number): void {
  const isInside = Number.isInteger(start) && Number.isInteger(end) && start >= 0 && end <= last
  if (!isInside || start > end)
    throw new BadInput(`${what}: ${range({ start, end })} is no range of numbers up to ${hex(last)}`)
}

function checkCount(what: string, count: number, low: number, high: number): void {
  if (!Number.isInteger(count) || count < low || count > high)
    throw new BadInput(`${what}: the IOMMU takes ${low} to ${high}, not ${count}`)
}

function thereAre(names: readonly string[]): string {
  return names.length === 0 ? 'the guest has no devices' : `there are ${names.join(', ')}`
}

function range({ start, end }: Range): string {
  return `${hex(start)}-${hex(end)}`
}

function hex(value: number): string {
  return value.toString(16)
}
