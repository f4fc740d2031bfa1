import { describe, expect, it } from 'vitest'
import { Outcome } from '../../../src/iommu/outcome.ts'
import { VirtioBlk } from '../../../src/virtio/blk.ts'
import { ConfinedDevice, IOVA } from '../../support/confined-device.ts'
import { blkHeader } from '../../support/disk.ts'
import { PipeDisk } from '../../support/pipe-disk.ts'
import { HIGH_START } from '../../support/virtio-memory.ts'

const PAGE = 4096
const SECTOR = 512
const BYTES = new Uint8Array(SECTOR).fill(0x5a)

/** The kernel is about to read a sector to two pages, which are not next to each other in memory. */
function readUnderWay() {
  const source = new PipeDisk(60_000)
  const device = new VirtioBlk({ name: 'disk0', backend: source.disk, serial: '', queues: 1 })
  const confined = new ConfinedDevice(device, { memory: source.memory }).start()
  confined.map(IOVA, HIGH_START + 7 * PAGE)
  confined.map(IOVA + PAGE, HIGH_START + 3 * PAGE)
  const header = source.memory.allocate(17)
  confined.bytes(header, 16).set(blkHeader(0, 0))
  confined.send(0, [
    { address: header, length: 16, write: false },
    { address: IOVA + PAGE - 200, length: SECTOR, write: true },
    { address: header + 16, length: 1, write: true },
  ])
  const data = () => [
    ...confined.bytes(HIGH_START + 8 * PAGE - 200, 200),
    ...confined.bytes(HIGH_START + 3 * PAGE, SECTOR - 200),
  ]
  return { source, device, confined, data, [Symbol.dispose]: () => source[Symbol.dispose]() }
}

describe('Disk behind an IOMMU', () => {
  it('keeps UNMAP waiting until the kernel has read to the buffer', () => {
    using bench = readUnderWay()
    const { source, confined, device } = bench
    const unmap = confined.unmap(IOVA + PAGE)
    expect(unmap.outcome).toBeUndefined()
    source.feed(BYTES)
    source.turn()
    expect(unmap.outcome).toBe(Outcome.ok)
    expect(bench.data()).toEqual([...BYTES])
    expect(confined.take(0)).toMatchObject({ written: SECTOR + 1 })
    expect(confined.faults).toEqual([])
    device.close()
  })

  it('keeps DETACH waiting over a reset of the device', () => {
    using bench = readUnderWay()
    const { source, confined, device } = bench
    confined.driver.write('deviceStatus', 0)
    const detach = confined.detach()
    expect([detach.outcome, confined.driver.status === 0]).toEqual([undefined, false])
    source.feed(BYTES)
    source.turn()
    expect([detach.outcome, confined.driver.status]).toEqual([Outcome.ok, 0])
    device.close()
  })

  it('reaches nothing by the same addresses once they are unmapped', () => {
    using bench = readUnderWay()
    const { source, confined, device } = bench
    const unmap = confined.unmap(IOVA, 2)
    source.feed(BYTES)
    source.turn()
    confined.bytes(HIGH_START + 8 * PAGE - 200, 200).fill(0)
    confined.send(0, [{ address: IOVA + PAGE - 200, length: SECTOR, write: true }])
    expect(unmap.outcome).toBe(Outcome.ok)
    expect(confined.faults.map(({ address }) => address)).toEqual([IOVA + PAGE - 200])
    expect(
      bench
        .data()
        .slice(0, 200)
        .every(byte => byte === 0),
    ).toBe(true)
    device.close()
  })
})
