/** What other virtio-iommu devices do differently, and what their users met: none of it happens here. */
import { describe, expect, it } from 'vitest'
import { Access } from '../../../src/memory/dma-space.ts'
import { Extents } from '../../../src/memory/extents.ts'
import { attachRequest, DISK, iommuDevice, MSI, NET, probeRequest, withByte } from '../../support/iommu-device.ts'
import { repeat } from '../../support/repeat.ts'
import { VirtioPciDriver } from '../../support/virtio-pci-driver.ts'

const [OK, INVAL, RANGE, NOENT, NOMEM] = [0, 4, 5, 6, 8]
const [READ, WRITE, MMIO] = [1, 2, 4]

function setUp(options = {}) {
  const bench = iommuDevice(options)
  bench.attach(1, DISK)
  return bench
}

describe('VirtioIommu, unlike QEMU’s', () => {
  it('looks at the reserved field of ATTACH', () => {
    expect(iommuDevice().send(withByte(attachRequest(1, DISK), 16, 1)).status).toBe(INVAL)
  })

  it('looks at alignment, range and reserved regions of MAP', () => {
    const bench = setUp()
    expect(bench.map(1, 0x1000, 0x17ff, 0, READ).status).toBe(RANGE)
    expect(bench.map(1, 2 ** 48, 2 ** 48 + 0xfff, 0, READ).status).toBe(RANGE)
    expect(bench.map(1, MSI.start, MSI.start + 0xfff, 0, READ).status).toBe(INVAL)
    expect(bench.mappings(1)).toEqual([])
  })

  it('removes nothing before it finds that an UNMAP is not possible', () => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    bench.map(1, 0x2000, 0x3fff, 0xb000, READ)
    expect(bench.unmap(1, 0x1000, 0x2fff).status).toBe(RANGE)
    expect(bench.mappings(1)).toHaveLength(2)
  })

  it('gives requests of no known type back unwritten', () => {
    expect(iommuDevice().send(withByte(attachRequest(1, DISK), 0, 0x20))).toMatchObject({
      status: undefined,
      written: 0,
    })
  })

  it('takes a PROBE with too little room as a mistake, not as its own end', () => {
    const bench = iommuDevice()
    expect(bench.send(probeRequest(DISK), 100).status).toBe(INVAL)
    expect(bench.probe(DISK).status).toBe(OK)
  })
})

describe('VirtioIommu, unlike cloud-hypervisor’s', () => {
  it('knows which endpoints there are', () => {
    const bench = iommuDevice()
    expect([bench.attach(1, 0x30).status, bench.probe(0x30).status]).toEqual([NOENT, NOENT])
  })

  it('enforces READ and WRITE', () => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    bench.map(1, 0x2000, 0x2fff, 0xb000, WRITE)
    expect(bench.canReach(DISK, 0x1000, Access.write)).toBe(false)
    expect(bench.canReach(DISK, 0x2000, Access.read)).toBe(false)
  })

  it('says that it is in bypass mode while it is', () => {
    const bench = iommuDevice({ bypass: true })
    expect([bench.device.config[36], bench.canReach(DISK, 0x1000, Access.read)]).toEqual([1, true])
  })
})

describe('VirtioIommu, unlike crosvm’s', () => {
  it('moves an endpoint from one domain to another', () => {
    const bench = setUp()
    expect(bench.attach(2, DISK).status).toBe(OK)
    expect(bench.domains).toEqual([[2, [DISK]]])
  })

  it('looks at the flags of ATTACH', () => {
    expect(iommuDevice().attach(1, DISK, 4).status).toBe(INVAL)
  })

  it('answers a MAP that it has no room for with a status', () => {
    const bench = setUp({ limits: { domain: 0, total: 0 } })
    expect(bench.map(1, 0, 0xfff, 0, READ)).toMatchObject({ status: NOMEM, written: 4 })
  })
})

describe('VirtioIommu, unlike the one of kvmtool’s branch', () => {
  it('lets an endpoint be attached to its own domain again', () => {
    expect(setUp().attach(1, DISK).status).toBe(OK)
  })

  it('refuses to map twice', () => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    expect(bench.map(1, 0x1000, 0x1fff, 0xb000, READ).status).toBe(INVAL)
    expect(bench.translate(DISK, 0x1000, Access.read)).toBe(0xa000)
  })
})

describe('VirtioIommu, what users of others met', () => {
  it('tells an input range that it keeps to', () => {
    const bench = setUp({ input: { start: 0, end: 2 ** 39 - 1 } })
    const view = new DataView(bench.device.config.buffer)
    expect(view.getBigUint64(16, true)).toBe(2n ** 39n - 1n)
    expect(bench.map(1, 2 ** 39 - 0x1000, 2 ** 39 - 1, 0, READ).status).toBe(OK)
    expect(bench.map(1, 2 ** 39, 2 ** 39 + 0xfff, 0, READ).status).toBe(RANGE)
  })

  it('does not reach a limit in silence', () => {
    let tellings = 0
    const bench = setUp({ limits: { domain: 1, total: 1 }, onFull: () => tellings++ })
    bench.map(1, 0, 0xfff, 0, READ)
    expect(tellings).toBe(0)
    repeat(2, turn => bench.map(1, 0x1000 * turn + 0x1000, 0x1000 * turn + 0x1fff, 0, READ))
    expect(tellings).toBe(1)
    expect(bench.harness.logged).toContain('MAP is answered with NOMEM')
    expect(bench.device.statistics).toMatchObject({ maps: 3, failures: 2 })
  })

  it('keeps to reserved regions before and without PROBE', () => {
    expect(setUp().map(1, MSI.start, MSI.end, 0, READ).status).toBe(INVAL)
  })

  it('ends its reset only when no endpoint uses what was mapped', () => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    let isBusy = true
    const { space } = bench.iommu.endpoint(DISK)!
    const { version } = space
    space.addUser({ keeps: () => true, isBusy: () => isBusy })
    expect(bench.harness.reset()).toBe(false)
    expect(space.version).not.toBe(version)
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(false)
    isBusy = false
    expect(bench.harness.reset(() => space.released())).toBe(true)
  })

  it('lets firmware boot before any driver is there, and keeps devices out if that is wanted', () => {
    const open = iommuDevice({ bypass: true })
    const closed = iommuDevice({ bypass: false })
    open.harness.reset()
    closed.harness.reset()
    expect(open.canReach(DISK, 0x1000, Access.write)).toBe(true)
    expect(closed.canReach(DISK, 0x1000, Access.write)).toBe(false)
  })

  it('maps registers, as one device’s for another', () => {
    const bench = setUp()
    expect(bench.map(1, 0x1000, 0x1fff, 0x8000_0000, READ | WRITE | MMIO).status).toBe(OK)
    // There is no memory: the access gets as far as that, and is a fault of another kind.
    bench.trace().canReach(DISK, 0x1000, Access.read)
    expect(bench.events.find(({ type }) => type === 'fault')).toMatchObject({ reason: 'unknown' })
  })

  it('lets a buffer lie in several mappings', () => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    bench.map(1, 0x2000, 0x2fff, 0xc000, READ)
    const extents = new Extents(bench.memory.memory)
    expect(bench.iommu.endpoint(DISK)!.space.translate(0x1ff0, 0x20, Access.read, extents)).toBe(true)
    expect([extents.start(0), extents.start(1), extents.count]).toEqual([0xaff0, 0xc000, 2])
  })

  it('counts a fault of a device whose driver is gone', () => {
    const { device, iommu } = iommuDevice()
    const driver = new VirtioPciDriver(device).start(device.features)
    driver.write('deviceStatus', 0)
    iommu.injectFault({ endpoint: NET, reason: 2, access: Access.read, address: 0 })
    expect(device.statistics).toMatchObject({ faults: 1, drops: 1 })
    driver.close()
  })
})
