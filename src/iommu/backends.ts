/**
 * Keeps back ends in step with the endpoints and domains of the IOMMU. Each request reaches a back end once, however many
 * endpoints it stands for; what one of them refuses is undone in the others.
 */
import { assert, HostError } from '../base/errors.ts'
import { BackendGroup, type Place } from './backend-group.ts'
import type { Domain } from './domain.ts'
import type { Endpoint } from './endpoint.ts'
import type { BackendState, BackendTarget, EndpointBackend } from './endpoint-backend.ts'
import type { BackendEvent, IommuTracer } from './events.ts'
import { Outcome, outcomeName } from './outcome.ts'

const NOT_ALL = "the host cannot map all of the guest's memory"
const NOT_BACK = 'the host does not take mappings back'

type Refused = BackendEvent['refused']

/** See above. */
export class Backends {
  /** Told of what a back end refuses, while somebody wants to know. */
  tracer: IommuTracer | undefined
  private readonly groups = new Map<EndpointBackend, BackendGroup>()

  /** `warn` is told of the first failure of each kind, for people. */
  constructor(private readonly warn: (message: string) => void) {}

  /** An endpoint in no domain is there. Throws `HostError` when its back end cannot do what that means. */
  add(endpoint: Endpoint, bypass: boolean): void {
    const { backend } = endpoint
    if (backend === undefined) return
    const group = this.groups.get(backend) ?? new BackendGroup(backend)
    group.endpoints.push(endpoint)
    const outcome = this.move(group, group.placeWith(endpoint, undefined, bypass))
    if (outcome !== Outcome.ok) {
      group.endpoints.pop()
      const what = bypass ? NOT_ALL : NOT_BACK
      throw new HostError(`${what} for ${backend.name}: ${why(backend, outcome)}`)
    }
    this.groups.set(backend, group)
  }

  /** Before an endpoint comes to `domain`. When it fails, the back end is where it was, or nowhere. */
  attach(endpoint: Endpoint, domain: Domain, bypass: boolean): Outcome {
    const group = this.groupOf(endpoint)
    if (group === undefined) return Outcome.ok
    const outcome = this.move(group, group.placeWith(endpoint, domain, bypass))
    if (outcome !== Outcome.ok)
      this.refused(group, 'ATTACH', outcome, domain.bypass ? NOT_ALL : 'the host refuses what a domain maps')
    return outcome
  }

  /** Before an endpoint leaves its domain: afterwards nothing of it is to be reached, whatever the host says. */
  detach(endpoint: Endpoint, bypass: boolean): void {
    const group = this.groupOf(endpoint)
    if (group !== undefined) this.leave(group, group.placeWith(endpoint, undefined, bypass), 'DETACH')
  }

  /** Endpoints in no domain do something else from now on. */
  bypassChanged(bypass: boolean): void {
    for (const group of this.groups.values())
      if (group.endpoints.some(({ domain }) => domain === undefined))
        this.leave(group, group.placeWith(undefined, undefined, bypass), 'bypass')
  }

  /** A mapping that a domain has got: all of its back ends have it afterwards, or none. */
  map(domain: Domain, start: number, end: number, phys: number, flags: number): Outcome {
    const { followers } = domain
    for (let i = 0; i < followers.length; i++) {
      const group = followers[i] as BackendGroup
      const outcome = isTranslating(group) ? group.backend.map(start, end, phys, flags) : Outcome.ok
      if (outcome === Outcome.ok) continue
      this.refused(group, 'MAP', outcome, "the host refuses a mapping, and the guest's drivers may not notice")
      for (const other of followers.slice(0, i)) this.takeBack(other, start, end)
      return outcome
    }
    return Outcome.ok
  }

  /** Mappings in the range are gone from a domain. `deviceError`: a back end of it reaches nothing any more. */
  unmap(domain: Domain, start: number, end: number): Outcome {
    let outcome: Outcome = Outcome.ok
    const { followers } = domain
    for (let i = 0; i < followers.length; i++)
      if (!this.takeBack(followers[i] as BackendGroup, start, end)) outcome = Outcome.deviceError
    return outcome
  }

  /** Calls to the host; undefined: there is no back end. */
  calls(): { readonly mapCalls: number; readonly unmapCalls: number } | undefined {
    if (this.groups.size === 0) return undefined
    const states = this.states()
    const sum = (count: (state: BackendState) => number) => states.reduce((total, state) => total + count(state), 0)
    return { mapCalls: sum(state => state.mapCalls), unmapCalls: sum(state => state.unmapCalls) }
  }

  private states(): readonly BackendState[] {
    return [...this.groups.keys()].map(backend => backend.state())
  }

  private groupOf({ backend }: Endpoint): BackendGroup | undefined {
    return backend === undefined ? undefined : this.groups.get(backend)
  }

  /** Where nothing of the place before may be left: what the host cannot do instead is not done. */
  private leave(group: BackendGroup, place: Place, refused: Refused): void {
    // In two steps, so that a failure leaves nothing rather than what was there.
    if (place !== group.place) this.block(group, refused)
    const outcome = this.move(group, place)
    if (outcome !== Outcome.ok) this.refused(group, refused, outcome, NOT_ALL)
  }

  private takeBack(group: BackendGroup, start: number, end: number): boolean {
    const outcome = isTranslating(group) ? group.backend.unmap(start, end) : Outcome.ok
    if (outcome === Outcome.ok) return true
    this.block(group, 'UNMAP')
    this.refused(group, 'UNMAP', outcome, NOT_BACK)
    return false
  }

  private block(group: BackendGroup, refused: Refused): void {
    const outcome = this.move(group, 'block')
    if (outcome !== Outcome.ok) this.refused(group, refused, outcome, NOT_BACK)
  }

  /** Puts a back end somewhere, unless it is there. */
  private move(group: BackendGroup, place: Place): Outcome {
    const { backend, domain } = group
    const outcome = group.place === place ? Outcome.ok : backend.move(targetOf(place))
    if (outcome === Outcome.ok && typeof place === 'object') follow(group, place)
    else if (backend.treatment !== 'translate') follow(group, undefined)
    else assert(domain !== undefined, 'a back end with mappings has those of a domain')
    return outcome
  }

  private refused(group: BackendGroup, refused: Refused, outcome: Outcome, what: string): void {
    const { backend } = group
    const error = backend.error === undefined ? {} : { error: backend.error }
    this.tracer?.({ type: 'backend', name: backend.name, refused, outcome: outcomeName(outcome), ...error })
    const result = backend.treatment === 'block' ? ', and its devices reach nothing' : ''
    this.tell(group, `${what}${result}`, `: ${why(backend, outcome)}`)
  }

  private tell({ backend, warned }: BackendGroup, what: string, reason = ''): void {
    if (warned.has(what)) return
    warned.add(what)
    this.warn(`${backend.name}: ${what}${reason}`)
  }
}

/** It may have lost its mappings since, as hardware that is taken away does. */
function isTranslating({ backend }: BackendGroup): boolean {
  return backend.treatment === 'translate'
}

/** The group has the mappings of `domain` from now on. */
function follow(group: BackendGroup, domain: Domain | undefined): void {
  if (group.domain === domain) return
  group.domain?.unfollow(group)
  group.domain = domain
  domain?.follow(group)
}

function targetOf(place: Place): BackendTarget {
  return typeof place === 'object' ? { treatment: 'translate', mappings: place.all } : { treatment: place }
}

function why({ error }: EndpointBackend, outcome: Outcome): string {
  return error ?? (outcome === Outcome.noMemory ? 'it has no room for more mappings' : outcomeName(outcome))
}
