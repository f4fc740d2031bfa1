import { describe, expect, it } from 'vitest'
import { VIRTIO_F_NOTIFICATION_DATA } from '../../../src/virtio/features.ts'
import { ProbeDevice } from '../../support/probe-device.ts'
import { VirtioPciDriver } from '../../support/virtio-pci-driver.ts'

const NOTIFY = 2
const ISR = 3
const COMMAND = 0x04

describe('VirtioPci notifications', () => {
  it('come by a doorbell for each enabled queue', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    const { offset } = driver.capability(NOTIFY)
    const before = device.calls.length
    expect(driver.host.doorbells.map(({ address }) => address)).toEqual([
      driver.bar + offset,
      driver.bar + offset + driver.notifyOffset(1),
    ])
    driver.notify(1)
    expect(device.calls.slice(before)).toEqual(['notify 1'])
  })

  it('have no doorbell before a queue is enabled', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    driver.negotiate()
    expect(driver.host.doorbells).toHaveLength(0)
  })

  it('follow the BAR', () => {
    const driver = new VirtioPciDriver(new ProbeDevice()).start()
    const { offset } = driver.capability(NOTIFY)
    driver.map(0x80_4000_0000)
    expect(driver.host.doorbells[1]?.address).toBe(0x80_4000_0000 + offset + 4)
  })

  it('have no address while the BAR has none', () => {
    const driver = new VirtioPciDriver(new ProbeDevice()).start()
    driver.writeConfig(COMMAND, 2, 4)
    expect(driver.host.doorbells.map(({ address }) => address)).toEqual([undefined, undefined])
  })

  it.each([
    { size: 2, value: 1 },
    { size: 4, value: 0x8001_0001 },
    { size: 1, value: 1 },
    { size: 2, value: 0 },
  ])('reach the device by the BAR as well, by address whatever is written', ({ size, value }) => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start(VIRTIO_F_NOTIFICATION_DATA)
    const before = device.calls.length
    driver.mmio.write(driver.bar + driver.capability(NOTIFY).offset + driver.notifyOffset(1), size, value)
    expect(device.calls.slice(before)).toEqual(['notify 1'])
  })

  it('before DRIVER_OK are served by it', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device)
    driver.negotiate()
    driver.enableQueue(1)
    driver.notify(1)
    expect(device.calls).toEqual([])
    driver.write('deviceStatus', 0x0f)
    expect(device.calls).toEqual(['activate', 'notify 1'])
  })

  it('of queues that are not enabled go nowhere', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device)
    driver.negotiate()
    driver.write('deviceStatus', 0x0f)
    driver.notify(0)
    driver.mmio.write(driver.bar + driver.capability(NOTIFY).offset + 8, 2, 0)
    expect(device.calls).toEqual(['activate'])
  })

  it('wait until the function may reach memory', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.writeConfig(COMMAND, 2, 2)
    const before = device.calls.length
    driver.notify(0)
    expect(device.calls).toHaveLength(before)
    driver.writeConfig(COMMAND, 2, 6)
    expect(device.calls.slice(before)).toEqual(['notify 0', 'notify 1'])
  })
})

describe('VirtioPci interrupts by the pin', () => {
  it('of a queue set bit 0 of ISR, and reading it lowers the line', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.queues[0]?.add({ in: [4] })
    device.serve(0)
    expect(driver.line).toBe(true)
    expect(driver.takeIsr()).toBe(1)
    expect(driver.line).toBe(false)
    expect(driver.takeIsr()).toBe(0)
  })

  it('of queue and configuration share the line', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.queues[0]?.add({ in: [4] })
    device.serve(0)
    device.host?.configChanged()
    expect(driver.takeIsr()).toBe(3)
  })

  it('leave ISR alone when another register of its page is read', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    device.host?.configChanged()
    driver.mmio.read(driver.bar + driver.capability(ISR).offset + 1, 1)
    expect(driver.takeIsr()).toBe(2)
  })
})

describe('VirtioPci interrupts by MSI-X', () => {
  it('go to the vectors of queue and configuration', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.enableMsix()
    driver.write('configMsixVector', 0)
    driver.write('queueSelect', 1)
    driver.write('queueMsixVector', 2)
    driver.queues[1]?.add({ in: [4] })
    device.serve(1)
    device.host?.configChanged()
    expect([driver.messages(0), driver.messages(1), driver.messages(2)]).toEqual([[0x100], [], [0x102]])
    expect(driver.line).toBe(false)
  })

  it('go nowhere without a vector', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.enableMsix()
    driver.queues[1]?.add({ in: [4] })
    device.serve(1)
    device.host?.configChanged()
    expect([driver.messages(0), driver.messages(1), driver.messages(2)]).toEqual([[], [], []])
    expect(driver.line).toBe(false)
  })

  it('that are pending are forgotten at a reset', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.enableMsix()
    driver.write('configMsixVector', 0)
    driver.host.vectors[0]?.connect(undefined)
    device.host?.configChanged()
    expect(driver.host.vectors[0]?.pending).toBe(true)
    driver.write('deviceStatus', 0)
    expect(driver.host.vectors[0]?.pending).toBe(false)
  })
})
