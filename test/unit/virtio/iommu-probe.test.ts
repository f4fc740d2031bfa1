/** Statements 38-45 on the virtio-iommu: PROBE and reserved regions. VIRTIO 1.2 §5.13.6.7, §5.13.6.8. */
import { describe, expect, it } from 'vitest'
import type { ReservedRegion } from '../../../src/iommu/reserved-region.ts'
import { Access } from '../../../src/memory/dma-space.ts'
import { DISK, iommuDevice, MSI, NET, probeRequest, withByte } from '../../support/iommu-device.ts'

const [OK, DEVERR, INVAL, NOENT] = [0, 3, 4, 6]
const UNTOUCHED = 0xee
const TAIL = 4

const LOW = { kind: 'reserved', start: 0x1000, end: 0x2fff } as const
const HIGH = { kind: 'reserved', start: 2 ** 47, end: 2 ** 48 - 1 } as const

function setUp(reserved: readonly ReservedRegion[], probeSize = 512) {
  const endpoints = [
    { id: DISK, name: 'disk0', reserved },
    { id: NET, name: 'net0', reserved: [] },
  ]
  return iommuDevice({ endpoints, probeSize })
}

/** The list of properties as a driver walks it. */
function properties(bytes: Uint8Array) {
  const view = new DataView(bytes.slice().buffer)
  const starts = Array.from({ length: bytes.length / 24 }, (_, i) => 24 * i)
  return starts
    .filter(at => view.getUint16(at, true) !== 0)
    .map(at => ({
      at,
      type: view.getUint16(at, true),
      length: view.getUint16(at + 2, true),
      subtype: view.getUint8(at + 4),
      reserved: view.getUint8(at + 5) + view.getUint16(at + 6, true),
      start: view.getBigUint64(at + 8, true),
      end: view.getBigUint64(at + 16, true),
    }))
}

const answered = (status: number, probeSize = 512) => ({
  status,
  written: probeSize + TAIL,
  tail: Uint8Array.of(status, 0, 0, 0),
})

describe('VirtioIommu, PROBE', () => {
  it('tells the reserved regions of an endpoint', () => {
    const bench = setUp([LOW, MSI, HIGH])
    const answer = bench.probe(DISK)
    expect(answer).toMatchObject(answered(OK))
    expect(properties(answer.properties)).toEqual([
      { at: 0, type: 1, length: 20, subtype: 0, reserved: 0, start: 0x1000n, end: 0x2fffn },
      { at: 24, type: 1, length: 20, subtype: 1, reserved: 0, start: 0xfee0_0000n, end: 0xfeef_ffffn },
      { at: 48, type: 1, length: 20, subtype: 0, reserved: 0, start: 2n ** 47n, end: 2n ** 48n - 1n },
    ])
  })

  it('tells of each endpoint its own', () => {
    const bench = setUp([LOW])
    expect(properties(bench.probe(DISK).properties)).toHaveLength(1)
    expect(properties(bench.probe(NET).properties)).toEqual([])
  })

  it('tells the same in whatever domain the endpoint is', () => {
    const bench = setUp([LOW])
    const before = bench.probe(DISK)
    bench.attach(1, DISK)
    expect(bench.probe(DISK)).toEqual(before)
  })

  it.each([8, 40, 71])('38: ignores the reserved byte %i', offset => {
    const bench = setUp([MSI])
    const answer = bench.send(withByte(probeRequest(DISK), offset, 0xff), 512 + TAIL)
    expect(answer).toMatchObject(answered(OK))
    expect(properties(answer.properties)).toHaveLength(1)
  })

  it.each([0, 0x09, 0xf8, 0xffff_ffff])('39: of the unknown endpoint %i is NOENT, with no property', endpoint => {
    const answer = setUp([MSI]).probe(endpoint)
    expect(answer).toMatchObject({ ...answered(NOENT), properties: new Uint8Array(512) })
  })

  it('40: has used length 0 and is not written when the feature is not on offer', () => {
    const answer = setUp([MSI], 0).send(probeRequest(DISK), 512 + TAIL)
    expect(answer).toMatchObject({ status: undefined, written: 0, properties: new Uint8Array(512).fill(UNTOUCHED) })
  })

  it('41: a property’s length leaves its header out, and the next one follows it', () => {
    const found = properties(setUp([LOW, MSI]).probe(DISK).properties)
    expect(found.map(({ length }) => length)).toEqual([20, 20])
    expect(found[1]?.at).toBe((found[0]?.length ?? 0) + 4)
  })

  it.each([0, 1, 24, 511])('42: is INVAL and writes no property when there are %i bytes for 512', size => {
    const answer = setUp([MSI]).send(probeRequest(DISK), size + TAIL)
    expect(answer.tail).toEqual(Uint8Array.of(INVAL, 0, 0, 0))
    expect(answer.properties).toEqual(new Uint8Array(size).fill(UNTOUCHED))
    // Nothing is written from the start on.
    expect(answer.written).toBe(0)
  })

  it('42: with more room than that, the tail follows the properties and the rest stays', () => {
    const { in: inputs, written } = setUp([MSI], 24).harness.request(0, { out: [probeRequest(DISK)], in: [24, 4, 8] })
    expect(written).toBe(28)
    expect(inputs.slice(1)).toEqual([new Uint8Array(4), new Uint8Array(8).fill(UNTOUCHED)])
  })

  it('42: the room may come in pieces', () => {
    const { in: inputs, written } = setUp([MSI], 24).harness.request(0, {
      out: [probeRequest(DISK).subarray(0, 5), probeRequest(DISK).subarray(5)],
      in: [1, 22, 3, 2],
    })
    expect(written).toBe(28)
    expect([inputs[0], inputs[3]]).toEqual([Uint8Array.of(1), new Uint8Array(2)])
  })

  it('43: zeroes what is not filled with properties', () => {
    const { properties: bytes } = setUp([MSI]).probe(DISK)
    expect(bytes.subarray(24)).toEqual(new Uint8Array(488))
  })

  it('43: fills the room with properties to its end', () => {
    const answer = setUp([LOW, MSI], 48).probe(DISK)
    expect(answer).toMatchObject(answered(OK, 48))
    expect(properties(answer.properties)).toHaveLength(2)
  })

  it('44: tells one region for MSIs, and none that overlaps another', () => {
    const found = properties(setUp([LOW, MSI, HIGH]).probe(DISK).properties)
    expect(found.filter(({ subtype }) => subtype === 1)).toHaveLength(1)
    const ends = found.map(({ end }) => end)
    expect(found.slice(1).every(({ start }, i) => start > (ends[i] as bigint))).toBe(true)
  })

  it('is DEVERR, rather than half of the truth, when the regions have no room', () => {
    expect(setUp([LOW, MSI], 24).probe(DISK)).toMatchObject({ ...answered(DEVERR, 24), properties: new Uint8Array(24) })
  })

  it('is INVAL when the request is too short', () => {
    const answer = setUp([MSI]).send(probeRequest(DISK).subarray(0, 71), 512 + TAIL)
    expect(answer).toMatchObject({ ...answered(INVAL), properties: new Uint8Array(512) })
  })
})

describe('VirtioIommu, RESV_MEM', () => {
  it.each([
    ['in bypass mode', true, 0],
    ['in a domain', false, 0],
    ['in a bypass domain', false, 1],
  ])('45: accesses to reserved regions get nowhere %s', (_, bypass, flags) => {
    const endpoints = [{ id: DISK, name: 'disk0', reserved: [LOW, MSI] }]
    const bench = iommuDevice({ endpoints, bypass })
    bench.attach(1, DISK, flags)
    expect(bench.canReach(DISK, LOW.start, Access.read)).toBe(false)
    expect(bench.canReach(DISK, LOW.end, Access.write)).toBe(false)
    expect(bench.canReach(DISK, MSI.start, Access.write)).toBe(false)
    expect(bench.iommu.endpoint(DISK)?.faults).toBe(3)
  })
})
