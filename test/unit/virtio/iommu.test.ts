/** Statements 1-23 on the virtio-iommu: the device as a whole, ATTACH and DETACH. VIRTIO 1.2 §5.13.3 to §5.13.6.4. */
import { describe, expect, it } from 'vitest'
import { Access } from '../../../src/memory/dma-space.ts'
import { Extents } from '../../../src/memory/extents.ts'
import {
  attachRequest,
  DISK,
  detachRequest,
  iommuDevice,
  MSI,
  mapRequest,
  NET,
  probeRequest,
  unmapRequest,
  withByte,
} from '../../support/iommu-device.ts'
import { HIGH_START } from '../../support/virtio-memory.ts'

const [OK, UNSUPP, INVAL, RANGE, NOENT] = [0, 2, 4, 5, 6]
const [INPUT_RANGE, DOMAIN_RANGE, MAP_UNMAP, BYPASS, PROBE, MMIO, BYPASS_CONFIG] = [1n, 2n, 4n, 8n, 16n, 32n, 64n]
const [READ, WRITE] = [1, 2]
/** ATTACH's flag. */
const BYPASS_DOMAIN = 1
const CONFIG_BYPASS = 36

/** Fields of struct virtio_iommu_config. */
function config({ config: bytes }: { readonly config: Uint8Array }) {
  const view = new DataView(bytes.slice().buffer)
  return {
    pageSizeMask: view.getBigUint64(0, true),
    input: [view.getBigUint64(8, true), view.getBigUint64(16, true)],
    domains: [view.getUint32(24, true), view.getUint32(28, true)],
    probeSize: view.getUint32(32, true),
    bypass: view.getUint8(36),
    rest: view.getUint8(37) + view.getUint16(38, true),
  }
}

const answered = (status: number) => ({ status, written: 4, tail: Uint8Array.of(status, 0, 0, 0) })
const untouched = { status: undefined, written: 0, tail: Uint8Array.of(0xee, 0xee, 0xee, 0xee) }

describe('VirtioIommu', () => {
  it('is what a PCI driver looks for', () => {
    const { device } = iommuDevice()
    expect([device.id, device.classCode, device.queueSizes]).toEqual([23, 0x00ff00, [256, 64]])
  })

  it.each([
    ['by default', {}, INPUT_RANGE | DOMAIN_RANGE | MAP_UNMAP | PROBE | MMIO | BYPASS_CONFIG],
    ['without PROBE', { probeSize: 0 }, INPUT_RANGE | DOMAIN_RANGE | MAP_UNMAP | MMIO | BYPASS_CONFIG],
    ['without MMIO', { mmio: false }, INPUT_RANGE | DOMAIN_RANGE | MAP_UNMAP | PROBE | BYPASS_CONFIG],
    ['for old drivers', { legacyBypass: true }, INPUT_RANGE | DOMAIN_RANGE | MAP_UNMAP | PROBE | MMIO | BYPASS],
  ])('1: offers MAP_UNMAP, and one bypass feature, %s', (_, options, features) => {
    expect(iommuDevice(options).device.features).toBe(features)
  })

  it.each([
    ['4 KiB', 2 ** 12, 0x4020_1000n],
    ['64 KiB', 2 ** 16, 0x4021_0000n],
    ['2 MiB', 2 ** 21, 0x4020_0000n],
    ['1 GiB', 2 ** 30, 0x4000_0000n],
  ])('2: page_size_mask has the granule %s as its lowest bit', (_, granule, mask) => {
    expect(config(iommuDevice({ granule }).device).pageSizeMask).toBe(mask)
  })

  it('tells its ranges and sizes', () => {
    const options = { input: { start: 0x1000, end: 2 ** 52 - 1 }, domains: { start: 7, end: 0xffff_fff0 } }
    expect(config(iommuDevice({ ...options, probeSize: 64, bypass: true }).device)).toEqual({
      pageSizeMask: 0x4020_1000n,
      input: [0x1000n, 2n ** 52n - 1n],
      domains: [7, 0xffff_fff0],
      probeSize: 64,
      bypass: 1,
      rest: 0,
    })
  })

  it.each([
    [1, false, 1],
    [0, true, 0],
    [2, true, 1],
    [0xff, false, 0],
    [0x80, true, 1],
  ])('3: bypass reads 0 or 1 after %i was written', (value, bypass, expected) => {
    const { device, iommu } = iommuDevice({ bypass })
    device.writeConfig(CONFIG_BYPASS, 1, value)
    expect([config(device).bypass, iommu.bypass]).toEqual([expected, expected === 1])
  })

  it('3: bypass survives a reset of the device', () => {
    const { device, harness, iommu } = iommuDevice({ bypass: true })
    device.writeConfig(CONFIG_BYPASS, 1, 0)
    expect(harness.reset()).toBe(true)
    expect([config(device).bypass, iommu.bypass]).toEqual([0, false])
  })

  it('3: bypass is not to be written after a reset', () => {
    const { device, harness } = iommuDevice()
    harness.reset()
    device.writeConfig(CONFIG_BYPASS, 1, 1)
    expect(config(device).bypass).toBe(0)
  })

  it('3: bypass has its initial value in a new machine', () => {
    iommuDevice({ bypass: true }).device.writeConfig(CONFIG_BYPASS, 1, 0)
    expect(config(iommuDevice({ bypass: true }).device).bypass).toBe(1)
  })

  it.each([
    ['without the feature', { features: MAP_UNMAP }, CONFIG_BYPASS],
    ['before it is negotiated', { isIdle: true }, CONFIG_BYPASS],
    ['elsewhere', {}, CONFIG_BYPASS - 1],
  ])('3: ignores what is written %s', (_, options, offset) => {
    const bench = iommuDevice(options)
    const before = config(bench.device)
    bench.device.writeConfig(offset, 1, 1)
    expect(config(bench.device)).toEqual(before)
  })

  it('4: no endpoint is attached after a reset, and no mapping is left', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.attach(2, NET)
    bench.map(1, 0, 0xfff, 0, READ)
    expect(bench.harness.reset()).toBe(true)
    expect(bench.domains).toEqual([])
    expect(bench.iommu.state().counters.mappings).toBe(0)
    expect(bench.canReach(DISK, 0, Access.read)).toBe(false)
  })

  it.each([0, 1, 3])('5: gives a request back unwritten when there are %i bytes for the tail', room => {
    const bench = iommuDevice()
    const used = bench.harness.request(0, { out: [attachRequest(1, DISK)], in: [room] })
    expect(used).toMatchObject({ written: 0, in: [new Uint8Array(room).fill(0xee)] })
    expect(bench.domains).toEqual([])
  })

  it('5: gives a request without any readable byte back unwritten', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    expect(bench.harness.request(0, { in: [8] })).toMatchObject({ written: 0, in: [new Uint8Array(8).fill(0xee)] })
  })

  it.each([
    ['ATTACH', attachRequest(1, DISK).subarray(0, 19)],
    ['DETACH', detachRequest(1, DISK).subarray(0, 4)],
    ['MAP', mapRequest(1, 0, 0xfff, 0, READ).subarray(0, 35)],
    ['UNMAP', unmapRequest(1, 0, 0xfff).subarray(0, 27)],
    ['a single byte of ATTACH', attachRequest(1, DISK).subarray(0, 1)],
  ])('5: refuses %s that is too short, and does not do it', (_, request) => {
    const bench = iommuDevice()
    bench.attach(1, NET)
    const before = bench.iommu.state()
    expect(bench.send(request)).toMatchObject(answered(INVAL))
    expect(bench.iommu.state()).toEqual(before)
  })

  it.each([0, 6, 0x80, 0xff])('6: a request of the unknown type %i has used length 0', type => {
    const bench = iommuDevice()
    expect(bench.send(withByte(attachRequest(1, DISK), 0, type))).toMatchObject(untouched)
    expect(bench.domains).toEqual([])
  })

  it.each([
    ['MAP', PROBE, mapRequest(1, 0, 0xfff, 0, READ)],
    ['UNMAP', PROBE, unmapRequest(1, 0, 0xfff)],
    ['PROBE', MAP_UNMAP, probeRequest(DISK)],
  ])('6: %s that was not negotiated is not recognized either', (_, features, request) => {
    const bench = iommuDevice({ features })
    bench.attach(1, DISK)
    expect(bench.send(request, 516)).toMatchObject({ ...untouched, properties: new Uint8Array(512).fill(0xee) })
    expect(bench.mappings(1)).toEqual([])
  })

  it.each([1, 2, 3])('7: ignores byte %i of the head, and zeroes the reserved bytes of the tail', offset => {
    const bench = iommuDevice()
    expect(bench.send(withByte(attachRequest(1, DISK), offset, 0xff))).toMatchObject(answered(OK))
    expect(bench.domains).toEqual([[1, [DISK]]])
  })

  it('8: an endpoint in no domain reaches nothing without bypass', () => {
    const bench = iommuDevice({ bypass: false })
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(false)
    expect(bench.iommu.endpoint(DISK)?.faults).toBe(1)
  })

  it('8: an endpoint in no domain reaches nothing when bypass is written 0', () => {
    const bench = iommuDevice({ bypass: true })
    bench.device.writeConfig(CONFIG_BYPASS, 1, 0)
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(false)
  })

  it('9: an initial bypass holds when the driver does not accept the feature', () => {
    const bench = iommuDevice({ bypass: true, features: MAP_UNMAP })
    expect(config(bench.device).bypass).toBe(1)
    expect(bench.canReach(DISK, 0x1000, Access.write)).toBe(true)
  })

  it.each([
    ['bypass', BYPASS | MAP_UNMAP, true],
    ['do not bypass', MAP_UNMAP, false],
  ])('9: with the old feature endpoints %s if it is accepted, until the reset', (_, features, expected) => {
    const bench = iommuDevice({ legacyBypass: true, bypass: true, features, isIdle: true })
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(false)
    bench.harness.activate()
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(expected)
    expect(config(bench.device).bypass).toBe(0)
    bench.harness.reset()
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(false)
  })

  it.each([
    ['in no domain', { bypass: true }, attachRequest(1, NET)],
    ['in a bypass domain', {}, attachRequest(1, DISK, BYPASS_DOMAIN)],
  ])('10: bypass is the identity for an endpoint %s', (_, options, request) => {
    const bench = iommuDevice(options)
    bench.send(request)
    const extents = new Extents(bench.memory.memory)
    const { space } = bench.iommu.endpoint(DISK)!
    expect(space.translate(HIGH_START + 5, 3, Access.write, extents)).toBe(true)
    expect([extents.count, extents.start(0), extents.length(0)]).toEqual([1, HIGH_START + 5, 3])
  })
})

describe('VirtioIommu, ATTACH', () => {
  it.each([16, 17, 18, 19])('11: is INVAL with byte %i, a reserved one, set', offset => {
    const bench = iommuDevice()
    expect(bench.send(withByte(attachRequest(1, DISK), offset, 1))).toMatchObject(answered(INVAL))
    expect(bench.domains).toEqual([])
  })

  it.each([2, 3, 0x100, 0x8000_0000])('12: is INVAL with flags %i', flags => {
    const bench = iommuDevice()
    expect(bench.attach(1, DISK, flags)).toMatchObject(answered(INVAL))
    expect(bench.domains).toEqual([])
  })

  it('12: is INVAL with the bypass flag when the feature was not negotiated', () => {
    const bench = iommuDevice({ features: MAP_UNMAP })
    expect(bench.attach(1, DISK, BYPASS_DOMAIN)).toMatchObject(answered(INVAL))
    expect(bench.domains).toEqual([])
  })

  it.each([0, 0x09, 0xf8, 0x1_0008, 0xffff_ffff])('13: of the unknown endpoint %i is NOENT', endpoint => {
    const bench = iommuDevice()
    expect(bench.attach(1, endpoint)).toMatchObject(answered(NOENT))
    expect(bench.domains).toEqual([])
  })

  it.each([0, 1, 0x8000_0000, 0xffff_ffff])('14: creates the domain %i', id => {
    const bench = iommuDevice()
    expect(bench.attach(id, DISK)).toMatchObject(answered(OK))
    expect(bench.iommu.state().domains).toMatchObject([{ id, bypass: false, endpoints: [DISK], mappings: 0 }])
  })

  it('14: creates a bypass domain', () => {
    const bench = iommuDevice()
    expect(bench.attach(1, DISK, BYPASS_DOMAIN)).toMatchObject(answered(OK))
    expect(bench.iommu.state().domains).toMatchObject([{ id: 1, bypass: true, endpoints: [DISK] }])
  })

  it.each([4, 9])('14: is RANGE for domain %i outside of 5 to 8', id => {
    const bench = iommuDevice({ domains: { start: 5, end: 8 } })
    expect(bench.attach(id, DISK)).toMatchObject(answered(RANGE))
    expect(bench.domains).toEqual([])
  })

  it('15: puts several endpoints into one domain, with the same mappings', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    expect(bench.attach(1, NET)).toMatchObject(answered(OK))
    expect(bench.domains).toEqual([[1, [DISK, NET]]])
    expect(bench.translate(NET, 0x1234, Access.read)).toBe(0xa234)
  })

  it.each([
    ['with the bypass flag to a domain that is none', 0, BYPASS_DOMAIN],
    ['without it to a bypass domain', BYPASS_DOMAIN, 0],
  ])('16: is INVAL %s', (_, first, second) => {
    const bench = iommuDevice()
    bench.attach(1, DISK, first)
    bench.attach(2, NET)
    expect(bench.attach(1, NET, second)).toMatchObject(answered(INVAL))
    expect(bench.domains).toEqual([
      [1, [DISK]],
      [2, [NET]],
    ])
  })

  it('17: of an attached endpoint detaches it first', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    expect(bench.attach(2, DISK)).toMatchObject(answered(OK))
    expect(bench.domains).toEqual([[2, [DISK]]])
    expect(bench.iommu.state().counters.mappings).toBe(0)
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(false)
  })

  it('17: to the domain that the endpoint is in already keeps its mappings', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    expect(bench.attach(1, DISK)).toMatchObject(answered(OK))
    expect(bench.translate(DISK, 0x1000, Access.read)).toBe(0xa000)
  })

  it('18: is UNSUPP when the domain maps what the endpoint has reserved', () => {
    const endpoints = [
      { id: DISK, name: 'disk0', reserved: [] },
      { id: NET, name: 'net0', reserved: [MSI] },
    ]
    const bench = iommuDevice({ endpoints })
    bench.attach(1, DISK)
    bench.map(1, MSI.start, MSI.start + 0xfff, 0, READ)
    expect(bench.attach(1, NET)).toMatchObject(answered(UNSUPP))
    expect(bench.domains).toEqual([[1, [DISK]]])
  })
})

describe('VirtioIommu, DETACH', () => {
  it.each([12, 13, 19])('19: ignores the reserved byte %i', offset => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    expect(bench.send(withByte(detachRequest(1, DISK), offset, 0xff))).toMatchObject(answered(OK))
    expect(bench.domains).toEqual([])
  })

  it('20: of an unknown endpoint is NOENT', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    expect(bench.detach(1, 0x18)).toMatchObject(answered(NOENT))
    expect(bench.domains).toEqual([[1, [DISK]]])
  })

  it.each([
    ['a domain that does not exist', 3, DISK],
    ['a domain that it is not in', 2, DISK],
  ])('21: from %s is INVAL', (_, domain, endpoint) => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.attach(2, NET)
    expect(bench.detach(domain, endpoint)).toMatchObject(answered(INVAL))
    expect(bench.domains).toEqual([
      [1, [DISK]],
      [2, [NET]],
    ])
  })

  it('22: takes the mappings away before it is answered, for this endpoint only', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.attach(1, NET)
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ | WRITE)
    expect(bench.detach(1, DISK)).toMatchObject(answered(OK))
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(false)
    expect(bench.canReach(NET, 0x1000, Access.read)).toBe(true)
  })

  it('22: leaves the endpoint in bypass mode if that is what endpoints in no domain are in', () => {
    const bench = iommuDevice({ bypass: true })
    bench.attach(1, DISK)
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(false)
    bench.detach(1, DISK)
    expect(bench.translate(DISK, 0x1000, Access.read)).toBe(0x1000)
  })

  it('23: of the last endpoint ends the domain and its mappings, and its id can be used again', () => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    bench.detach(1, DISK)
    expect(bench.domains).toEqual([])
    expect(bench.iommu.state().counters.mappings).toBe(0)
    expect(bench.attach(1, DISK, BYPASS_DOMAIN)).toMatchObject(answered(OK))
    expect(bench.iommu.state().domains).toMatchObject([{ id: 1, bypass: true }])
  })
})
