import { describe, expect, it } from 'vitest'
import { buildFirmware } from '../../../src/arch/index.ts'
import { BadInput } from '../../../src/base/errors.ts'
import { machineTopology, type TopologyOptions } from '../../../src/machine/iommu-topology.ts'
import { cellsOf, readTree } from '../../support/device-tree.ts'
import { Random } from '../../support/random.ts'

const MIB = 2 ** 20
const DOORBELLS = [{ start: 0xfee0_0000, end: 0xfeef_ffff }]
const MSI = { kind: 'msi', start: 0xfee0_0000, end: 0xfeef_ffff }
const KINDS = ['disk', 'network', 'rng', 'console', 'balloon', 'share', 'vfio', 'vsock'] as const

const devices = (...kinds: readonly (typeof KINDS)[number][]) => kinds.map(kind => ({ kind }))
const options = (change: Partial<TopologyOptions> = {}): TopologyOptions => ({
  rootPorts: false,
  pciBridge: false,
  iommu: { endpoints: 'all' },
  doorbells: DOORBELLS,
  ...change,
})
const idsAndNames = ({ topology }: ReturnType<typeof machineTopology>) =>
  topology.endpoints.map(({ id, name }) => [id, name])

describe('machineTopology', () => {
  const four = devices('console', 'disk', 'balloon', 'network')

  it('has the IOMMU at 00:1f.0', () => {
    expect(machineTopology(four, options()).topology.iommu).toBe(0xf8)
  })

  it.each([
    {
      how: 'on the root bus',
      change: {},
      endpoints: [
        [0x8, 'console0'],
        [0x10, 'disk0'],
        [0x20, 'net0'],
      ],
      endpointOf: [0x8, 0x10, undefined, 0x20],
    },
    {
      how: 'behind root ports',
      change: { rootPorts: true },
      endpoints: [
        [0x100, 'console0'],
        [0x200, 'disk0'],
        [0x400, 'net0'],
      ],
      endpointOf: [0x100, 0x200, undefined, 0x400],
    },
    {
      how: 'behind a bridge, all by the ID of its bus',
      change: { pciBridge: true },
      endpoints: [
        [0x8, 'bridge'],
        [0x100, 'console0+disk0+net0'],
        [0x108, 'disk0'],
        [0x110, 'net0'],
      ],
      endpointOf: [0x100, 0x100, undefined, 0x100],
    },
    {
      how: 'as they are named',
      change: { iommu: { endpoints: ['net0', 'disk0'] } },
      endpoints: [
        [0x10, 'disk0'],
        [0x20, 'net0'],
      ],
      endpointOf: [undefined, 0x10, undefined, 0x20],
    },
    {
      how: 'alone behind the bridge when only one is named',
      change: { pciBridge: true, iommu: { endpoints: ['disk0'] } },
      endpoints: [
        [0x8, 'bridge'],
        [0x100, 'disk0'],
      ],
      endpointOf: [undefined, 0x100, undefined, undefined],
    },
    { how: 'not at all', change: { iommu: { endpoints: [] } }, endpoints: [], endpointOf: Array(4).fill(undefined) },
    {
      how: 'not at all, with an empty bridge',
      change: { pciBridge: true, iommu: { endpoints: [] } },
      endpoints: [],
      endpointOf: Array(4).fill(undefined),
    },
  ])('knows devices $how', ({ change, endpoints, endpointOf }) => {
    const found = machineTopology(four, options(change))
    expect(idsAndNames(found)).toEqual(endpoints)
    expect(found.endpointOf).toEqual(endpointOf)
  })

  it('refuses more devices than there is room for', () => {
    const many = devices(...Array.from({ length: 31 }, () => 'rng' as const))
    expect(() => machineTopology(many, options())).toThrow(BadInput)
  })
})

describe('reserved regions', () => {
  const low = { start: 0, end: 0xfff }
  const high = { start: 0x1_0000_0000, end: 0x1_0000_ffff }
  const regions = (change: Partial<TopologyOptions>) =>
    machineTopology(devices('disk', 'rng'), options(change)).topology.endpoints.map(({ reserved }) => reserved)

  it('are the doorbells, for MSIs', () => {
    expect(regions({})).toEqual([[MSI], [MSI]])
  })

  it('are none when MSIs are translated', () => {
    expect(regions({ iommu: { endpoints: 'all', msi: 'translate' } })).toEqual([[], []])
  })

  it("are also those of a device, and everybody's, in rising order", () => {
    const iommu = { endpoints: 'all', reserved: [{ ...high }, { device: 'rng0', ...low }] } as const
    expect(regions({ iommu })).toEqual([
      [MSI, { kind: 'reserved', ...high }],
      [{ kind: 'reserved', ...low }, MSI, { kind: 'reserved', ...high }],
    ])
  })

  it('behind a bridge are those of all devices there, each one once', () => {
    const reserved = [
      { device: 'rng0', ...low },
      { device: 'disk0', ...low },
    ]
    const all = [{ kind: 'reserved', ...low }, MSI]
    expect(regions({ pciBridge: true, iommu: { endpoints: 'all', reserved } })).toEqual([all, all, all])
  })
})

describe('topology, VIOT and iommu-map', () => {
  /** Requester IDs and endpoint ids of the VIOT's PCI ranges; node 0 is the IOMMU. */
  const viotIds = (viot: Uint8Array): readonly (readonly number[])[] => {
    const view = new DataView(viot.buffer, viot.byteOffset)
    const ranges = Array.from({ length: view.getUint16(36, true) - 1 }, (_, i) => 64 + 24 * i)
    return ranges.flatMap(at => {
      const [first, last] = [view.getUint16(at + 12, true), view.getUint16(at + 14, true)]
      const id = view.getUint32(at + 4, true)
      return Array.from({ length: last - first + 1 }, (_, i) => [first + i, id + i])
    })
  }
  /** The same of a device tree's iommu-map. */
  const mapIds = (blob: Uint8Array): readonly (readonly number[])[] => {
    const cells = cellsOf(readTree(blob), '/pcie@e0000000/iommu-map')
    const entries = Array.from({ length: cells.length / 4 }, (_, i) => cells.slice(4 * i, 4 * i + 4))
    return entries.flatMap(([first = 0, , id = 0, count = 0]) =>
      Array.from({ length: count }, (_, i) => [first + i, id + i]),
    )
  }

  it.each(Array.from({ length: 24 }, (_, seed) => seed))('name the same ids, and never the IOMMU (seed %i)', seed => {
    const random = new Random(seed)
    const machine = devices(...Array.from({ length: random.below(29) }, () => KINDS[random.below(KINDS.length)]!))
    const wanted = ['disk0', 'disk1', 'net0', 'rng1', 'console0', 'vsock0'].filter(() => random.below(2) === 0)
    const how = ['root', 'port', 'bridge'][random.below(3)]
    const { topology, endpointOf } = machineTopology(
      machine,
      options({
        rootPorts: how === 'port',
        pciBridge: how === 'bridge',
        iommu: { endpoints: random.below(2) === 0 ? 'all' : wanted },
      }),
    )
    const { segments, deviceTree } = buildFirmware({
      cpus: 1,
      memory: 64 * MIB,
      buses: 32,
      iommu: { topology, describedBy: 'both' },
    })
    const viot = segments.find(({ bytes }) => new TextDecoder().decode(bytes.subarray(0, 4)) === 'VIOT')
    const ids = topology.endpoints.map(({ id }) => id)
    // Without endpoints there is no table: Linux 6.12 trips over one.
    expect(viot === undefined ? [] : viotIds(viot.bytes)).toEqual(ids.map(id => [id, id]))
    expect(mapIds(deviceTree!)).toEqual(ids.map(id => [id, id]))
    expect(ids).not.toContain(topology.iommu)
    expect(endpointOf.filter(id => id !== undefined && !ids.includes(id))).toEqual([])
    expect(new Set(ids).size).toBe(ids.length)
  })
})
