import { describe, expect, it } from 'vitest'
import { VIRTIO_F_RING_RESET } from '../../../src/virtio/features.ts'
import { ProbeDevice } from '../../support/probe-device.ts'
import { VirtioPciDriver } from '../../support/virtio-pci-driver.ts'

const NEEDS_RESET = 0x40
const NO_VECTOR = 0xffff

describe('Transport status', () => {
  it.each([
    { name: 'step by step', writes: [1, 3], status: 3 },
    { name: 'in one write', writes: [3], status: 3 },
    { name: 'with a bit cleared', writes: [3, 2], status: 3 },
    { name: 'with a bit cleared and another set', writes: [3, 0x82], status: 3 },
    { name: 'with reserved bits and NEEDS_RESET', writes: [0x73], status: 3 },
    { name: 'with DRIVER_OK before FEATURES_OK', writes: [3, 7], status: 3 },
    { name: 'with FAILED', writes: [3, 0x83], status: 0x83 },
    { name: 'back to 0', writes: [3, 0], status: 0 },
  ])('is what the rules allow when written $name', ({ writes, status }) => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    writes.map(value => driver.write('deviceStatus', value))
    expect(driver.status).toBe(status)
  })

  it('accepts all steps in one write', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device)
    driver.writeFeatures(1n << 32n)
    driver.write('deviceStatus', 0x0f)
    expect(driver.status).toBe(0x0f)
    expect(device.calls).toEqual(['activate'])
  })

  it('activates the device once', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.write('deviceStatus', 0x0f)
    driver.write('deviceStatus', 0x8f)
    expect(device.calls).toEqual(['activate', 'notify 0', 'notify 1'])
  })
})

describe('Transport reset', () => {
  it('waits for the device with a status that is not 0', () => {
    const device = new ProbeDevice({ slow: true })
    const driver = new VirtioPciDriver(device).start()
    driver.write('deviceStatus', 0)
    expect(driver.status).not.toBe(0)
    device.finish()
    expect(driver.status).toBe(0)
  })

  it('does not trouble a device that was not active', () => {
    const device = new ProbeDevice({ slow: true })
    const driver = new VirtioPciDriver(device)
    driver.negotiate()
    driver.write('deviceStatus', 0)
    expect(driver.status).toBe(0)
    expect(device.calls).toEqual([])
  })

  it('brings all registers back to power-on', () => {
    const driver = new VirtioPciDriver(new ProbeDevice()).start()
    driver.write('queueMsixVector', 1)
    driver.write('configMsixVector', 0)
    driver.write('deviceStatus', 0)
    expect([
      driver.read('queueSize'),
      driver.read('queueEnable'),
      driver.read('queueMsixVector'),
      driver.read('configMsixVector'),
      driver.read('queueDescLow'),
      driver.read('queueDriverLow'),
      driver.read('queueDeviceLow'),
      driver.read('driverFeature'),
    ]).toEqual([64, 0, NO_VECTOR, NO_VECTOR, 0, 0, 0, 0])
  })

  it('takes no register while it is under way', () => {
    const device = new ProbeDevice({ slow: true })
    const driver = new VirtioPciDriver(device).start()
    driver.write('deviceStatus', 0)
    driver.write('deviceStatus', 1)
    driver.write('deviceStatus', 0)
    driver.write('configMsixVector', 1)
    driver.writeFeatures(1n << 32n)
    driver.write('queueSize', 8)
    driver.write('queueEnable', 1)
    driver.notify(0)
    device.finish()
    expect(driver.status).toBe(0)
    expect(driver.read('configMsixVector')).toBe(NO_VECTOR)
    expect(driver.read('queueSize')).toBe(64)
    expect(device.calls.filter(call => call === 'reset')).toHaveLength(1)
    expect(device.calls.at(-1)).toBe('reset')
  })

  it('gives the device to a driver that starts anew', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.write('deviceStatus', 0)
    driver.start()
    driver.queues[0]?.add({ in: [4] })
    expect(device.serve(0)).toBe(1)
  })

  it('ends interrupts that were sent', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    device.host?.configChanged()
    expect(driver.line).toBe(true)
    driver.write('deviceStatus', 0)
    expect(driver.line).toBe(false)
    expect(driver.takeIsr()).toBe(0)
  })

  it('lets no interrupt out after it, whatever the device does', () => {
    const device = new ProbeDevice({ slow: true })
    const driver = new VirtioPciDriver(device).start()
    const { host } = device
    const queue = host?.queue(0)
    driver.queues[0]?.add({ in: [4] })
    driver.write('deviceStatus', 0)
    queue?.interrupt()
    host?.configChanged()
    host?.needsReset('too late')
    device.finish()
    host?.configChanged()
    expect(driver.line).toBe(false)
    expect(driver.status).toBe(0)
    expect(host?.queue(0)).toBeUndefined()
  })

  it('takes the doorbells away', () => {
    const driver = new VirtioPciDriver(new ProbeDevice()).start()
    driver.write('deviceStatus', 0)
    expect(driver.host.doorbells.map(({ isClosed }) => isClosed)).toEqual([true, true])
  })

  it('counts once when the device says twice that it is done', () => {
    const device = new ProbeDevice({ slow: true })
    const driver = new VirtioPciDriver(device).start()
    const dones: (() => void)[] = []
    Object.assign(device, { reset: (done: () => void) => dones.push(done) })
    driver.write('deviceStatus', 0)
    dones[0]?.()
    driver.start()
    dones[0]?.()
    expect(driver.status).toBe(0x0f)
  })

  it('follows a reset of the function', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.transport.reset()
    driver.map(driver.bar)
    expect(device.calls.at(-1)).toBe('reset')
    expect(driver.status).toBe(0)
  })
})

describe('Transport queue reset', () => {
  it('shows 1 until the device is done, and then a queue at power-on', () => {
    const device = new ProbeDevice({ slow: true })
    const driver = new VirtioPciDriver(device).start(VIRTIO_F_RING_RESET)
    driver.write('queueSelect', 1)
    driver.write('queueReset', 1)
    expect([driver.read('queueReset'), device.host?.queue(1)]).toEqual([1, undefined])
    device.finish()
    expect([driver.read('queueReset'), driver.read('queueEnable'), driver.read('queueDescLow')]).toEqual([0, 0, 0])
    expect(device.calls.at(-1)).toBe('reset queue 1')
  })

  it('lets the driver enable the queue again, and looks at it', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start(VIRTIO_F_RING_RESET)
    driver.write('queueReset', 1)
    driver.enableQueue(1, 0n, 16)
    expect(device.calls.at(-1)).toBe('notify 1')
    driver.queues[1]?.add({ in: [4] })
    expect(device.serve(1)).toBe(1)
  })

  it('leaves the other queue alone', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start(VIRTIO_F_RING_RESET)
    driver.write('queueReset', 1)
    driver.queues[0]?.add({ in: [4] })
    expect(device.serve(0)).toBe(1)
  })

  it.each([
    { name: 'without RING_RESET', features: 0n, value: 1 },
    { name: 'with a 0', features: VIRTIO_F_RING_RESET, value: 0 },
  ])('does not happen $name', ({ features, value }) => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start(features)
    driver.write('queueReset', value)
    expect(driver.read('queueEnable')).toBe(1)
    expect(device.calls).not.toContain('reset queue 1')
  })

  it('does not reach a queue that is not enabled', () => {
    const device = new ProbeDevice({ slow: true })
    const driver = new VirtioPciDriver(device).start(VIRTIO_F_RING_RESET)
    driver.write('queueReset', 1)
    driver.write('queueReset', 1)
    device.finish()
    driver.write('queueReset', 1)
    expect(device.calls.filter(call => call === 'reset queue 1')).toHaveLength(1)
    expect(driver.read('queueReset')).toBe(0)
  })

  it('happens at once before DRIVER_OK', () => {
    const device = new ProbeDevice({ slow: true })
    const driver = new VirtioPciDriver(device)
    driver.negotiate(VIRTIO_F_RING_RESET)
    driver.enableQueue(0)
    driver.write('queueReset', 1)
    expect([driver.read('queueReset'), driver.read('queueEnable')]).toEqual([0, 0])
    expect(device.calls).toEqual([])
  })

  it('comes before a reset of the device', () => {
    const device = new ProbeDevice({ slow: true })
    const driver = new VirtioPciDriver(device).start(VIRTIO_F_RING_RESET)
    driver.write('queueReset', 1)
    driver.write('deviceStatus', 0)
    expect(device.calls.slice(-1)).toEqual(['reset queue 1'])
    device.finish()
    expect(device.calls.slice(-2)).toEqual(['reset queue 1', 'reset'])
    expect(driver.status).not.toBe(0)
    device.finish()
    expect(driver.status).toBe(0)
  })
})

describe('Transport needsReset', () => {
  it('sets the status bit, says why once, and interrupts', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    device.host?.needsReset('it is over')
    device.host?.needsReset('it is over')
    expect(driver.status).toBe(0x0f | NEEDS_RESET)
    expect(driver.logged).toEqual(['probe: needs a reset: it is over'])
    expect(driver.takeIsr()).toBe(2)
  })

  it('is not undone by the driver but by a reset', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    device.host?.needsReset('it is over')
    driver.write('deviceStatus', 0x0f)
    expect(driver.status).toBe(0x4f)
    driver.write('deviceStatus', 0)
    expect(driver.status).toBe(0)
  })

  it('comes with a broken queue, which is left alone until the reset', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device).start()
    driver.queues[0]?.split?.setAvailIdx(1000)
    device.serve(0)
    const before = device.calls.length
    driver.notify(0)
    driver.notify(1)
    expect(driver.status).toBe(0x4f)
    expect(device.calls.slice(before)).toEqual(['notify 1'])
  })
})
