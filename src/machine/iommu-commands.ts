/** What can be asked of a running machine's IOMMU, on the device thread. Parameters come from outside and are checked. */
import { BadInput } from '../base/errors.ts'
import type { Endpoint } from '../iommu/endpoint.ts'
import { FaultReason } from '../iommu/fault.ts'
import type { Iommu } from '../iommu/iommu.ts'
import { Access } from '../memory/dma-space.ts'

/** The most mappings of one answer. */
const MAX_MAPPINGS = 4096

/** What the commands are about. */
export interface IommuCommandTarget {
  readonly iommu: Iommu
  readonly device: {
    readonly findings: readonly unknown[]
    readonly statistics: Readonly<Record<string, number>>
  }
  /** Makes events, or makes none. */
  setTracing(on: boolean): void
}

type Params = Readonly<Record<string, unknown>>

/** Answers one; throws `BadInput`. */
export function iommuCommand(target: IommuCommandTarget, method: string, params: Params): unknown {
  const { iommu, device } = target
  switch (method) {
    case 'iommuState':
      return { ...iommu.state(), device: device.statistics }
    case 'iommuMappings':
      return mappings(iommu, params)
    case 'iommuFindings':
      return device.findings
    case 'iommuTrace':
      target.setTracing(params['on'] === true)
      return null
    case 'iommuFault':
      injectFault(iommu, params)
      return null
    default:
      throw new BadInput(`the IOMMU knows no request "${method}"`)
  }
}

/** Mappings of a domain from an address on, so that a long list comes in pieces. */
function mappings(iommu: Iommu, { domain: id, from = 0, limit = MAX_MAPPINGS }: Params): unknown {
  const domain = typeof id === 'number' ? iommu.domain(id) : undefined
  if (domain === undefined) throw new BadInput(`the IOMMU has no domain ${id}: see bulkhead iommu list`)
  if (!isCount(from) || !isCount(limit)) throw new BadInput('mappings are asked for by an address and a number of them')
  return domain.mappings(from, Math.min(limit, MAX_MAPPINGS))
}

function injectFault(iommu: Iommu, { endpoint: wanted, address, reason = 'mapping', access = 'read' }: Params): void {
  const endpoint = findEndpoint(iommu, wanted)
  if (endpoint === undefined) throw new BadInput(`the IOMMU has no endpoint "${wanted}": see bulkhead iommu list`)
  if (!isCount(address)) throw new BadInput("a fault's address is a whole number below 2^53")
  if (!isKey(reason, FaultReason)) throw new BadInput(`a fault's reason is ${Object.keys(FaultReason).join(', ')}`)
  if (!isKey(access, Access)) throw new BadInput(`a fault's access is ${Object.keys(Access).join(', ')}`)
  iommu.injectFault({ endpoint: endpoint.id, reason: FaultReason[reason], access: Access[access], address })
}

/** By id, or by the name of the device or of one of the devices that it stands for. */
function findEndpoint(iommu: Iommu, wanted: unknown): Endpoint | undefined {
  const id = typeof wanted === 'string' && /^(0x[0-9a-f]+|[0-9]+)$/i.test(wanted) ? Number(wanted) : wanted
  if (typeof id === 'number') return iommu.endpoint(id)
  const named = iommu.state().endpoints.find(({ name }) => name === wanted || name.split('+').includes(String(wanted)))
  return named && iommu.endpoint(named.id)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isKey<T extends object>(value: unknown, of: T): value is keyof T {
  return typeof value === 'string' && Object.hasOwn(of, value)
}
