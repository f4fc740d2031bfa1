import { describe, expect, it } from 'vitest'
import { VirtioNet } from '../../../src/virtio/net.ts'
import {
  GUEST_OFFLOADS,
  HOST_OFFLOADS,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_MQ,
} from '../../../src/virtio/net-features.ts'
import { type DeviceHarness, deviceHarness } from '../../support/device-harness.ts'
import { FakeNetBackend } from './fake-net-backend.ts'
import { frame, GUEST_MAC, packet } from './net-frames.ts'

const OK = 0
const ERR = 1
const PAIRS = 4
const OTHER_MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 9)
const MULTICAST = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1)
const BROADCAST = new Uint8Array(6).fill(0xff)

function bench(without = 0n) {
  const backend = new FakeNetBackend({ pairs: PAIRS, offloads: GUEST_OFFLOADS | HOST_OFFLOADS })
  const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend })
  const harness = deviceHarness(device, { features: device.features & ~without })
  return { backend, device, harness }
}

/** Sends a command; its answer. */
function command(harness: DeviceHarness, bytes: readonly number[], queue = 2 * PAIRS): number | undefined {
  return harness.request(queue, { out: [Uint8Array.from(bytes)], in: [1] }).in[0]?.[0]
}

/** Whether the frame reaches the driver. */
function passes(harness: DeviceHarness, backend: FakeNetBackend, body: Uint8Array): boolean {
  harness.driver(0).add({ in: [1526] })
  harness.driver(0).kick()
  backend.arrive(packet(body))
  return harness.driver(0).poll() !== undefined
}

/** VIRTIO_NET_CTRL_MAC_TABLE_SET with both tables. */
function tables(unicast: readonly Uint8Array[], multicast: readonly Uint8Array[]): number[] {
  const table = (macs: readonly Uint8Array[]) => [
    macs.length & 0xff,
    macs.length >> 8,
    0,
    0,
    ...macs.flatMap(m => [...m]),
  ]
  return [1, 0, ...table(unicast), ...table(multicast)]
}

/** A frame with a VLAN tag. */
function tagged(id: number): Uint8Array {
  const body = frame(64)
  body.set([0x81, 0, 0x20 | (id >> 8), id & 0xff], 12)
  return body
}

describe('NetControl', () => {
  it.each([
    ['nothing', []],
    ['a class alone', [0]],
    ['an unknown class', [9, 0, 0]],
    ['an unknown receive mode', [0, 6, 1]],
    ['a receive mode that is neither on nor off', [0, 0, 2]],
    ['a receive mode without a value', [0, 0]],
    ['a receive mode with more than a value', [0, 0, 1, 0]],
    ['an unknown MAC command', [1, 2, 2, 0, 0, 0, 0, 1]],
    ['a short address', [1, 1, 2, 0, 0, 0, 0]],
    ['a long address', [1, 1, 2, 0, 0, 0, 0, 1, 0]],
    ['tables without the second', [1, 0, 0, 0, 0, 0]],
    ['tables with less than they say', [1, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0]],
    ['tables that say 2^32 - 1 entries', [1, 0, 255, 255, 255, 255, 0, 0, 0, 0]],
    ['a second table of 2^32 - 1 entries', [1, 0, 0, 0, 0, 0, 255, 255, 255, 255]],
    ['bytes behind the tables', [...tables([], []), 0]],
    ['an unknown VLAN command', [2, 2, 1, 0]],
    ['VLAN 4096', [2, 0, 0, 16]],
    ['a short VLAN', [2, 0, 1]],
    ['an announcement', [3, 0]],
    ['an unknown pairs command', [4, 1, 1, 0]],
    ['no pairs', [4, 0, 0, 0]],
    ['more pairs than there are', [4, 0, PAIRS + 1, 0]],
    ['an unknown offload command', [5, 1, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['short offloads', [5, 0, 0, 0, 0, 0]],
    ['offloads that do not exist', [5, 0, 0, 0, 0, 1, 0, 0, 0, 0]],
    ['a command that is far too long', new Array<number>(5000).fill(0)],
  ])('answers %s with VIRTIO_NET_ERR, and serves the next command', (_, bytes) => {
    const { harness } = bench()
    expect(command(harness, bytes)).toBe(ERR)
    expect(harness.logged).toEqual(['a control command was refused'])
    expect(command(harness, [0, 0, 1])).toBe(OK)
  })

  it('survives a command without room for the answer', () => {
    const { harness } = bench()
    expect(harness.request(2 * PAIRS, { out: [Uint8Array.of(0, 0, 1)] }).written).toBe(0)
    expect(command(harness, [0, 0, 1])).toBe(OK)
  })

  it.each([
    ['receive modes', VIRTIO_NET_F_CTRL_RX, [0, 0, 1]],
    ['tables', VIRTIO_NET_F_CTRL_RX, tables([], [])],
    ['more receive modes', VIRTIO_NET_F_CTRL_RX_EXTRA, [0, 3, 1]],
    ['an address', VIRTIO_NET_F_CTRL_MAC_ADDR, [1, 1, 2, 0, 0, 0, 0, 7]],
    ['VLANs', VIRTIO_NET_F_CTRL_VLAN, [2, 0, 5, 0]],
    ['offloads', VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, [5, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ])('takes %s only where that was negotiated', (_, feature, bytes) => {
    expect(command(bench().harness, bytes)).toBe(OK)
    expect(command(bench(feature).harness, bytes)).toBe(ERR)
  })

  it('is the third queue where there is one pair', () => {
    const { harness } = bench(VIRTIO_NET_F_MQ)
    expect(command(harness, [0, 0, 1], 2)).toBe(OK)
    expect(command(harness, [4, 0, 1, 0], 2)).toBe(ERR)
  })

  it('shows the address that the driver set until the reset', () => {
    const { harness, device } = bench()
    expect(command(harness, [1, 1, ...OTHER_MAC])).toBe(OK)
    expect(device.config.subarray(0, 6)).toEqual(OTHER_MAC)
    harness.reset()
    expect(device.config.subarray(0, 6)).toEqual(GUEST_MAC)
  })

  it('tells the host which unfinished packets the driver takes', () => {
    const { harness, backend } = bench()
    const offloads = Number(VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4)
    expect(command(harness, [5, 0, offloads, 0, 0, 0, 0, 0, 0, 0])).toBe(OK)
    expect(backend.guestOffloads).toBe(VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4)
  })

  it('receives by the pairs that the driver asked for, and by one after a reset', () => {
    const { harness, backend } = bench()
    harness.driver(4).add({ in: [1526] })
    harness.driver(4).kick()
    backend.ports[2]?.incoming.push(packet(frame(60)))
    backend.events.readable(2)
    expect(harness.driver(4).poll()).toBeUndefined()
    expect(command(harness, [4, 0, 3, 0])).toBe(OK)
    expect(backend.activePairs).toBe(3)
    expect(harness.driver(4).poll()?.written).toBe(72)
    harness.reset()
    harness.activate()
    expect(backend.activePairs).toBe(1)
  })

  it('gives the buffers of a pair that is no longer used back', () => {
    const { harness, backend } = bench()
    command(harness, [4, 0, 2, 0])
    harness.driver(2).add({ in: [1526] })
    harness.driver(2).add({ in: [1526] })
    harness.driver(2).kick()
    backend.ports[1]?.incoming.push(packet(frame(60)))
    backend.events.readable(1)
    command(harness, [4, 0, 1, 0])
    expect(backend.ports[1]?.roomBytes).toBe(0)
    backend.ports[1]?.incoming.push(packet(frame(61)))
    command(harness, [4, 0, 2, 0])
    expect(
      harness
        .driver(2)
        .pollAll()
        .map(({ written }) => written),
    ).toEqual([72, 73])
  })
})

describe('NetFilter', () => {
  it('lets everything pass at first', () => {
    const { harness, backend } = bench()
    expect(passes(harness, backend, frame(60, OTHER_MAC))).toBe(true)
  })

  it.each([
    ['its own address', [], frame(60), true],
    ['another address', [], frame(60, OTHER_MAC), false],
    ['another address, promiscuous', [[0, 0, 1]], frame(60, OTHER_MAC), true],
    ['another address of the table', [tables([OTHER_MAC], [])], frame(60, OTHER_MAC), true],
    ['another address, all unicast', [[0, 2, 1]], frame(60, OTHER_MAC), true],
    ['its own address, no unicast', [[0, 4, 1]], frame(60), false],
    ['a multicast address', [], frame(60, MULTICAST), false],
    ['a multicast address of the table', [tables([], [MULTICAST])], frame(60, MULTICAST), true],
    ['a multicast address, all multicast', [[0, 1, 1]], frame(60, MULTICAST), true],
    [
      'a multicast address, no multicast',
      [
        [0, 1, 1],
        [0, 3, 1],
      ],
      frame(60, MULTICAST),
      false,
    ],
    ['a multicast address, table too long', [tables([], new Array(65).fill(OTHER_MAC))], frame(60, MULTICAST), true],
    ['another address, table too long', [tables(new Array(65).fill(MULTICAST), [])], frame(60, OTHER_MAC), true],
    ['everybody', [], frame(60, BROADCAST), true],
    ['everybody, no broadcast', [[0, 5, 1]], frame(60, BROADCAST), false],
    ['a VLAN that was not asked for', [], tagged(0x123), false],
    ['a VLAN that was', [[2, 0, 0x23, 1]], tagged(0x123), true],
    [
      'a VLAN that was taken back',
      [
        [2, 0, 0x23, 1],
        [2, 1, 0x23, 1],
      ],
      tagged(0x123),
      false,
    ],
    ['the address before the driver changed it', [[1, 1, ...OTHER_MAC]], frame(60), false],
    ['the address that the driver set', [[1, 1, ...OTHER_MAC]], frame(60, OTHER_MAC), true],
    ['nobody, a frame that is too short', [], frame(60).subarray(0, 13), false],
  ])('a frame to %s', (_, commands, body, expected) => {
    const { harness, backend } = bench()
    expect(command(harness, [0, 0, 0])).toBe(OK)
    expect(commands.map(bytes => command(harness, bytes))).toEqual(commands.map(() => OK))
    expect(passes(harness, backend, body)).toBe(expected)
  })

  it('lets every VLAN pass where that was not negotiated', () => {
    const { harness, backend } = bench(VIRTIO_NET_F_CTRL_VLAN)
    command(harness, [0, 0, 0])
    expect(passes(harness, backend, tagged(7))).toBe(true)
  })

  it('reads an address that lies in several buffers', () => {
    const { harness, backend, device } = bench()
    command(harness, [0, 0, 0])
    harness.driver(0).add({ in: [14, 2, 2, 1500] })
    harness.driver(0).kick()
    backend.arrive(packet(frame(60, OTHER_MAC)), packet(frame(61)))
    expect(harness.driver(0).poll()?.written).toBe(73)
    expect(device.statistics).toMatchObject({ rxFiltered: 1 })
  })
})
