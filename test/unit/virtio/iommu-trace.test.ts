import { describe, expect, it } from 'vitest'
import { Access } from '../../../src/memory/dma-space.ts'
import {
  attachRequest,
  DISK,
  detachRequest,
  type IommuDevice,
  iommuDevice,
  mapRequest,
  probeRequest,
  unmapRequest,
} from '../../support/iommu-device.ts'

const READ = 1

/** Events of the front end: the core's are elsewhere. */
function events({ events: all }: IommuDevice) {
  return all.filter(({ type }) => type !== 'fault' && type !== 'invalidation')
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

describe('VirtioIommu, trace', () => {
  it.each([
    ['ATTACH', attachRequest(7, DISK, 1), { domain: 7, endpoint: 8, flags: 1 }],
    ['DETACH', detachRequest(7, DISK), { domain: 7, endpoint: 8 }],
    [
      'MAP',
      mapRequest(7, 0x1000, 2n ** 64n - 1n, 2n ** 63n + 1n, 3),
      { domain: 7, start: '0x1000', end: '0xffffffffffffffff', phys: '0x8000000000000001', flags: 3 },
    ],
    ['UNMAP', unmapRequest(7, 0, 0xfff), { domain: 7, start: '0x0', end: '0xfff' }],
    ['PROBE', probeRequest(DISK), { endpoint: 8 }],
  ])('has %s with its fields and bytes', (request, bytes, fields) => {
    const bench = iommuDevice().trace()
    bench.send(bytes, 516)
    expect(events(bench)[0]).toEqual({ type: 'request', seq: 1, request, ...fields, bytes: hex(bytes) })
  })

  it('has no fields of a request that is too short', () => {
    const bench = iommuDevice().trace()
    const bytes = attachRequest(7, DISK).subarray(0, 10)
    bench.send(bytes)
    expect(events(bench)[0]).toEqual({ type: 'request', seq: 1, request: 'ATTACH', bytes: hex(bytes) })
  })

  it('has the first 76 bytes of a request that is too long', () => {
    const bench = iommuDevice().trace()
    const bytes = Uint8Array.of(...probeRequest(DISK), 1, 2, 3, 4, 5)
    bench.send(bytes, 516)
    expect(events(bench)[0]).toMatchObject({ request: 'PROBE', endpoint: 8, bytes: hex(bytes.subarray(0, 76)) })
  })

  it('has a request of no known type, without what the one before it had', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.trace().send(Uint8Array.of(0x12))
    expect(events(bench)[0]).toEqual({ type: 'request', seq: 2, request: '0x12', bytes: '12' })
  })

  it('has an answer for each request, and findings in between', () => {
    const bench = iommuDevice().trace()
    bench.probe(DISK)
    bench.attach(1, DISK)
    bench.unmap(1, 0, 0xfff)
    bench.send(Uint8Array.of(9))
    expect(events(bench).map(event => [event.type, 'seq' in event && event.seq])).toEqual([
      ['request', 1],
      ['reply', 1],
      ['request', 2],
      ['reply', 2],
      ['request', 3],
      ['finding', 3],
      ['reply', 3],
      ['request', 4],
      ['finding', 4],
      ['reply', 4],
    ])
  })

  it('has status, used length and time of an answer', () => {
    const bench = iommuDevice().trace()
    bench.probe(DISK)
    bench.attach(1, 0x18)
    bench.send(Uint8Array.of(9))
    const us = expect.any(Number)
    expect(events(bench).filter(({ type }) => type === 'reply')).toEqual([
      { type: 'reply', seq: 1, status: 'OK', written: 516, us },
      { type: 'reply', seq: 2, status: 'NOENT', written: 4, us },
      { type: 'reply', seq: 3, written: 0, us },
    ])
  })

  it('has every breach of a rule, and not only the first', () => {
    const bench = iommuDevice().trace()
    bench.unmap(1, 0, 0xfff)
    bench.unmap(2, 0, 0xfff)
    expect(events(bench).filter(({ type }) => type === 'finding')).toMatchObject([
      { name: 'unmap-no-domain', text: 'UNMAP is about domain 1, which does not exist', seq: 1 },
      { name: 'unmap-no-domain', text: 'UNMAP is about domain 2, which does not exist', seq: 2 },
    ])
  })

  it('has the life of the device', () => {
    const bench = iommuDevice().trace()
    bench.device.writeConfig(36, 1, 1)
    bench.device.writeConfig(36, 1, 0)
    bench.harness.reset()
    bench.harness.activate()
    expect(events(bench)).toEqual([
      { type: 'bypass', value: '1' },
      { type: 'bypass', value: '0' },
      { type: 'reset' },
      { type: 'features', value: '0x100000077' },
    ])
  })

  it('has the faults that the driver does not hear of', () => {
    const bench = iommuDevice().trace()
    bench.canReach(DISK, 0x5008, Access.read)
    expect(events(bench)).toEqual([
      { type: 'drop', endpoint: 8, address: '0x5008', cause: 'the driver has no buffer in the event queue' },
    ])
  })

  it('has no answer to a request that it does not have', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.map(1, 0, 0xfff, 0, READ)
    const user = { keeps: () => false, isBusy: () => isBusy }
    let isBusy = true
    const { space } = bench.iommu.endpoint(DISK)!
    space.addUser(user)
    bench.post(unmapRequest(1, 0, 0xfff))
    bench.trace()
    isBusy = false
    space.released()
    bench.tasks.runAll()
    expect(bench.answers()).toHaveLength(1)
    expect(events(bench)).toEqual([])
  })

  it('numbers requests whether it has them or not', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.trace().detach(1, DISK)
    expect(events(bench)).toMatchObject([{ seq: 2 }, { seq: 2 }])
  })
})
