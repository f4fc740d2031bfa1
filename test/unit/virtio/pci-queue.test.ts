import { describe, expect, it } from 'vitest'
import {
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
} from '../../../src/virtio/features.ts'
import { PagedSpace } from '../../support/paged-space.ts'
import { ProbeDevice } from '../../support/probe-device.ts'
import { VirtioMemory } from '../../support/virtio-memory.ts'
import { type RegisterName, VirtioPciDriver, type VirtioPciDriverOptions } from '../../support/virtio-pci-driver.ts'

/** A driver that has come to FEATURES_OK, with well-formed values in the registers of queue 0. */
function prepared(features = 0n, device = new ProbeDevice(), options: VirtioPciDriverOptions = {}): VirtioPciDriver {
  const driver = new VirtioPciDriver(device, { packed: true, ...options })
  driver.negotiate(features)
  driver.write('queueDescLow', 0x1000)
  driver.write('queueDriverLow', 0x2000)
  driver.write('queueDeviceLow', 0x3000)
  return driver
}

const SPLIT = 0n
const PACKED = VIRTIO_F_RING_PACKED

describe('QueueSlot', () => {
  it.each<{ features: bigint; register: RegisterName; value: number; enabled: number }>([
    { features: SPLIT, register: 'queueSize', value: 64, enabled: 1 },
    { features: SPLIT, register: 'queueSize', value: 1, enabled: 1 },
    { features: SPLIT, register: 'queueSize', value: 0, enabled: 0 },
    { features: SPLIT, register: 'queueSize', value: 128, enabled: 0 },
    { features: SPLIT, register: 'queueSize', value: 48, enabled: 0 },
    { features: PACKED, register: 'queueSize', value: 48, enabled: 1 },
    { features: PACKED, register: 'queueSize', value: 65, enabled: 0 },
    { features: SPLIT, register: 'queueDescLow', value: 0x1008, enabled: 0 },
    { features: PACKED, register: 'queueDescLow', value: 0x1008, enabled: 0 },
    { features: SPLIT, register: 'queueDriverLow', value: 0x2002, enabled: 1 },
    { features: SPLIT, register: 'queueDriverLow', value: 0x2001, enabled: 0 },
    { features: PACKED, register: 'queueDriverLow', value: 0x2002, enabled: 0 },
    { features: PACKED, register: 'queueDriverLow', value: 0x2004, enabled: 1 },
    { features: SPLIT, register: 'queueDeviceLow', value: 0x3004, enabled: 1 },
    { features: SPLIT, register: 'queueDeviceLow', value: 0x3002, enabled: 0 },
    { features: SPLIT, register: 'queueEnable', value: 0, enabled: 0 },
    { features: SPLIT, register: 'queueEnable', value: 2, enabled: 0 },
  ])('with $register $value and features $features is enabled: $enabled', ({ features, register, value, enabled }) => {
    const driver = prepared(features)
    driver.write(register, value)
    driver.write('queueEnable', register === 'queueEnable' ? value : 1)
    expect(driver.read('queueEnable')).toBe(enabled)
  })

  it('says why it is not enabled', () => {
    const driver = prepared()
    driver.write('queueSize', 48)
    driver.write('queueEnable', 1)
    expect(driver.logged).toEqual(['probe: queue 0: size 48 is not a power of two'])
  })

  it('is not enabled before FEATURES_OK', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    expect(driver.enableQueue(0, 0n, 16)).toBe(false)
  })

  it('stays enabled and as it is, whatever is written then', () => {
    const driver = prepared()
    driver.write('queueEnable', 1)
    driver.write('queueEnable', 0)
    driver.write('queueSize', 2)
    driver.write('queueDescLow', 0)
    expect([driver.read('queueEnable'), driver.read('queueSize'), driver.read('queueDescLow')]).toEqual([1, 64, 0x1000])
  })

  it('at an address where there is no memory breaks when it is used', () => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device)
    driver.negotiate()
    driver.write('queueDescHigh', 0xffff_ffff)
    driver.write('queueEnable', 1)
    driver.write('deviceStatus', 0x0f)
    device.serve(0)
    expect(driver.status).toBe(0x4f)
  })

  it.each([
    { features: SPLIT },
    { features: VIRTIO_F_RING_EVENT_IDX | VIRTIO_F_RING_INDIRECT_DESC },
    { features: PACKED },
    { features: PACKED | VIRTIO_F_RING_EVENT_IDX | VIRTIO_F_RING_INDIRECT_DESC },
  ])('has the layout of features $features', ({ features }) => {
    const device = new ProbeDevice()
    const driver = new VirtioPciDriver(device, { packed: true }).start(features)
    const token = driver.queues[0]?.add({ out: [new Uint8Array(8)], in: [4] })
    device.serve(0)
    expect(driver.queues[0]?.poll()).toMatchObject({ token, written: 0 })
  })

  it.each([{ features: SPLIT }, { features: PACKED }])(
    'of features $features uses translations from when it is enabled until the device is reset',
    ({ features }) => {
      const memory = new VirtioMemory()
      const space = new PagedSpace(memory.memory)
      const driver = prepared(features, new ProbeDevice(), { memory, space })
      expect(space.users.size).toBe(0)
      driver.write('queueEnable', 1)
      expect(space.users.size).toBe(1)
      driver.write('deviceStatus', 0)
      expect(space.users.size).toBe(0)
    },
  )

  it('uses translations until the device has finished the reset of the queue', () => {
    const memory = new VirtioMemory()
    const space = new PagedSpace(memory.memory)
    const device = new ProbeDevice({ slow: true })
    const driver = prepared(VIRTIO_F_RING_RESET, device, { memory, space })
    driver.write('queueEnable', 1)
    driver.write('deviceStatus', 0x0f)
    driver.write('queueReset', 1)
    expect(space.users.size).toBe(1)
    device.finish()
    expect(space.users.size).toBe(0)
  })

  it('that does not exist has size 0 and nothing to set', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    driver.write('queueSelect', 2)
    driver.write('queueSize', 16)
    driver.write('queueMsixVector', 1)
    driver.write('queueEnable', 1)
    expect([driver.read('queueSize'), driver.read('queueMsixVector'), driver.read('queueEnable')]).toEqual([
      0, 0xffff, 0,
    ])
  })

  it.each([
    { value: 0, reads: 0 },
    { value: 2, reads: 2 },
    { value: 3, reads: 0xffff },
    { value: 0xffff, reads: 0xffff },
  ])('takes MSI-X vector $value as $reads', ({ value, reads }) => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    driver.write('queueMsixVector', value)
    driver.write('configMsixVector', value)
    expect([driver.read('queueMsixVector'), driver.read('configMsixVector')]).toEqual([reads, reads])
  })
})
