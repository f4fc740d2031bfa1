import { describe, expect, it } from 'vitest'
import { VIRTIO_PCI_CAP_PCI_CFG } from '../../../src/virtio/pci-layout.ts'
import { ProbeDevice } from '../../support/probe-device.ts'
import { VirtioPciDriver } from '../../support/virtio-pci-driver.ts'

const NOTIFY_OFFSET = 0x3000
const ISR_OFFSET = 0x1000
const DEVICE_OFFSET = 0x2000
const STATUS = 20
const QUEUE_SELECT = 22

/** The window of a device, pointed at a place. */
class Window {
  readonly device = new ProbeDevice()
  readonly driver = new VirtioPciDriver(this.device)
  private readonly at = this.driver.capability(VIRTIO_PCI_CAP_PCI_CFG).at

  point(offset: number, length: number, bar = 0): this {
    this.driver.writeConfig(this.at + 4, 1, bar)
    this.driver.writeConfig(this.at + 8, 4, offset)
    this.driver.writeConfig(this.at + 12, 4, length)
    return this
  }

  read(size = 4): number {
    return this.driver.readConfig(this.at + 16, size)
  }

  write(value: number, size = 4): void {
    this.driver.writeConfig(this.at + 16, size, value)
  }

  get cap(): readonly number[] {
    const { driver, at } = this
    return [driver.readConfig(at, 4), driver.readConfig(at + 4, 4), driver.readConfig(at + 8, 4)]
  }
}

describe('PciWindow', () => {
  it.each([
    { name: 'the number of queues', offset: 18, length: 2, value: 2 },
    { name: 'a byte of the device configuration', offset: DEVICE_OFFSET + 3, length: 1, value: 0x13 },
    { name: 'a dword of the device configuration', offset: DEVICE_OFFSET + 4, length: 4, value: 0x1716_1514 },
  ])('reads $name', ({ offset, length, value }) => {
    const window = new Window().point(offset, length)
    expect(window.read(length)).toBe(value)
  })

  it.each([
    { name: 'a byte', offset: STATUS, length: 1, value: 3, reads: 3 },
    { name: 'a word', offset: QUEUE_SELECT, length: 2, value: 0x1234, reads: 0x1234 },
    { name: 'a dword', offset: 32, length: 4, value: 0x8765_4320, reads: 0x8765_4320 },
  ])('writes $name', ({ offset, length, value, reads }) => {
    const window = new Window().point(offset, length)
    window.write(value, length)
    expect(window.driver.mmio.read(window.driver.bar + offset, length)).toBe(reads)
  })

  it('reads and clears ISR', () => {
    const window = new Window()
    window.driver.start()
    window.device.host?.configChanged()
    window.point(ISR_OFFSET, 1)
    expect(window.read(1)).toBe(2)
    expect(window.driver.line).toBe(false)
  })

  it('notifies', () => {
    const window = new Window()
    window.driver.start()
    const before = window.device.calls.length
    window.point(NOTIFY_OFFSET + 4, 2).write(1, 2)
    expect(window.device.calls.slice(before)).toEqual(['notify 1'])
  })

  it('reaches the MSI-X table, which lies in the same BAR', () => {
    const window = new Window()
    const [at = 0] = window.driver.capabilitiesWith(0x11)
    const table = window.driver.readConfig(at + 4, 4) & ~7
    window.point(table + 8, 4).write(0xabcd)
    expect(window.driver.mmio.read(window.driver.bar + table + 8, 4)).toBe(0xabcd)
  })

  it.each([
    { name: 'another BAR', offset: STATUS, length: 1, bar: 1 },
    { name: 'a BAR that does not exist', offset: STATUS, length: 1, bar: 0xff },
    { name: 'a length of 0', offset: STATUS, length: 0, bar: 0 },
    { name: 'a length of 3', offset: STATUS, length: 3, bar: 0 },
    { name: 'a length of 8', offset: 32, length: 8, bar: 0 },
    { name: 'an offset that is not aligned', offset: 33, length: 4, bar: 0 },
    { name: 'an offset behind the BAR', offset: 0x10_0000, length: 4, bar: 0 },
    { name: 'the last offset there is', offset: 0xffff_fffc, length: 4, bar: 0 },
  ])('does nothing with $name', ({ offset, length, bar }) => {
    const window = new Window().point(offset, length, bar)
    window.write(0x5555_5555)
    expect(window.read()).toBe(0x5555_5555)
    expect(window.driver.status).toBe(0)
  })

  it('points nowhere at first, and after a reset of the function', () => {
    const window = new Window()
    const before = window.cap
    window.point(STATUS, 1)
    window.driver.transport.reset()
    expect(window.cap).toEqual(before)
    window.write(3)
    window.driver.map(window.driver.bar)
    expect(window.driver.status).toBe(0)
  })

  it('keeps what is not the driver’s', () => {
    const window = new Window()
    const before = window.cap[0]
    window.driver.writeConfig(window.driver.capability(VIRTIO_PCI_CAP_PCI_CFG).at, 4, 0xffff_ffff)
    expect(window.cap[0]).toBe(before)
  })
})
