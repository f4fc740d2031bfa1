import { describe, expect, it } from 'vitest'
import { createPci } from '../../../src/arch/devices.ts'
import { Bus } from '../../../src/bus/bus.ts'
import { busCount, planPlaces, positions, requesterIds, type SlotOptions } from '../../../src/machine/slots.ts'
import { FakePciHost } from '../../support/pci-host.ts'
import { testBar, testEndpoint } from '../../support/pci-machine.ts'
import { Random } from '../../support/random.ts'

const ROOT = { rootPorts: false, pciBridge: false }
const PORTS = { rootPorts: true, pciBridge: false }
const BRIDGE = { rootPorts: false, pciBridge: true }
const flags = (count: number, seed: number) => {
  const random = new Random(seed)
  return Array.from({ length: count }, () => random.below(2) === 0)
}

describe('planPlaces', () => {
  it.each([
    { options: ROOT, isBehind: undefined, places: ['root', 'root'] },
    { options: ROOT, isBehind: [true, false], places: ['root', 'root'] },
    { options: PORTS, isBehind: [true, false], places: ['port', 'port'] },
    { options: BRIDGE, isBehind: undefined, places: ['bridge', 'bridge'] },
    { options: BRIDGE, isBehind: [true, false], places: ['bridge', 'root'] },
  ])('gives $places', ({ options, isBehind, places }) => {
    expect(planPlaces(2, options, isBehind)).toEqual(places)
  })

  it.each([
    { options: BRIDGE, isBehind: undefined, places: ['bridge', 'root'] },
    { options: BRIDGE, isBehind: [true, true], places: ['bridge', 'root'] },
    { options: PORTS, isBehind: [true, true], places: ['port', 'port'] },
  ])('keeps PCI Express off a conventional bus: $places', ({ options, isBehind, places }) => {
    expect(planPlaces(2, options, isBehind, [false, true])).toEqual(places)
  })

  it.each([
    { options: ROOT, most: 31, isBehind: undefined },
    { options: ROOT, most: 30, isBehind: [] },
    { options: PORTS, most: 30, isBehind: [] },
    { options: BRIDGE, most: 32, isBehind: undefined },
    { options: BRIDGE, most: 29, isBehind: Array.from({ length: 32 }, () => false) },
  ])('has room for $most devices', ({ options, most, isBehind }) => {
    expect(planPlaces(most, options, isBehind).length).toBe(most)
    expect(() => planPlaces(most + 1, options, isBehind)).toThrow(
      new RegExp(`^this machine has room for ${most} PCI devices .*, not ${most + 1}$`),
    )
  })

  it.each([
    { options: ROOT, places: ['root', 0, 'root', 'root', 2] },
    { options: PORTS, places: ['port', 0, 'port', 'port', 2] },
    { options: BRIDGE, places: ['root', 0, 'root', 'bridge', 2] },
  ])('makes functions of one device of what the host cannot tell apart: $places', ({ options, places }) => {
    const isExpress = [true, true, true, false, true]
    expect(planPlaces(5, options, undefined, isExpress, [7, 7, 9, undefined, 9])).toEqual(places)
  })

  it('takes eight functions of a host group, and no more', () => {
    const groups = (count: number) => Array.from({ length: count }, () => 7)
    expect(planPlaces(8, ROOT, undefined, [], groups(8))).toEqual(['root', 0, 0, 0, 0, 0, 0, 0])
    expect(() => planPlaces(9, ROOT, undefined, [], groups(9))).toThrow('more than 8 devices are of host group 7')
  })

  it('refuses root ports together with a bridge', () => {
    expect(() => planPlaces(1, { rootPorts: true, pciBridge: true })).toThrow('not both')
  })
})

describe('busCount', () => {
  it.each([
    { options: ROOT, count: 1 },
    { options: PORTS, count: 4 },
    { options: BRIDGE, count: 2 },
  ])('is $count for three devices ($options)', ({ options, count }) => {
    expect(busCount(planPlaces(3, options), options)).toBe(count)
  })
})

describe('requesterIds', () => {
  const cases: readonly {
    name: string
    options: SlotOptions
    count: number
    isBehind?: readonly boolean[] | undefined
    groups?: readonly (number | undefined)[]
  }[] = [
    { name: 'on the root bus', options: ROOT, count: 30, isBehind: flags(30, 1) },
    { name: 'behind root ports', options: PORTS, count: 30, isBehind: flags(30, 2) },
    { name: 'behind a bridge', options: BRIDGE, count: 31, isBehind: undefined },
    ...[3, 4, 5].map(seed => ({
      name: `some behind a bridge (seed ${seed})`,
      options: BRIDGE,
      count: 20 + seed,
      isBehind: flags(20 + seed, seed),
    })),
    { name: 'none behind a bridge', options: BRIDGE, count: 3, isBehind: [false, false, false] },
    { name: 'of host groups on the root bus', options: ROOT, count: 6, groups: [7, undefined, 9, 7, 9, 7] },
    { name: 'of host groups behind root ports', options: PORTS, count: 6, groups: [7, undefined, 9, 7, 9, 7] },
  ]

  it.each(cases)('are those of real functions $name', ({ options, count, isBehind, groups }) => {
    const places = planPlaces(count, options, isBehind, [], groups)
    const host = new FakePciHost()
    const pci = createPci({ ports: new Bus('port'), mmio: new Bus('mmio'), host, onReset: () => {} })
    const next = positions(pci, places, options)
    const slots = places.map((_, i) => pci.add(testEndpoint({ deviceId: i, bars: [testBar()], host }), next()))
    pci.start()
    const ids = requesterIds(places, options)
    const alias = ids.bridge?.alias
    expect(ids.devices).toEqual(slots.map(({ requesterId }) => requesterId))
    expect(slots.map(({ dmaRequesterId }) => dmaRequesterId)).toEqual(
      ids.devices.map((id, i) => (places[i] === 'bridge' ? alias : id)),
    )
  })

  it('knows the bridge and the ID of what is below', () => {
    expect(requesterIds(['root', 'bridge', 'bridge'], BRIDGE)).toEqual({
      devices: [0x10, 0x100, 0x108],
      bridge: { own: 0x8, alias: 0x100 },
    })
  })
})
