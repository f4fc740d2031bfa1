import { describe, expect, it } from 'vitest'
import {
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from '../../../src/virtio/features.ts'
import { ProbeDevice } from '../../support/probe-device.ts'
import { VirtioPciDriver } from '../../support/virtio-pci-driver.ts'

const ALWAYS = VIRTIO_F_VERSION_1 | VIRTIO_F_ORDER_PLATFORM
const RINGS = VIRTIO_F_RING_INDIRECT_DESC | VIRTIO_F_RING_EVENT_IDX | VIRTIO_F_NOTIFICATION_DATA | VIRTIO_F_RING_RESET

describe('FeatureNegotiation', () => {
  it.each([
    { name: 'nothing else', device: {}, options: {}, offered: ALWAYS | RINGS },
    {
      name: 'the device type’s features',
      device: { features: 5n | (1n << 50n) },
      options: {},
      offered: ALWAYS | RINGS | 5n | (1n << 50n),
    },
    {
      name: 'no reserved bit that the device claims',
      device: { features: VIRTIO_F_IN_ORDER },
      options: {},
      offered: ALWAYS | RINGS,
    },
    {
      name: 'packed queues',
      device: {},
      options: { packed: true },
      offered: ALWAYS | RINGS | VIRTIO_F_RING_PACKED,
    },
    {
      name: 'only the ring features that the device can work with',
      device: { transportFeatures: VIRTIO_F_RING_EVENT_IDX },
      options: { packed: true },
      offered: ALWAYS | VIRTIO_F_RING_EVENT_IDX,
    },
    {
      name: 'platform addresses',
      device: {},
      options: { accessPlatform: true },
      offered: ALWAYS | RINGS | VIRTIO_F_ACCESS_PLATFORM,
    },
  ])('offers $name', ({ device, options, offered }) => {
    expect(new VirtioPciDriver(new ProbeDevice(device), options).offered).toBe(offered)
  })

  it('offers nothing above 64 bits', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    driver.write('deviceFeatureSelect', 2)
    expect(driver.read('deviceFeature')).toBe(0)
  })

  it.each([
    { name: 'no more than VERSION_1', features: VIRTIO_F_VERSION_1, options: {}, agreed: true },
    { name: 'all of the offer', features: ALWAYS | RINGS | 1n, options: {}, agreed: true },
    { name: 'no VERSION_1', features: VIRTIO_F_RING_EVENT_IDX, options: {}, agreed: false },
    { name: 'more than was offered', features: ALWAYS | VIRTIO_F_RING_PACKED, options: {}, agreed: false },
    { name: 'what the device refuses', features: ALWAYS | 2n, options: {}, agreed: false },
    {
      name: 'platform addresses where there are none',
      features: ALWAYS | VIRTIO_F_ACCESS_PLATFORM,
      options: {},
      agreed: false,
    },
    { name: 'no platform addresses', features: ALWAYS, options: { accessPlatform: true }, agreed: false },
    {
      name: 'platform addresses',
      features: ALWAYS | VIRTIO_F_ACCESS_PLATFORM,
      options: { accessPlatform: true },
      agreed: true,
    },
  ])('answers a driver that accepts $name with FEATURES_OK: $agreed', ({ features, options, agreed }) => {
    const driver = new VirtioPciDriver(new ProbeDevice({ features: 3n, refused: 2n }), options)
    driver.writeFeatures(features)
    driver.write('deviceStatus', 0x0b)
    expect((driver.status & VIRTIO_CONFIG_S_FEATURES_OK) !== 0).toBe(agreed)
    expect(driver.logged).toHaveLength(agreed ? 0 : 1)
  })

  it('lets a driver that was refused try again', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    driver.writeFeatures(0n)
    driver.write('deviceStatus', 0x0b)
    expect(driver.negotiate()).toBe(true)
  })

  it('keeps the features after FEATURES_OK', () => {
    const driver = new VirtioPciDriver(new ProbeDevice())
    driver.negotiate(VIRTIO_F_RING_EVENT_IDX)
    driver.writeFeatures(0n)
    driver.write('driverFeatureSelect', 0)
    expect(driver.read('driverFeature')).toBe(2 ** 29)
  })

  it('tells the device what was agreed', () => {
    const device = new ProbeDevice({ features: 1n })
    new VirtioPciDriver(device).start(1n | VIRTIO_F_RING_EVENT_IDX)
    expect(device.host?.features).toBe(VIRTIO_F_VERSION_1 | VIRTIO_F_RING_EVENT_IDX | 1n)
  })
})
