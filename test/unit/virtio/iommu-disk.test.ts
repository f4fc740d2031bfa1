/** The virtio-iommu and a disk behind it, each with its driver. */
import { describe, expect, it } from 'vitest'
import { MapFlag } from '../../../src/iommu/mapping-flags.ts'
import { IdentitySpace } from '../../../src/memory/dma-space.ts'
import { VirtioBlk } from '../../../src/virtio/blk.ts'
import { VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import { DeviceHarness } from '../../support/device-harness.ts'
import { blkHeader } from '../../support/disk.ts'
import { DISK, detachRequest, iommuDevice, mapRequest, unmapRequest } from '../../support/iommu-device.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'
import { HIGH_START } from '../../support/virtio-memory.ts'

const DOMAIN = 1
const IOVA = 0x10_0000_0000
const PAGE = 4096
const READ_WRITE = MapFlag.read | MapFlag.write

/** A read of one page is under way. */
function readUnderWay(packed: boolean) {
  const iommu = iommuDevice()
  iommu.attach(DOMAIN, DISK)
  iommu.map(DOMAIN, 0, iommu.memory.windowBytes - 1, 0, READ_WRITE)
  iommu.map(DOMAIN, IOVA, IOVA + PAGE - 1, HIGH_START, READ_WRITE)
  const disk = new MemoryDisk()
  disk.isHolding = true
  const device = new VirtioBlk({ name: 'disk0', backend: disk, serial: '', queues: 1 })
  const harness = new DeviceHarness(device, {
    features: device.features | (packed ? VIRTIO_F_RING_PACKED : 0n),
    memory: iommu.memory,
    space: () => iommu.iommu.endpoint(DISK)!.space,
    driverSpace: ({ memory }) => new IdentitySpace(memory),
  })
  harness.activate()
  const header = iommu.memory.allocate(17)
  const { memory } = iommu.memory
  memory.bytesAt(header, 16).set(blkHeader(0, 0))
  const { ring } = harness.driver(0)
  ring.add([
    { address: header, length: 16, write: false },
    { address: IOVA, length: PAGE, write: true },
    { address: header + 16, length: 1, write: true },
  ])
  device.notify(0)
  return { iommu, disk, harness, ring, page: () => memory.bytesAt(HIGH_START, PAGE) }
}

describe.each([
  { ring: 'split', packed: false },
  { ring: 'packed', packed: true },
])('a disk behind the virtio-iommu, $ring ring', ({ packed }) => {
  it.each([
    { name: 'UNMAP', request: unmapRequest(DOMAIN, IOVA, IOVA + PAGE - 1) },
    { name: 'DETACH', request: detachRequest(DOMAIN, DISK) },
  ])('has $name answered when it has let go of its buffers, and what follows behind it', ({ request }) => {
    const { iommu, disk, page } = readUnderWay(packed)
    iommu.post(request)
    iommu.post(mapRequest(DOMAIN + 7, 0, PAGE - 1, 0, READ_WRITE))
    expect(iommu.answers()).toEqual([])
    disk.complete()
    iommu.tasks.runAll()
    // No such domain: NOENT.
    expect(iommu.answers().map(({ status }) => status)).toEqual([0, 6])
    expect(page().slice()).toEqual(disk.bytes.slice(0, PAGE))
  })

  it('leaves the page alone from the answer on', () => {
    const { iommu, disk, harness, ring, page } = readUnderWay(packed)
    iommu.post(unmapRequest(DOMAIN, IOVA, IOVA + PAGE - 1))
    disk.complete()
    iommu.tasks.runAll()
    expect(iommu.answers()).toHaveLength(1)
    expect(ring.take()).toMatchObject({ written: PAGE + 1 })
    page().fill(0)
    ring.add([{ address: IOVA, length: PAGE, write: true }])
    harness.device.notify(0)
    disk.complete()
    iommu.tasks.runAll()
    expect(page().every(byte => byte === 0)).toBe(true)
    expect(harness.resetReasons).toHaveLength(1)
    expect(iommu.iommu.state().counters).toMatchObject({ faults: 1, waits: 1 })
  })

  it('can be used on while nothing of it is unmapped', () => {
    const { iommu, disk, ring } = readUnderWay(packed)
    iommu.map(DOMAIN, IOVA + PAGE, IOVA + 2 * PAGE - 1, HIGH_START, READ_WRITE)
    expect(iommu.unmap(DOMAIN, IOVA + PAGE, IOVA + 2 * PAGE - 1).status).toBe(0)
    disk.complete()
    iommu.tasks.runAll()
    expect(ring.take()).toMatchObject({ written: PAGE + 1 })
  })
})
