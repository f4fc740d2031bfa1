import { describe, expect, it } from 'vitest'
import { FaultReason } from '../../../src/iommu/fault.ts'
import { MapFlag } from '../../../src/iommu/mapping-flags.ts'
import { Outcome } from '../../../src/iommu/outcome.ts'
import { Access } from '../../../src/memory/dma-space.ts'
import { Extents } from '../../../src/memory/extents.ts'
import { GuestMemory } from '../../../src/memory/guest-memory.ts'
import {
  answers,
  attachedCore,
  DISK,
  type IommuCore,
  iommuCore,
  MSI,
  NET,
  reach,
  WINDOW,
} from '../../support/iommu-core.ts'

const RIGHTS = MapFlag.read | MapFlag.write
const HIGH = 2 ** 32

/** "disk" is in domain 1 with [start, end, phys, flags] mapped. */
function mapped(...mappings: readonly (readonly [number, number, number, number?])[]): IommuCore {
  const core = attachedCore()
  const outcomes = mappings.map(([start, end, phys, flags]) => core.iommu.map(1, start, end, phys, flags ?? RIGHTS))
  expect(outcomes).toEqual(mappings.map(() => Outcome.ok))
  return core
}

describe('EndpointSpace', () => {
  it.each([
    ['a byte', 0x10_0004, 1, [[0x3004, 1]]],
    ['a whole page', 0x10_0000, 0x1000, [[0x3000, 0x1000]]],
    ['two mappings that go on in memory', 0x10_0ff0, 0x20, [[0x3ff0, 0x20]]],
    [
      'two mappings that are elsewhere in memory',
      0x10_1ff0,
      0x20,
      [
        [0x4ff0, 0x10],
        [0x8000, 0x10],
      ],
    ],
    [
      'a mapping that crosses windows of memory',
      0x20_0000,
      0x2000,
      [
        [WINDOW - 0x1000, 0x1000],
        [WINDOW, 0x1000],
      ],
    ],
    [
      'mappings that go on in the next window',
      0x30_0000,
      0x2000,
      [
        [WINDOW - 0x1000, 0x1000],
        [WINDOW, 0x1000],
      ],
    ],
    ['nothing', 0x10_0000, 0, []],
    ['nothing where nothing is mapped', 0x90_0000, 0, []],
    ['nothing in a reserved region', MSI.start, 0, []],
  ])('translates %s', (_, iova, length, expected) => {
    const { disk, faults } = mapped(
      [0x10_0000, 0x10_0fff, 0x3000],
      [0x10_1000, 0x10_1fff, 0x4000],
      [0x10_2000, 0x10_2fff, 0x8000],
      [0x20_0000, 0x20_1fff, WINDOW - 0x1000],
      [0x30_0000, 0x30_0fff, WINDOW - 0x1000],
      [0x30_1000, 0x30_1fff, WINDOW],
    )
    expect(reach(disk, iova, length)).toEqual(expected)
    // Once more, from what it remembers.
    expect(reach(disk, iova, length)).toEqual(expected)
    expect(faults).toEqual([])
  })

  it.each([
    ['where nothing is mapped', 0x50_0000, 8, Access.read, FaultReason.mapping, 0x50_0000],
    ['that begins before a mapping', 0x0f_fff8, 16, Access.read, FaultReason.mapping, 0x0f_fff8],
    ['that goes on behind a mapping', 0x10_0ff8, 16, Access.read, FaultReason.mapping, 0x10_1000],
    ['without the right to write', 0x10_0010, 8, Access.write, FaultReason.mapping, 0x10_0010],
    ['with one right of two', 0x10_0010, 8, Access.read | Access.write, FaultReason.mapping, 0x10_0010],
    ['without the right to read', 0x20_0010, 8, Access.read, FaultReason.mapping, 0x20_0010],
    ['to a mapping without rights', 0x30_0010, 8, Access.read, FaultReason.mapping, 0x30_0010],
    ['to a mapping of no memory', 0x40_0010, 8, Access.read, FaultReason.unknown, 0x40_0010],
    ['that leaves memory', 0x41_0ff0, 0x20, Access.read, FaultReason.unknown, 0x41_1000],
    ['that leaves memory in a large mapping', 0x60_0ff0, 0x20, Access.read, FaultReason.unknown, 0x60_1000],
    ['in a reserved region', MSI.start + 8, 8, Access.write, FaultReason.mapping, MSI.start + 8],
    ['to the last byte of a reserved region', MSI.end, 1, Access.read, FaultReason.mapping, MSI.end],
    ['to the first byte of a reserved region', MSI.start, 1, Access.read, FaultReason.mapping, MSI.start],
    ['that runs into a reserved region', MSI.start - 8, 16, Access.read, FaultReason.mapping, MSI.start],
    ['beyond all addresses', 2 ** 63, 8, Access.read, FaultReason.mapping, 2 ** 63],
  ])('refuses an access %s with one fault', (_, iova, length, access, reason, address) => {
    const core = mapped(
      [0x10_0000, 0x10_0fff, 0x3000, MapFlag.read],
      [0x20_0000, 0x20_0fff, 0x3000, MapFlag.write],
      [0x30_0000, 0x30_0fff, 0x3000, 0],
      [0x40_0000, 0x40_0fff, 0x80_0000, RIGHTS],
      [0x41_0000, 0x41_1fff, 2 * WINDOW - 0x1000, RIGHTS],
      [0x60_0000, 0x60_ffff, 2 * WINDOW - 0x1000, RIGHTS],
      [MSI.start - 0x1000, MSI.start - 1, 0x3000, RIGHTS],
    )
    const { disk, faults, iommu } = core
    expect(reach(disk, iova, length, access)).toBeUndefined()
    expect(faults).toEqual([{ endpoint: DISK, reason, access, address, name: 'disk' }])
    expect([disk.faults, iommu.state().counters.faults]).toEqual([1, 1])
  })

  it('names the address before a reserved region that is refused already', () => {
    const { disk, faults } = mapped()
    expect(reach(disk, MSI.start - 0x1008, 0x2000)).toBeUndefined()
    expect(faults.map(({ address }) => address)).toEqual([MSI.start - 0x1008])
  })

  it('leaves extents of earlier translations when a later one is refused', () => {
    const { disk } = mapped([0x10_0000, 0x10_0fff, 0x3000])
    const extents = new Extents(disk.space.memory)
    disk.space.translate(0x10_0000, 8, Access.read, extents)
    expect(disk.space.translate(0x10_0ff8, 16, Access.read, extents)).toBe(false)
    expect([extents.count, extents.size]).toEqual([1, 8])
  })

  it('takes a look-up from the budget of the extents for each mapping', () => {
    const { disk, faults } = mapped([0x10_0000, 0x10_0fff, 0x3000], [0x10_1000, 0x10_1fff, 0x8000])
    const extents = new Extents(disk.space.memory, 3)
    disk.space.translate(0x10_0000, 0x2000, Access.read, extents)
    expect(extents.budget).toBe(1)
    expect(disk.space.translate(0x10_0000, 8, Access.read, extents)).toBe(true)
    expect(disk.space.translate(0x10_1000, 8, Access.read, extents)).toBe(false)
    expect([extents.count, faults]).toEqual([3, []])
  })

  it('does not take a page that is memory only in part for memory', () => {
    const memory = new GuestMemory([{ start: 0, bytes: new Uint8Array(0x1800) }])
    const { iommu, disk, faults } = attachedCore({ memory })
    iommu.map(1, 0x10_0000, 0x10_0fff, 0x1000, RIGHTS)
    expect(reach(disk, 0x10_0000, 8)).toEqual([[0x1000, 8]])
    expect(reach(disk, 0x10_0800, 8)).toBeUndefined()
    expect(faults).toMatchObject([{ reason: FaultReason.unknown, address: 0x10_0800 }])
  })

  it('reaches what lies right beside a reserved region', () => {
    const { disk } = mapped([MSI.start - 0x1000, MSI.start - 1, 0x3000], [MSI.end + 1, MSI.end + 0x1000, 0x5000])
    expect(reach(disk, MSI.start - 8, 8)).toEqual([[0x3ff8, 8]])
    expect(reach(disk, MSI.end + 1, 8)).toEqual([[0x5000, 8]])
  })

  it('stops without a fault when the extents allow no more look-ups', () => {
    const { disk, faults } = mapped([0x10_0000, 0x10_0fff, 0x3000], [0x10_1000, 0x10_1fff, 0x4000])
    const extents = new Extents(disk.space.memory, 1)
    expect(disk.space.translate(0x10_0000, 0x2000, Access.read, extents)).toBe(false)
    expect([extents.count, extents.size, faults]).toEqual([0, 0, []])
  })

  it('lets an endpoint in no domain reach all of memory while the IOMMU is bypassed', () => {
    const { disk, faults } = iommuCore({ bypass: true })
    expect(reach(disk, HIGH + 8, 16, Access.write)).toEqual([[HIGH + 8, 16]])
    expect(reach(disk, WINDOW - 8, 16)).toEqual([
      [WINDOW - 8, 8],
      [WINDOW, 8],
    ])
    expect(reach(disk, 0x80_0000, 16)).toBeUndefined()
    expect(faults).toEqual([])
  })

  it('lets an endpoint in a bypass domain reach all of memory', () => {
    const { iommu, disk } = iommuCore()
    expect(answers(done => iommu.attach(DISK, 1, true, done))).toEqual(['ok'])
    expect(reach(disk, HIGH + 8, 16, Access.write)).toEqual([[HIGH + 8, 16]])
  })

  it('refuses reserved regions in bypass mode too', () => {
    const { disk, faults } = iommuCore({ bypass: true, reserved: [{ kind: 'reserved', start: 0x4000, end: 0x4fff }] })
    expect(reach(disk, 0x3ff0, 0x20)).toBeUndefined()
    expect(faults).toMatchObject([{ reason: FaultReason.mapping, address: 0x4000 }])
  })

  it('refuses everything to an endpoint in no domain otherwise', () => {
    const { disk, faults } = iommuCore()
    expect(reach(disk, 0x1000, 16, Access.write)).toBeUndefined()
    expect(reach(disk, MSI.start - 8, 16)).toBeUndefined()
    expect(faults).toEqual([
      { endpoint: DISK, name: 'disk', reason: FaultReason.domain, access: Access.write, address: 0x1000 },
      { endpoint: DISK, name: 'disk', reason: FaultReason.domain, access: Access.read, address: MSI.start - 8 },
    ])
  })

  it.each([
    ['UNMAP', (core: IommuCore) => core.iommu.unmap(1, 0, 2 ** 48 - 1, () => {})],
    ['UNMAP of just this mapping', (core: IommuCore) => core.iommu.unmap(1, 0x10_0000, 0x10_0fff, () => {})],
    ['DETACH', (core: IommuCore) => core.iommu.detach(DISK, 1, () => {})],
    ['ATTACH to another domain', (core: IommuCore) => core.iommu.attach(DISK, 2, false, () => {})],
    ['a reset', (core: IommuCore) => core.iommu.reset(() => {})],
  ])('does not remember a translation beyond %s', (_, take) => {
    const core = mapped([0x10_0000, 0x10_0fff, 0x3000])
    expect(reach(core.disk, 0x10_0000, 8)).toEqual([[0x3000, 8]])
    take(core)
    expect(reach(core.disk, 0x10_0000, 8)).toBeUndefined()
  })

  it('translates to where an address is mapped now', () => {
    const { iommu, disk } = mapped([0x10_0000, 0x10_0fff, 0x3000])
    reach(disk, 0x10_0000, 8)
    iommu.unmap(1, 0x10_0000, 0x10_0fff, () => {})
    iommu.map(1, 0x10_0000, 0x10_0fff, 0x7000, MapFlag.read)
    expect(reach(disk, 0x10_0000, 8)).toEqual([[0x7000, 8]])
    expect(reach(disk, 0x10_0000, 8, Access.write)).toBeUndefined()
  })

  it('does not remember what another endpoint may reach', () => {
    const core = mapped([0x10_0000, 0x10_0fff, 0x3000])
    core.iommu.attach(NET, 2, false, () => {})
    reach(core.disk, 0x10_0000, 8)
    expect(reach(core.net, 0x10_0000, 8)).toBeUndefined()
  })
})

describe('EndpointSpace.resolveMsi', () => {
  const DOORBELL = { start: 0x808_0000, end: 0x809_ffff }
  const TRANSLATER = 0x809_0040
  const WINDOW_START = 0x800_0000

  /** An interrupt controller as on arm64, and no region for MSIs. */
  function translating(): IommuCore {
    const core = attachedCore({
      reserved: [{ kind: 'reserved', start: 0x700_0000, end: 0x7ff_ffff }],
      doorbells: [DOORBELL],
    })
    core.iommu.map(1, WINDOW_START, WINDOW_START + 0xfff, 0x809_0000, MapFlag.write | MapFlag.mmio)
    core.iommu.map(1, WINDOW_START + 0x1000, WINDOW_START + 0x1fff, 0x809_0000, MapFlag.read)
    core.iommu.map(1, WINDOW_START + 0x2000, WINDOW_START + 0x2fff, 0x3000, RIGHTS)
    return core
  }

  it.each([
    ['where the doorbell is mapped', WINDOW_START + 0x40, TRANSLATER],
    ['where it may not write', WINDOW_START + 0x1040, undefined],
    ['where memory is mapped', WINDOW_START + 0x2040, undefined],
    ['where nothing is mapped', WINDOW_START + 0x3040, undefined],
    ["at the doorbell's own address", TRANSLATER, undefined],
    ['in a reserved region', 0x700_0040, undefined],
  ])('finds the doorbell of a message %s', (_, address, expected) => {
    const { disk, faults } = translating()
    expect(disk.space.resolveMsi(address)).toBe(expected)
    expect(faults).toEqual([])
  })

  it.each([
    ['where it may not write', WINDOW_START + 0x1040, FaultReason.mapping],
    ['where memory is mapped', WINDOW_START + 0x2040, FaultReason.unknown],
    ['where nothing is mapped', WINDOW_START + 0x3040, FaultReason.mapping],
    ['in a reserved region', 0x700_0040, FaultReason.mapping],
  ])('reports a message %s', (_, address, reason) => {
    const { disk, faults } = translating()
    disk.space.refuseMsi(address)
    expect(faults).toEqual([{ endpoint: DISK, name: 'disk', reason, access: Access.write, address }])
  })

  it('reports a message of an endpoint that may not reach anything', () => {
    const { disk, faults } = iommuCore({ reserved: [] })
    expect(disk.space.resolveMsi(MSI.start)).toBeUndefined()
    disk.space.refuseMsi(MSI.start)
    expect(faults).toMatchObject([{ reason: FaultReason.domain, address: MSI.start }])
  })

  it.each([
    ['in no domain', iommuCore],
    ['in a domain', attachedCore],
  ])('lets messages of an endpoint %s through in a region for them', (_, make) => {
    const { disk } = make()
    expect(disk.space.resolveMsi(MSI.start + 0x1000)).toBe(MSI.start + 0x1000)
  })

  it('lets messages through in bypass mode, to doorbells only', () => {
    const { disk } = iommuCore({ bypass: true, reserved: [], doorbells: [DOORBELL] })
    expect([disk.space.resolveMsi(TRANSLATER), disk.space.resolveMsi(0x3000)]).toEqual([TRANSLATER, undefined])
  })
})

describe('EndpointSpace.onChange', () => {
  const ALL = [0, Number.MAX_SAFE_INTEGER]

  it('tells what changed and when it is over', () => {
    const { iommu, disk } = attachedCore()
    const heard: string[] = []
    const stop = disk.space.onChange((start, end) => {
      heard.push(`${start.toString(16)}-${end.toString(16)} ${disk.space.resolveMsi(0x5000) ?? 'nowhere'}`)
    })
    iommu.map(1, 0x5000, 0x5fff, MSI.start, MapFlag.write)
    iommu.map(1, 0x5000, 0x5fff, MSI.start, MapFlag.write)
    iommu.unmap(1, 0x5000, 0x8fff, () => {})
    iommu.unmap(1, 0x5000, 0x8fff, () => {})
    stop()
    iommu.map(1, 0x5000, 0x5fff, MSI.start, MapFlag.write)
    expect(heard).toEqual([`5000-5fff ${MSI.start}`, '5000-8fff nowhere'])
  })

  it.each([
    ['ATTACH', iommuCore, ({ iommu }: IommuCore) => iommu.attach(DISK, 1, false, () => {})],
    ['DETACH', attachedCore, ({ iommu }: IommuCore) => iommu.detach(DISK, 1, () => {})],
    ['a reset', attachedCore, ({ iommu }: IommuCore) => iommu.reset(() => {})],
    [
      'bypass',
      iommuCore,
      ({ iommu }: IommuCore) => {
        iommu.bypass = true
      },
    ],
  ])('tells of %s, and only the endpoint that it is about', (_, make, change) => {
    const core = make()
    const heard: unknown[] = []
    core.disk.space.onChange((start, end) => heard.push([start, end]))
    change(core)
    expect(heard).toEqual([ALL])
  })
})
