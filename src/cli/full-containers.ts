/** What `stat` warns of: groups of the host that hold nearly as many mappings as the host allows. */
import type { MachineStat } from '../control/machine-control.ts'

/** Of a container's limit, from where on it is told: the host refuses what is beyond. */
const NEAR_LIMIT = 0.9

/** A line for each device whose group is nearly full. */
export function fullContainers(devices: MachineStat['devices']): readonly string[] {
  return devices.flatMap(({ name, counters: { mappings = 0, mappingLimit = Number.POSITIVE_INFINITY } }) => {
    const isNear = mappings >= NEAR_LIMIT * mappingLimit
    return isNear ? [`warning: ${name} has ${mappings} of the ${mappingLimit} mappings that the host allows`] : []
  })
}
