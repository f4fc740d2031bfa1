/** Writes a trace of the IOMMU by hand: events with times and sequence numbers, as a machine makes them. */
import { hex, type IommuEvent, type StartEndpoint, type Untimed } from '../../src/iommu/events.ts'

/** Fields of a request besides those that every one has. */
export interface RequestFields {
  readonly domain?: number
  readonly endpoint?: number
  readonly start?: number
  readonly end?: number
  readonly phys?: number
  readonly flags?: number
}

/** See above. `at` moves the time on; the rest happens then. */
export class TraceScript {
  readonly events: IommuEvent[] = []
  private nowMs = 0
  private seq = 0

  get lines(): string {
    return this.events.map(event => `${JSON.stringify(event)}\n`).join('')
  }

  at(ms: number): this {
    this.nowMs = ms
    return this
  }

  add(event: Untimed): this {
    const { type, ...fields } = event
    this.events.push({ t: this.nowMs, type, ...fields } as IommuEvent)
    return this
  }

  start(endpoints: readonly StartEndpoint[] = DISK_AND_NET): this {
    return this.add({
      type: 'start',
      version: 1,
      granule: 4096,
      input: ['0x0', '0xffffffffffff'],
      domains: [0, 0xffff_ffff],
      bypass: true,
      endpoints,
    })
  }

  /** A request and its answer, `us` later by its own account. */
  request(request: string, fields: RequestFields, status = 'OK', us = 1): this {
    return this.asked(request, fields).answered(status, us)
  }

  asked(request: string, { start, end, phys, ...fields }: RequestFields): this {
    this.seq++
    return this.add({
      type: 'request',
      seq: this.seq,
      request,
      ...fields,
      ...(start === undefined ? {} : { start: hex(start) }),
      ...(end === undefined ? {} : { end: hex(end) }),
      ...(phys === undefined ? {} : { phys: hex(phys) }),
      bytes: '03000000',
    })
  }

  /** The answer to the last request. */
  answered(status = 'OK', us = 1): this {
    return this.add({ type: 'reply', seq: this.seq, status, written: 4, us })
  }

  attach(endpoint: number, domain: number): this {
    return this.request('ATTACH', { endpoint, domain, flags: 0 })
  }

  detach(endpoint: number, domain: number): this {
    return this.request('DETACH', { endpoint, domain })
  }

  /** Maps `size` bytes. */
  map(domain: number, start: number, size: number, flags = 3): this {
    return this.request('MAP', { domain, start, end: start + size - 1, phys: start + 0x100_0000, flags })
  }

  unmap(domain: number, start: number, size: number): this {
    return this.request('UNMAP', { domain, start, end: start + size - 1 })
  }

  fault(
    address: number,
    access = 'read',
    fields: { reason?: 'unknown' | 'domain' | 'mapping'; domain?: number } = {},
  ): this {
    return this.add({
      type: 'fault',
      endpoint: 8,
      name: 'disk0',
      reason: 'mapping',
      access,
      address: hex(address),
      ...fields,
    })
  }
}

/** Endpoints of a machine with two devices. */
export const DISK_AND_NET = [
  { id: 8, name: 'disk0' },
  { id: 16, name: 'net0' },
] as const
