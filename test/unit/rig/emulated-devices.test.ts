import { describe, expect, it } from 'vitest'
import {
  deviceAddresses,
  type EmulatedDevice,
  haveNetworkCard,
  placeDevices,
} from '../../../src/rig/emulated-devices.ts'

const EDU = { kind: 'edu' } as const
const JOINING = { kind: 'edu', joins: true } as const
const NVME = { kind: 'nvme', path: '/disk', writable: false } as const
const CARD = { kind: 'e1000e' } as const

describe('deviceAddresses', () => {
  it.each([
    ['one of each', [EDU, NVME, CARD], ['0000:00:10.0', '0000:00:11.0', '0000:00:12.0']],
    ['a second one', [EDU, EDU], ['0000:00:10.0', '0000:00:13.0']],
    ['others before it', [CARD, CARD, NVME], ['0000:00:12.0', '0000:00:15.0', '0000:00:11.0']],
    [
      'one that joins',
      [EDU, NVME, EDU, JOINING, EDU],
      ['10.0', '11.0', '13.0', '13.1', '16.0'].map(on => `0000:00:${on}`),
    ],
    ['the last place', Array<EmulatedDevice>(5).fill(CARD), expect.arrayContaining(['0000:00:1e.0'])],
  ])('depend on the kind and its number: %s', (_, devices, addresses) => {
    expect(deviceAddresses(devices)).toEqual(addresses)
  })

  it('end before the south bridge', () => {
    expect(() => deviceAddresses(Array<EmulatedDevice>(6).fill(EDU))).toThrow('at most 5 edu devices')
  })
})

describe('placeDevices', () => {
  it('says which slots have several functions', () => {
    const places = placeDevices([EDU, EDU, JOINING])
    expect(places.map(({ isMultifunction }) => isMultifunction)).toEqual([false, true, true])
  })

  it.each([
    [[JOINING], 'no edu device for another one to join'],
    [[EDU, ...Array<EmulatedDevice>(8).fill(JOINING)], 'at most 8 edu devices'],
  ])('refuses what no slot can have', (devices, message) => {
    expect(() => placeDevices(devices)).toThrow(message)
  })
})

describe('haveNetworkCard', () => {
  it.each([
    [[EDU, NVME], false],
    [[EDU, CARD], true],
  ])('looks for one among all devices', (devices, expected) => {
    expect(haveNetworkCard(devices)).toBe(expected)
  })
})
