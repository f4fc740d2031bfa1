import { describe, expect, it } from 'vitest'
import { VirtioBlk } from '../../../src/virtio/blk.ts'
import { VIRTIO_F_NOTIFICATION_DATA } from '../../../src/virtio/features.ts'
import { Fs } from '../../../src/virtio/fs.ts'
import { VirtioNet } from '../../../src/virtio/net.ts'
import type { IdleQueue } from '../../../src/virtio/queue-poller.ts'
import { blkHeader } from '../../support/disk.ts'
import { FakeVhost } from '../../support/fake-vhost.ts'
import { MemoryDisk } from '../../support/memory-disk.ts'
import { ProbeDevice } from '../../support/probe-device.ts'
import { VirtioPciDriver } from '../../support/virtio-pci-driver.ts'
import { FakeNetBackend } from './fake-net-backend.ts'
import { frame, GUEST_MAC, packet } from './net-frames.ts'

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
    driver.map(0x40_4000_0000)
    expect(driver.host.doorbells[1]?.address).toBe(0x40_4000_0000 + offset + 4)
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

describe('VirtioPci that is no bus master', () => {
  const MEMORY = 2

  it('has no queues, and is notified of all when it may reach memory again', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.queues[1]?.add({ in: [4] })
    driver.writeConfig(COMMAND, 2, MEMORY)
    const before = device.calls.length
    driver.notify(1)
    expect([device.host?.queue(1), device.calls.length]).toEqual([undefined, before])
    driver.writeConfig(COMMAND, 2, MEMORY | 4)
    expect(device.calls.slice(before)).toEqual(['notify 0', 'notify 1'])
    expect(device.serve(1)).toBe(1)
  })

  it('has no queues for a poller, which would read and write its rings', () => {
    const watched: IdleQueue[] = []
    const poller = { watch: (idle: IdleQueue) => watched.push(idle) > 0 }
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device, { poller }).start()
    device.host?.queue(1)?.requestNotifications()
    const before = watched[0]?.queue?.index
    driver.writeConfig(COMMAND, 2, MEMORY)
    expect([before, watched[0]?.queue]).toEqual([1, undefined])
  })

  it('leaves the buffers alone that it has for packets, until it may reach memory again', () => {
    const backend = new FakeNetBackend()
    const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend })
    const driver = new VirtioPciDriver(device).start()
    const [receiver] = driver.queues
    receiver?.add({ in: [2000] })
    receiver?.kick()
    driver.writeConfig(COMMAND, 2, MEMORY)
    backend.ports[0]?.incoming.push(packet(frame(60)))
    backend.events.readable(0)
    expect(receiver?.poll()).toBeUndefined()
    driver.writeConfig(COMMAND, 2, MEMORY | 4)
    expect(receiver?.poll()?.written).toBe(72)
  })

  it('shows what was completed meanwhile when it may reach memory again', () => {
    const disk = new MemoryDisk()
    disk.isHolding = true
    const driver = new VirtioPciDriver(new VirtioBlk({ name: 'disk', backend: disk, serial: '', queues: 1 })).start()
    const [queue] = driver.queues
    queue?.add({ out: [blkHeader(0, 0)], in: [512, 1] })
    queue?.kick()
    driver.writeConfig(COMMAND, 2, MEMORY)
    disk.complete()
    expect(queue?.poll()).toBeUndefined()
    driver.writeConfig(COMMAND, 2, MEMORY | 4)
    expect(queue?.poll()?.written).toBe(513)
  })

  it('keeps the interrupts of a program outside until it may send them', () => {
    const backend = new FakeVhost()
    const driver = new VirtioPciDriver(new Fs('share data', Uint8Array.of(1), backend)).start()
    driver.enableMsix()
    driver.write('queueSelect', 1)
    driver.write('queueMsixVector', 2)
    driver.writeConfig(COMMAND, 2, MEMORY)
    backend.events?.interrupt(1)
    expect(driver.messages(2)).toEqual([])
    driver.writeConfig(COMMAND, 2, MEMORY | 4)
    expect(driver.messages(2)).toEqual([0x102])
  })
})

describe('VirtioPci.close', () => {
  it('gives interrupts and doorbells back even when the device fails', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    device.close = () => {
      throw new Error('the disk is gone')
    }
    expect(() => driver.transport.close()).toThrow('the disk is gone')
    expect(driver.host.doorbells.map(({ isClosed }) => isClosed)).toEqual([true, true])
    expect(driver.host.vectors.map(({ isClosed }) => isClosed)).toEqual([true, true, true])
  })
})
