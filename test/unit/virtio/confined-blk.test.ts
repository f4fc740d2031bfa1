import { describe, expect, it } from 'vitest'
import { Outcome } from '../../../src/iommu/outcome.ts'
import { VirtioBlk } from '../../../src/virtio/blk.ts'
import { VIRTIO_F_RING_RESET } from '../../../src/virtio/features.ts'
import { ConfinedDevice, DOMAIN, IOVA } from '../../support/confined-device.ts'
import { blkHeader } from '../../support/disk.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'
import { HIGH_START } from '../../support/virtio-memory.ts'

const PAGE = 4096
const READ = 0
const WRITE = 1
/** VIRTIO_BLK_F_CONFIG_WCE, and the byte that it makes writable. */
const CONFIG_WCE = 1n << 11n
const WRITEBACK = 32

/** Requests wait in the disk until `disk.complete()`. */
class Bench {
  readonly disk = new MemoryDisk({ depth: 4 })
  readonly device = new VirtioBlk({ name: 'disk0', backend: this.disk, serial: '', queues: 1 })
  readonly confined: ConfinedDevice

  constructor(packed: boolean) {
    this.disk.isHolding = true
    const features = this.device.features | VIRTIO_F_RING_RESET
    this.confined = new ConfinedDevice(this.device, { packed, features }).start()
  }

  /** Asks for the page at `iova` to be filled or saved; its status comes behind it. */
  request(type: number, iova: number): void {
    const { confined } = this
    const header = confined.memory.allocate(17)
    confined.bytes(header, 16).set(blkHeader(type, 0))
    confined.send(0, [
      { address: header, length: 16, write: false },
      { address: iova, length: PAGE, write: type === READ },
      { address: header + 16, length: 1, write: true },
    ])
  }

  isTouched(address: number): boolean {
    return this.confined.bytes(address, PAGE).some(byte => byte !== 0)
  }
}

describe.each([
  { ring: 'split', packed: false },
  { ring: 'packed', packed: true },
])('VirtioBlk with requests under way, $ring ring', ({ packed }) => {
  it('holds UNMAP of a buffer up until the disk is done with it', () => {
    const bench = new Bench(packed)
    bench.confined.map(IOVA, HIGH_START)
    bench.request(READ, IOVA)
    const unmap = bench.confined.unmap(IOVA)
    expect(unmap.outcome).toBeUndefined()
    bench.disk.complete()
    expect(unmap.outcome).toBe(Outcome.ok)
    expect(bench.confined.take(0)?.written).toBe(PAGE + 1)
    expect(bench.isTouched(HIGH_START)).toBe(true)
    expect([bench.confined.faults, bench.confined.needsReset]).toEqual([[], false])
  })

  it('holds nothing else up', () => {
    const bench = new Bench(packed)
    bench.confined.map(IOVA, HIGH_START, 3)
    bench.request(READ, IOVA + PAGE)
    expect(bench.confined.unmap(IOVA).outcome).toBe(Outcome.ok)
    expect(bench.confined.unmap(IOVA + 2 * PAGE).outcome).toBe(Outcome.ok)
    expect(bench.confined.iommu.endpoint(8)?.space.version).toBe(0)
  })

  it('ends UNMAP when the last of the requests that it waits for is done', () => {
    const bench = new Bench(packed)
    bench.confined.map(IOVA, HIGH_START, 3)
    bench.request(READ, IOVA)
    bench.request(READ, IOVA + PAGE)
    bench.request(READ, IOVA + 2 * PAGE)
    const unmap = bench.confined.unmap(IOVA, 2)
    bench.disk.complete(1)
    expect(unmap.outcome).toBeUndefined()
    bench.disk.complete(1)
    expect(unmap.outcome).toBe(Outcome.ok)
    expect(bench.disk.heldCount).toBe(1)
  })

  it('refuses a buffer that is being unmapped to the requests that come then', () => {
    const bench = new Bench(packed)
    bench.confined.map(IOVA, HIGH_START)
    bench.request(READ, IOVA)
    const unmap = bench.confined.unmap(IOVA)
    bench.request(WRITE, IOVA)
    expect(bench.disk.heldCount).toBe(1)
    expect([bench.confined.faults.length, bench.confined.needsReset]).toEqual([1, true])
    bench.disk.complete()
    expect(unmap.outcome).toBe(Outcome.ok)
  })

  it('holds UNMAP up for the flush behind a write, too', () => {
    const bench = new Bench(packed)
    bench.confined.map(IOVA, HIGH_START)
    const { driver } = bench.confined
    expect(bench.device.features & CONFIG_WCE).not.toBe(0n)
    driver.mmio.write(driver.bar + driver.capability(4).offset + WRITEBACK, 1, 0)
    bench.request(WRITE, IOVA)
    const unmap = bench.confined.unmap(IOVA)
    bench.disk.complete()
    expect(bench.disk.log.at(-1)).toBe('flush')
    expect(unmap.outcome).toBeUndefined()
    bench.disk.complete()
    expect(unmap.outcome).toBe(Outcome.ok)
  })

  it('holds UNMAP up while the device is being reset', () => {
    const bench = new Bench(packed)
    bench.confined.map(IOVA, HIGH_START)
    bench.request(READ, IOVA)
    bench.confined.driver.write('deviceStatus', 0)
    const unmap = bench.confined.unmap(IOVA)
    expect([unmap.outcome, bench.confined.driver.status === 0]).toEqual([undefined, false])
    bench.disk.complete()
    expect([unmap.outcome, bench.confined.driver.status]).toEqual([Outcome.ok, 0])
  })

  it('holds UNMAP up while the queue is being reset', () => {
    const bench = new Bench(packed)
    bench.confined.map(IOVA, HIGH_START)
    bench.request(READ, IOVA)
    bench.confined.driver.write('queueSelect', 0)
    bench.confined.driver.write('queueReset', 1)
    const unmap = bench.confined.unmap(IOVA)
    expect([unmap.outcome, bench.confined.driver.read('queueReset')]).toEqual([undefined, 1])
    bench.disk.complete()
    expect([unmap.outcome, bench.confined.driver.read('queueReset')]).toEqual([Outcome.ok, 0])
  })

  it('holds a change of the domain up, but not because of requests that come afterwards', () => {
    const bench = new Bench(packed)
    bench.confined.map(IOVA, HIGH_START)
    bench.request(READ, IOVA)
    const attach = bench.confined.attach(DOMAIN + 1, true)
    expect(attach.outcome).toBeUndefined()
    bench.request(READ, HIGH_START + PAGE)
    expect(bench.disk.heldCount).toBe(2)
    bench.disk.complete(1)
    expect(attach.outcome).toBe(Outcome.ok)
    bench.disk.complete()
    expect(bench.isTouched(HIGH_START + PAGE)).toBe(true)
    expect(bench.confined.faults).toEqual([])
  })

  it('finishes a request whose ring was unmapped meanwhile, without an answer', () => {
    const bench = new Bench(packed)
    bench.confined.map(IOVA, HIGH_START)
    bench.request(READ, IOVA)
    bench.confined.unmapRings(0)
    bench.disk.complete()
    expect([bench.confined.faults.length, bench.confined.needsReset]).toEqual([1, true])
    expect(bench.confined.take(0)).toBeUndefined()
    expect(bench.confined.unmap(IOVA).outcome).toBe(Outcome.ok)
  })
})
