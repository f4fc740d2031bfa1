import { describe, expect, it } from 'vitest'
import { VIRTIO_PCI_CAP_PCI_CFG } from '../../../src/virtio/pci-layout.ts'
import { ProbeDevice } from '../../support/probe-device.ts'
import { VirtioPciDriver } from '../../support/virtio-pci-driver.ts'

const COMMON = 1
const NOTIFY = 2
const ISR = 3
const DEVICE = 4

describe('VirtioPci', () => {
  it('is a modern device of its type', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    expect(driver.readConfig(0x00, 4)).toBe(0x107e_1af4)
    expect(driver.readConfig(0x08, 4)).toBe(0xff00_0001)
  })

  it('has one capability of each type', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    expect(driver.capabilities().map(({ type }) => type)).toEqual([COMMON, ISR, NOTIFY, DEVICE, VIRTIO_PCI_CAP_PCI_CFG])
  })

  it('has no device configuration where the device has none', () => {
    const driver = new VirtioPciDriver(new ProbeDevice({ configSize: 0 }))
    expect(driver.capabilities().map(({ type }) => type)).not.toContain(DEVICE)
  })

  it.each([
    { type: COMMON, length: 60, size: 16 },
    { type: ISR, length: 1, size: 16 },
    { type: NOTIFY, length: 8, size: 20 },
    { type: DEVICE, length: 8, size: 16 },
  ])('has structure $type with $length bytes on a page of its own', ({ type, length, size }) => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    const capability = driver.capability(type)
    expect(capability).toMatchObject({ bar: 0, length, size })
    expect(capability.offset % 0x1000).toBe(0)
  })

  it('has a 64-bit prefetchable BAR', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    driver.writeConfig(0x04, 2, 0)
    driver.writeConfig(0x10, 4, 0xffff_ffff)
    expect(driver.readConfig(0x10, 4)).toBe(0xffff_800c)
  })

  it.each([1, 1025, 2047])('has room for %i queues', count => {
    const driver = new VirtioPciDriver(new ProbeDevice({ queueSizes: Array(count).fill(2) }))
    expect(driver.read('numQueues')).toBe(count)
    expect(driver.capability(NOTIFY).length).toBe(4 * count)
    expect(driver.notifyOffset(count - 1)).toBe(4 * (count - 1))
  })

  it.each([
    { offset: 0, size: 1, value: 0x10 },
    { offset: 1, size: 2, value: 0x1211 },
    { offset: 3, size: 4, value: 0x1615_1413 },
    { offset: 6, size: 4, value: 0x1716 },
    { offset: 100, size: 4, value: 0 },
  ])('reads $size bytes at $offset of the device configuration', ({ offset, size, value }) => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    expect(driver.mmio.read(driver.bar + driver.capability(DEVICE).offset + offset, size)).toBe(value)
  })

  it('hands writes inside the device configuration on, and no others', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device)
    const { offset } = driver.capability(DEVICE)
    driver.mmio.write(driver.bar + offset + 4, 4, 0xdead_beef)
    driver.mmio.write(driver.bar + offset + 6, 4, 1)
    driver.mmio.write(driver.bar + offset + 8, 1, 1)
    expect(device.calls).toEqual(['config 4 4 0xdeadbeef'])
  })

  it('raises the generation with each change of the configuration', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    device.host?.configChanged()
    device.host?.configChanged()
    expect(driver.read('configGeneration')).toBe(2)
  })

  it.each([
    { offset: 0, size: 2 },
    { offset: 4, size: 1 },
    { offset: 16, size: 4 },
    { offset: 18, size: 1 },
    { offset: 20, size: 2 },
    { offset: 21, size: 2 },
    { offset: 25, size: 1 },
    { offset: 34, size: 2 },
    { offset: 60, size: 4 },
  ])('reads nothing in the common configuration with $size bytes at $offset, which is no field', ({ offset, size }) => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    expect(driver.mmio.read(driver.bar + offset, size)).toBe(0)
  })

  it('logs an odd access once', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    driver.mmio.read(driver.bar, 2)
    driver.mmio.read(driver.bar, 2)
    expect(driver.logged).toEqual(['probe: read of 2 bytes at 0 of the common configuration'])
  })

  it('falls silent when a driver finds ever new mistakes', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    Array.from({ length: 100 }, (_, i) => device.host?.log(`mistake ${i}`))
    expect(driver.logged).toHaveLength(32)
  })

  it('takes a 64-bit address in one access', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    driver.mmio.write(driver.bar + 32, 8, 0x12_3456_7890)
    expect([driver.read('queueDescLow'), driver.read('queueDescHigh')]).toEqual([0x3456_7890, 0x12])
  })

  it('closes the device, its doorbells and its vectors', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.close()
    expect(device.calls.at(-1)).toBe('close')
    expect(driver.host.doorbells.map(({ isClosed }) => isClosed)).toEqual([true, true])
    expect(driver.host.vectors.map(({ isClosed }) => isClosed)).toEqual([true, true, true])
  })

  it('counts notifications and interrupts for each queue', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.queues[1]?.add({ in: [4] })
    driver.queues[1]?.kick()
    device.serve(1)
    driver.notify(0)
    driver.notify(0)
    expect(driver.transport.statistics()).toEqual({
      notifications: 3,
      interrupts: 1,
      queues: [
        { notifications: 2, interrupts: 0 },
        { notifications: 1, interrupts: 1 },
      ],
    })
  })
})
