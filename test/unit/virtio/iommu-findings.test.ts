import { describe, expect, it } from 'vitest'
import { IommuFindings } from '../../../src/virtio/iommu-findings.ts'
import {
  attachRequest,
  DISK,
  detachRequest,
  type IommuDevice,
  type IommuDeviceOptions,
  iommuDevice,
  MSI,
  mapRequest,
  NET,
  probeRequest,
  unmapRequest,
  withByte,
} from '../../support/iommu-device.ts'
import { repeat } from '../../support/repeat.ts'

const [MAP_UNMAP, PROBE] = [4n, 16n]
const [READ, WRITE, MMIO] = [1, 2, 4]
const BYPASS_DOMAIN = 1
const PAGE = 0x1000

/** The disk in domain 1 with one mapping, the network in the bypass domain 2, by the book. */
function setUp(options: IommuDeviceOptions = {}): IommuDevice {
  const bench = iommuDevice(options)
  bench.probe(DISK)
  bench.probe(NET)
  bench.attach(1, DISK)
  bench.attach(2, NET, BYPASS_DOMAIN)
  bench.map(1, 0x1000, 0x2fff, 0xa000, READ | WRITE)
  return bench
}

const map = (start: number, end: number, phys = 0xc000, flags = READ) => mapRequest(1, start, end, phys, flags)
const unmap = (start: number, end: number) => unmapRequest(1, start, end)

describe('VirtioIommu, findings', () => {
  it('has none of a driver that keeps the rules', () => {
    const bench = setUp()
    bench.map(1, 0x3000, 0x3fff, 0xc000, WRITE | MMIO)
    bench.unmap(1, 0x1000, 0xffff)
    bench.map(1, 0x1000, 0x1fff, 0xb000, READ)
    bench.attach(2, DISK, BYPASS_DOMAIN)
    bench.detach(2, DISK)
    bench.detach(2, NET)
    bench.device.writeConfig(36, 1, 1)
    bench.device.writeConfig(36, 1, 0)
    bench.harness.reset()
    bench.harness.activate()
    bench.probe(DISK)
    bench.attach(1, DISK)
    expect(bench.device.findings).toEqual([])
    expect(bench.device.statistics['findings']).toBe(0)
  })

  it.each<[string, Uint8Array, string]>([
    ['head-reserved', withByte(unmap(0x1000, 0x2fff), 2, 1), '§5.13.6.1'],
    ['request-size', Uint8Array.of(...unmap(0x1000, 0x2fff), 0), '§5.13.6'],
    ['request-size', unmap(0x1000, 0x2fff).subarray(0, 24), '§5.13.6'],
    ['request-size', map(2 ** 48, 2 ** 48 + 0xfff).subarray(0, 30), '§5.13.6'],
    ['unknown-type', Uint8Array.of(9, 0, 0, 0), '§5.13.6'],
    ['unknown-endpoint', attachRequest(1, 0x18), '§5.13.6.3'],
    ['unknown-endpoint', detachRequest(1, 0x18), '§5.13.6.3'],
    ['attach-reserved', withByte(attachRequest(1, DISK), 17, 1), '§5.13.6.3.1'],
    ['attach-flags', attachRequest(1, DISK, 2), '§5.13.6.3.2'],
    ['attach-bypass-mismatch', attachRequest(1, NET, BYPASS_DOMAIN), '§5.13.6.3.1'],
    ['attach-bypass-mismatch', attachRequest(2, DISK), '§5.13.6.3.1'],
    ['detach-reserved', withByte(detachRequest(1, DISK), 12, 1), '§5.13.6.4.1'],
    ['detach-reserved', withByte(detachRequest(1, DISK), 18, 1), '§5.13.6.4.1'],
    ['detach-wrong-domain', detachRequest(2, DISK), '§5.13.6.4.2'],
    ['detach-wrong-domain', detachRequest(7, DISK), '§5.13.6.4.2'],
    ['map-flags', map(0x3000, 0x3fff, 0xc000, 9), '§5.13.6.5.1'],
    ['map-no-domain', mapRequest(3, 0x3000, 0x3fff, 0, READ), '§5.13.6.5.2'],
    ['map-bypass-domain', mapRequest(2, 0x3000, 0x3fff, 0, READ), '§5.13.6.5.1'],
    ['map-unaligned', map(0x3000, 0x37ff), '§5.13.6.5.2'],
    ['map-unaligned', map(0x3000, 0x3fff, 0xc001), '§5.13.6.5.2'],
    ['map-unaligned', map(0x3000, 0x3fff, 0xc001, MMIO), '§5.13.6.5.2'],
    ['map-order', map(0x4000, 0x3fff), '§5.13.6.5.1'],
    ['map-overlap', map(0x2000, 0x3fff), '§5.13.6.5.2'],
    ['map-phys', map(0x3000, 0x4fff, 2 ** 52 - PAGE), '§5.13.6.5'],
    ['map-reserved-region', map(MSI.end - 0xfff, MSI.end), '§5.13.6.8.1.1'],
    ['input-range', map(2 ** 48, 2 ** 48 + 0xfff), '§5.13.6.1'],
    ['input-range', unmapRequest(1, 0x1000, 2n ** 64n - 1n), '§5.13.6.1'],
    ['unmap-reserved', withByte(unmap(0x1000, 0x2fff), 27, 1), '§5.13.6.6.1'],
    ['unmap-order', unmap(0x4000, 0x3fff), '§5.13.6.6.1'],
    ['unmap-no-domain', unmapRequest(3, 0, 0xfff), '§5.13.6.6.2'],
    ['unmap-bypass-domain', unmapRequest(2, 0, 0xfff), '§5.13.6.6.1'],
    ['unmap-split', unmap(0x1000, 0x1fff), '§5.13.6.6.1'],
    ['unmap-split', unmap(0x2000, 0x4fff), '§5.13.6.6.1'],
    ['unmap-nothing', unmap(0x3000, 0x4fff), '§5.13.6.6.1'],
  ])('finds %s, and only that, with bytes and section', (name, request, section) => {
    const bench = setUp()
    bench.send(request)
    expect(bench.device.findings).toEqual([
      {
        name,
        section: `VIRTIO 1.2 ${section}`,
        text: expect.stringMatching(/^[A-Za-z].{10}/),
        bytes: Buffer.from(request).toString('hex'),
        seq: 6,
        count: 1,
      },
    ])
  })

  it.each<[string, Uint8Array, IommuDeviceOptions, number, string]>([
    ['map-not-negotiated', map(0, 0xfff), { features: PROBE }, 4, '§5.13.6.5'],
    ['unmap-not-negotiated', unmap(0, 0xfff), { features: PROBE }, 4, '§5.13.6.6'],
    ['probe-not-negotiated', probeRequest(DISK), { features: MAP_UNMAP }, 516, '§5.13.6.7'],
    ['map-mmio-not-negotiated', map(0, 0xfff, 0, MMIO), { mmio: false }, 4, '§5.13.6.5.1'],
    ['attach-bypass-not-negotiated', attachRequest(1, DISK, 1), { features: MAP_UNMAP }, 4, '§5.13.6.3'],
    ['attach-unprobed', attachRequest(1, DISK), {}, 4, '§5.13.5.1'],
    ['no-tail', detachRequest(1, DISK), {}, 3, '§5.13.6'],
    ['request-size', detachRequest(1, DISK), {}, 8, '§5.13.6'],
    ['probe-size', probeRequest(DISK), {}, 515, '§5.13.6.7.1'],
    ['probe-size', probeRequest(DISK), {}, 517, '§5.13.6.7.1'],
    ['probe-reserved', withByte(probeRequest(DISK), 60, 1), {}, 516, '§5.13.6.7.1'],
    ['unknown-endpoint', probeRequest(3), {}, 516, '§5.13.6.3'],
    ['domain-range', attachRequest(9, DISK), { domains: { start: 0, end: 8 } }, 4, '§5.13.6.1'],
    ['domain-range', unmapRequest(9, 0, 0xfff), { domains: { start: 0, end: 8 } }, 4, '§5.13.6.1'],
  ])('finds %s', (name, request, options, room, section) => {
    const bench = iommuDevice(options)
    bench.harness.request(0, { out: [request], in: [room] })
    const found = bench.device.findings.find(finding => finding.name === name)
    expect(found).toMatchObject({
      section: `VIRTIO 1.2 ${section}`,
      bytes: Buffer.from(request).toString('hex'),
      seq: 1,
    })
  })

  it.each([
    ['config-read-only', 0, 8, 1],
    ['config-read-only', 37, 1, 0],
    ['bypass-value', 36, 1, 2],
  ])('finds %s: the configuration at %i is written', (name, offset, size, value) => {
    const bench = setUp()
    bench.device.writeConfig(offset, size, value)
    expect(bench.device.findings).toMatchObject([{ name, section: 'VIRTIO 1.2 §5.13.4.1', bytes: '', count: 1 }])
  })

  it('finds a bypass that is written without negotiation', () => {
    const bench = iommuDevice({ features: MAP_UNMAP | PROBE | 3n })
    bench.device.writeConfig(36, 1, 1)
    expect(bench.broken).toEqual(['bypass-not-negotiated'])
  })

  it.each([
    [3n, 'VIRTIO_IOMMU_F_PROBE'],
    [PROBE, 'VIRTIO_IOMMU_F_INPUT_RANGE, VIRTIO_IOMMU_F_DOMAIN_RANGE'],
  ])('finds the features that a driver should have accepted, with %i', (features, names) => {
    const { device } = iommuDevice({ features })
    expect(device.findings).toMatchObject([{ name: 'feature-declined', text: `the driver declines ${names}` }])
  })

  it('misses no features that are not on offer', () => {
    expect(iommuDevice({ probeSize: 0 }).device.findings).toEqual([])
  })

  it.each<[string, Uint8Array]>([
    ['input-range', unmapRequest(1, 0, 0x2fff)],
    ['domain-range', attachRequest(9, DISK)],
  ])('finds %s only when a driver negotiated that there is one', (name, request) => {
    const ranges = { input: { start: 0x1000, end: 0xffff }, domains: { start: 0, end: 8 } }
    const informed = setUp(ranges)
    const innocent = setUp({ ...ranges, features: MAP_UNMAP | PROBE })
    informed.send(request)
    innocent.send(request)
    expect(informed.broken).toEqual([name])
    expect(innocent.broken).not.toContain(name)
  })

  it('finds a mapping in what an endpoint has reserved, when the endpoint comes later', () => {
    const endpoints = [
      { id: DISK, name: 'disk0', reserved: [] },
      { id: NET, name: 'net0', reserved: [MSI] },
    ]
    const bench = setUp({ endpoints })
    bench.map(1, MSI.start, MSI.end, 0, READ)
    bench.attach(1, NET)
    expect(bench.device.findings).toMatchObject([
      {
        name: 'attach-reserved-region',
        text: 'ATTACH is to domain 1, which maps reserved addresses of endpoint 0x10',
      },
    ])
  })

  it('finds buffers for events that are too small', () => {
    const bench = setUp()
    bench.harness.send(1, { in: [16] })
    bench.canReach(DISK, 0x8000, READ)
    expect(bench.broken).toEqual(['event-buffer-size'])
  })

  it('finds all rules that one request breaks', () => {
    const bench = setUp()
    bench.send(withByte(map(0x1800, 0x1fff, 0xc000, 0x13), 1, 1))
    expect(bench.broken).toEqual(['head-reserved', 'map-flags', 'map-unaligned', 'map-overlap'])
  })

  it('wants endpoints to be probed again after a reset', () => {
    const bench = setUp()
    bench.harness.reset()
    bench.harness.activate()
    bench.attach(1, DISK)
    expect(bench.broken).toEqual(['attach-unprobed'])
  })

  it('says what, and counts the same again', () => {
    const bench = setUp()
    repeat(3, turn => bench.map(1, 0x2000, 0x2fff + PAGE * turn, 0xb000, READ))
    expect(bench.device.findings).toEqual([
      {
        name: 'map-overlap',
        section: 'VIRTIO 1.2 §5.13.6.5.2',
        text: 'MAP of 0x2000-0x2fff to 0xb000 overlaps a mapping in domain 1',
        bytes: '03000000010000000020000000000000ff2f00000000000000b000000000000001000000',
        seq: 6,
        count: 3,
      },
    ])
    expect(bench.device.statistics['findings']).toBe(3)
  })

  it('survives a reset, and says it to the log and to whoever asked', () => {
    const told: string[] = []
    const bench = setUp({ onFinding: ({ name }) => void told.push(name) })
    repeat(2, () => bench.unmap(7, 0, 0xfff))
    bench.harness.reset()
    expect(bench.broken).toEqual(['unmap-no-domain'])
    expect(told).toEqual(['unmap-no-domain'])
    expect(bench.harness.logged[0]).toBe(
      'the driver breaks VIRTIO 1.2 §5.13.6.6.2 (unmap-no-domain): UNMAP is about domain 7, which does not exist',
    )
  })

  it('is data that can be sent to another thread', () => {
    const bench = setUp()
    bench.unmap(7, 0, 0xfff)
    expect(structuredClone(bench.device.findings)).toEqual(bench.device.findings)
  })
})

describe('IommuFindings', () => {
  it('asks for a text only when it is going to be read', () => {
    let asked = 0
    const text = () => `text ${++asked}`
    let tracer: (() => void) | undefined
    const findings = new IommuFindings(
      () => {},
      () => tracer,
    )
    repeat(3, () => findings.add('map-overlap', text))
    expect(asked).toBe(1)
    tracer = () => {}
    findings.add('map-overlap', text)
    expect([asked, findings.total, findings.list[0]?.text]).toEqual([2, 4, 'text 1'])
  })
})
