/** Statements 46-49 on the virtio-iommu: the event queue. VIRTIO 1.2 §5.13.6.9. */
import { describe, expect, it } from 'vitest'
import { FaultReason } from '../../../src/iommu/fault.ts'
import { Access } from '../../../src/memory/dma-space.ts'
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import { DISK, type IommuDevice, iommuDevice, MSI, NET } from '../../support/iommu-device.ts'
import { repeat } from '../../support/repeat.ts'

const EVENTS = 1
const [READ, WRITE, ADDRESS] = [1, 2, 0x100]
const FAULT_SIZE = 24

function post(bench: IommuDevice, ...sizes: readonly number[]): void {
  const driver = bench.harness.driver(EVENTS)
  sizes.map(size => driver.add({ in: [size] }))
  driver.kick()
}

/** struct virtio_iommu_fault of each used buffer. */
function faults(bench: IommuDevice) {
  return bench.harness
    .driver(EVENTS)
    .pollAll()
    .map(({ written, in: inputs }) => {
      const view = new DataView(inputs[0]!.slice().buffer)
      return {
        written,
        reason: view.getUint8(0),
        reserved: view.getUint32(0, true) >>> 8,
        flags: view.getUint32(4, true),
        endpoint: view.getUint32(8, true),
        reserved1: view.getUint32(12, true),
        address: view.getBigUint64(16, true),
      }
    })
}

const event = (reason: number, flags: number, endpoint: number, address: bigint) => ({
  written: FAULT_SIZE,
  reason,
  reserved: 0,
  flags,
  endpoint,
  reserved1: 0,
  address,
})

describe('VirtioIommu, faults', () => {
  it.each([
    ['read of what is not mapped', 0x5000, Access.read, FaultReason.mapping, READ],
    ['write to what is read-only', 0x1008, Access.write, FaultReason.mapping, WRITE],
    ['both', 0x5000, Access.read | Access.write, FaultReason.mapping, READ | WRITE],
    ['access to a reserved region', MSI.start, Access.write, FaultReason.mapping, WRITE],
    ['access to a mapping of nothing', 0x2000, Access.read, FaultReason.unknown, READ],
    ['high address', 2 ** 47 + 0x123, Access.read, FaultReason.mapping, READ],
  ])('46: tells of a %s, with nothing else set', (_, address, access, reason, flags) => {
    const bench = iommuDevice()
    bench.attach(1, DISK)
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    bench.map(1, 0x2000, 0x2fff, 2 ** 40, READ)
    post(bench, FAULT_SIZE)
    bench.canReach(DISK, address, access)
    expect(faults(bench)).toEqual([event(reason, flags | ADDRESS, DISK, BigInt(address))])
  })

  it('46: tells of an endpoint in no domain', () => {
    const bench = iommuDevice()
    post(bench, FAULT_SIZE)
    bench.canReach(NET, 0x1000, Access.write)
    expect(faults(bench)).toEqual([event(FaultReason.domain, WRITE | ADDRESS, NET, 0x1000n)])
  })

  it('46: leaves what is behind the event in a larger buffer alone', () => {
    const bench = iommuDevice()
    post(bench, 32)
    bench.canReach(DISK, 0x1000, Access.read)
    const [used] = bench.harness.driver(EVENTS).pollAll()
    expect(used?.written).toBe(FAULT_SIZE)
    expect(used?.in[0]?.subarray(FAULT_SIZE)).toEqual(new Uint8Array(8).fill(0xee))
  })

  it.each([
    ['packed', VIRTIO_F_RING_PACKED],
    ['split with event indexes', VIRTIO_F_RING_EVENT_IDX],
  ])('46: uses a %s queue', (_, ring) => {
    const bench = iommuDevice({ ring })
    post(bench, FAULT_SIZE, FAULT_SIZE)
    bench.canReach(DISK, 0x1000, Access.read)
    bench.canReach(NET, 0x2000, Access.read)
    expect(faults(bench).map(({ address }) => address)).toEqual([0x1000n, 0x2000n])
  })

  it('47: omits an address that a number does not hold', () => {
    const bench = iommuDevice()
    post(bench, FAULT_SIZE)
    bench.canReach(DISK, 2 ** 63, Access.read)
    expect(faults(bench)).toEqual([event(FaultReason.domain, READ, DISK, 0n)])
  })

  it('48: an event is never in two buffers: one that is too small goes back empty', () => {
    const bench = iommuDevice()
    post(bench, 23, FAULT_SIZE)
    bench.canReach(DISK, 0x1000, Access.read)
    const [small] = bench.harness.driver(EVENTS).pollAll()
    expect(small).toMatchObject({ written: 0, in: [new Uint8Array(23).fill(0xee)] })
    expect(bench.device.statistics).toMatchObject({ faults: 1, drops: 1 })
    bench.canReach(DISK, 0x2000, Access.read)
    expect(faults(bench).map(({ address }) => address)).toEqual([0x2000n])
  })

  it('49: without a buffer it drops events and counts them, and goes on with the next buffer', () => {
    const bench = iommuDevice()
    repeat(3, () => bench.canReach(DISK, 0x1000, Access.read))
    expect(bench.device.statistics).toMatchObject({ faults: 3, drops: 3 })
    post(bench, FAULT_SIZE)
    bench.canReach(DISK, 0x4000, Access.read)
    expect(faults(bench).map(({ address }) => address)).toEqual([0x4000n])
    expect(bench.device.statistics).toMatchObject({ faults: 4, drops: 3 })
  })

  it('49: without a driver it drops events and counts them', () => {
    const bench = iommuDevice()
    bench.harness.reset()
    bench.canReach(DISK, 0x1000, Access.read)
    expect(bench.device.statistics).toMatchObject({ faults: 1, drops: 1 })
  })

  it('tells of each fault at once, with an interrupt', () => {
    const bench = iommuDevice()
    post(bench, FAULT_SIZE, FAULT_SIZE)
    bench.canReach(DISK, 0x1000, Access.read)
    expect(bench.harness.driver(EVENTS).interrupts).toBe(1)
    expect(faults(bench)).toHaveLength(1)
    bench.canReach(DISK, 0x1000, Access.read)
    expect(faults(bench)).toHaveLength(1)
  })

  it('tells of a fault that was injected', () => {
    const bench = iommuDevice()
    post(bench, FAULT_SIZE)
    bench.iommu.injectFault({ endpoint: NET, reason: FaultReason.mapping, access: Access.write, address: 0xabc000 })
    expect(faults(bench)).toEqual([event(FaultReason.mapping, WRITE | ADDRESS, NET, 0xabc000n)])
  })

  it('wants no notifications of new event buffers', () => {
    const bench = iommuDevice()
    const driver = bench.harness.driver(EVENTS)
    repeat(4, () => post(bench, FAULT_SIZE))
    expect(driver.kicks).toBe(1)
  })

  it('survives a broken event queue', () => {
    const bench = iommuDevice()
    bench.harness.driver(EVENTS).split?.setAvailIdx(1000)
    bench.canReach(DISK, 0x1000, Access.read)
    expect(bench.harness.resetReasons).toHaveLength(1)
    expect(bench.device.statistics).toMatchObject({ faults: 1, drops: 1 })
  })
})
