/** The control requests about the guest's IOMMU: state, mappings, findings, trace, an injected fault. */
import { BadInput } from '../base/errors.ts'
import type { Machine } from '../machine/machine.ts'

type Params = Readonly<Record<string, unknown>>

/** Mappings of one answer, so that it passes every channel in one piece. */
const MAX_MAPPINGS = 4096
const REASONS = ['mapping', 'domain', 'unknown']
const ACCESSES = ['read', 'write']

/** Whether a request is one of these. */
export function isIommuRequest(method: string): boolean {
  return method.startsWith('iommu')
}

/** Answers such a request. */
export async function iommuControl(machine: Machine, method: string, params: Params): Promise<unknown> {
  const trace = machine.iommu?.trace
  if (trace === undefined) throw new BadInput('the guest has no IOMMU: run it with --iommu all')
  switch (method) {
    case 'iommuState':
    case 'iommuFindings':
      return machine.deviceCommand(method, {})
    case 'iommuMappings':
      return machine.deviceCommand(method, {
        domain: count(params, 'domain', 0, 0xffff_ffff),
        from: count(params, 'from', 0, Number.MAX_SAFE_INTEGER, 0),
        limit: count(params, 'limit', 1, MAX_MAPPINGS, MAX_MAPPINGS),
      })
    case 'iommuTrace':
      return trace.poll(
        params['cursor'] === undefined ? undefined : count(params, 'cursor', 0, Number.MAX_SAFE_INTEGER),
      )
    case 'iommuFault':
      return machine.deviceCommand(method, {
        endpoint: endpointOf(params['endpoint']),
        address: count(params, 'address', 0, Number.MAX_SAFE_INTEGER),
        reason: choice(params, 'reason', REASONS),
        access: choice(params, 'access', ACCESSES),
      })
    default:
      throw new BadInput(`this version knows no request "${method}"`)
  }
}

function count(params: Params, name: string, low: number, high: number, missing?: number): number {
  const value = params[name] ?? missing
  if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high)
    throw new BadInput(`${name} must be a whole number from ${low} to ${high}`)
  return value
}

/** The first one is what an absent one means. */
function choice(params: Params, name: string, choices: readonly string[]): string {
  const value = params[name] ?? choices[0]
  const chosen = choices.find(candidate => candidate === value)
  if (chosen === undefined) throw new BadInput(`${name} must be one of ${choices.join(', ')}`)
  return chosen
}

/** A device's name, or an endpoint's id. */
function endpointOf(value: unknown): string | number {
  if (typeof value === 'string' && value !== '') return value
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value
  throw new BadInput('endpoint must be the name of a device, or the id of an endpoint')
}
