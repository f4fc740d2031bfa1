/**
 * One back end and the endpoints that it stands for: devices of one host group, between which the host's IOMMU does not
 * tell. It lets accesses through only while all of them are to be treated alike: a driver that moves a group to another
 * domain moves one after the other, and until the last one is there, none reaches anything.
 */
import type { Domain } from './domain.ts'
import type { Endpoint } from './endpoint.ts'
import type { EndpointBackend } from './endpoint-backend.ts'

/** Where all of a group's endpoints are: in one domain with mappings, in bypass mode, or not in one place. */
export type Place = Domain | 'bypass' | 'block'

/** See above. */
export class BackendGroup {
  readonly endpoints: Endpoint[] = []
  /** Whose mappings the back end has, if it translates. */
  domain: Domain | undefined
  /** Kinds of failures that were told. */
  readonly warned = new Set<string>()

  constructor(readonly backend: EndpointBackend) {}

  /** Where the back end is now. */
  get place(): Place {
    const { treatment } = this.backend
    return treatment === 'translate' && this.domain !== undefined
      ? this.domain
      : treatment === 'bypass'
        ? treatment
        : 'block'
  }

  /** Where it has to be once `moving` is in `domain`; `bypass`: of endpoints in none. */
  placeWith(moving: Endpoint | undefined, domain: Domain | undefined, bypass: boolean): Place {
    let place: Place | undefined
    for (const endpoint of this.endpoints) {
      const of = placeOf(endpoint === moving ? domain : endpoint.domain, bypass)
      if (place !== undefined && place !== of) return 'block'
      place = of
    }
    return place ?? 'block'
  }
}

function placeOf(domain: Domain | undefined, bypass: boolean): Place {
  if (domain === undefined) return bypass ? 'bypass' : 'block'
  return domain.bypass ? 'bypass' : domain
}
