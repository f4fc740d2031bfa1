/**
 * A machine's IOMMU in front of passed-through devices: it can do no more for them than the host's. What the host does
 * not map is outside the input range or a reserved region, so that the guest hears of it before it maps anything there.
 */
import { BadInput } from '../base/errors.ts'
import type { Range } from '../iommu/iommu.ts'
import type { ReservedRegion } from '../iommu/reserved-region.ts'
import type { ContainerInfo } from '../vfio/plan.ts'
import { RESV_MEM_SIZE } from '../virtio/iommu-properties.ts'
import type { IommuConfig } from './iommu-config.ts'
import { type IommuPlan, PROBE_ALIGNMENT } from './iommu-plan.ts'

/** What the host has for one passed-through device. */
export interface HostLimits {
  /** The device's name, "vfio0". */
  readonly name: string
  /** Its endpoint; undefined when it is not behind the IOMMU. */
  readonly endpoint: number | undefined
  /** The host's group. */
  readonly group: number
  readonly info: ContainerInfo
}

/** The plan with the hosts' limits in it; throws `BadInput` where what was asked for exceeds them. */
export function withHosts(plan: IommuPlan, config: IommuConfig, hosts: readonly HostLimits[]): IommuPlan {
  checkGroups(hosts)
  const behind = hosts.filter(({ endpoint }) => endpoint !== undefined)
  if (behind.length === 0) return plan
  const granule = behind.reduce((most, host) => hostGranule(most, config, host), plan.options.granule)
  const input = hostInput(plan.options.input, granule, config, behind)
  const endpoints = plan.topology.endpoints.map(endpoint => {
    const host = behind.find(({ endpoint: id }) => id === endpoint.id)
    return host === undefined ? endpoint : { ...endpoint, reserved: addHoles(endpoint.reserved, host.info, input) }
  })
  const needed = RESV_MEM_SIZE * Math.max(...endpoints.map(({ reserved }) => reserved.length))
  if (config.probeSize !== undefined && config.probeSize !== 0 && needed > config.probeSize)
    throw new BadInput(
      `with what the host reserves, a PROBE reply takes ${needed} bytes, and it has ${config.probeSize}: raise probe=`,
    )
  return {
    ...plan,
    options: { ...plan.options, granule, input },
    topology: { ...plan.topology, endpoints },
    probeSize: plan.probeSize === 0 ? 0 : Math.max(plan.probeSize, alignUp(needed, PROBE_ALIGNMENT)),
  }
}

/**
 * Guest memory that the hosts have mapped before the guest runs, of `ramBytes` in all: each group's container counts what
 * it maps against the memory that this process may lock.
 */
export function lockedAtStart(
  hosts: readonly HostLimits[],
  iommu: Pick<IommuPlan, 'options'> | undefined,
  ramBytes: number,
): number {
  const passing = hosts.filter(({ endpoint }) => endpoint === undefined || iommu?.options.bypass === true)
  return ramBytes * new Set(passing.map(({ group }) => group)).size
}

/** The host cannot tell a group's devices apart, so none of them can be translated for while another is not. */
function checkGroups(hosts: readonly HostLimits[]): void {
  for (const { name, group, endpoint } of hosts) {
    const other = hosts.find(mate => mate.group === group && mate.endpoint !== undefined)
    if (endpoint === undefined && other !== undefined)
      throw new BadInput(
        `${name} and ${other.name} share group ${group} of the host: put both behind the IOMMU, or neither`,
      )
  }
}

function hostGranule(present: number, config: IommuConfig, { name, info }: HostLimits): number {
  const least = lowestBit(info.pageSizes)
  if (least <= present) return present
  if (config.granule !== undefined)
    throw new BadInput(
      `the host maps no less than ${least} bytes for ${name}: raise the IOMMU's granule from ${present}`,
    )
  return least
}

function hostInput(input: Range, granule: number, config: IommuConfig, hosts: readonly HostLimits[]): Range {
  let { start, end } = input
  for (const { name, info } of hosts) {
    const first = info.usable[0]
    const last = info.usable.at(-1)
    if (first === undefined || last === undefined) throw new BadInput(`the host's IOMMU maps nothing for ${name}`)
    if (config.input !== undefined && (first.start > start || last.end < end))
      throw new BadInput(
        `the host's IOMMU maps ${hex(first.start)}-${hex(last.end)} for ${name}, ` +
          `and the guest's is to map ${hex(start)}-${hex(end)}: make input= smaller`,
      )
    start = Math.max(start, first.start)
    end = Math.min(end, last.end)
  }
  start = alignUp(start, granule)
  end = end + 1 - ((end + 1) % granule) - 1
  if (end < start) throw new BadInput("the hosts' IOMMUs have no addresses in common that the guest's could map")
  return { start, end }
}

/**
 * The regions with those that the host does not map. What is reserved already stays as it is: writes to a region for
 * MSIs are none of the host's business, as the device is programmed with messages of the host's own.
 */
function addHoles(
  reserved: readonly ReservedRegion[],
  { usable }: ContainerInfo,
  input: Range,
): readonly ReservedRegion[] {
  const regions = [...reserved]
  for (const [index, { end }] of usable.entries()) {
    const next = usable[index + 1]
    if (next === undefined) continue
    const hole = { start: Math.max(end + 1, input.start), end: Math.min(next.start - 1, input.end) }
    for (const piece of without(hole, reserved)) regions.push({ kind: 'reserved', ...piece })
  }
  return regions.sort((a, b) => a.start - b.start)
}

/** The parts of a range that are in none of the others, which do not overlap and rise. */
function without({ start, end }: Range, others: readonly Range[]): readonly Range[] {
  const pieces: Range[] = []
  let at = start
  for (const other of others) {
    if (other.end < at || other.start > end) continue
    if (other.start > at) pieces.push({ start: at, end: other.start - 1 })
    at = other.end + 1
  }
  if (at <= end) pieces.push({ start: at, end })
  return pieces
}

/** Of a number that may have more than 32 bits. */
function lowestBit(value: number): number {
  let bit = 1
  while (value % (bit * 2) === 0 && bit < 2 ** 52) bit *= 2
  return bit
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}

function hex(value: number): string {
  return value.toString(16)
}
