import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Fs } from '../../../src/virtio/fs.ts'
import { Chain } from '../../../src/virtio/queue.ts'
import { ChangingSpace } from '../../support/changing-space.ts'
import { type DeviceHarness, deviceHarness } from '../../support/device-harness.ts'
import { FakeVhost } from '../../support/fake-vhost.ts'
import { FuseClient } from '../../support/fuse-client.ts'

const EVENT_IDX = 1n << 29n
const INDIRECT = 1n << 28n
const FUSE_LOOKUP = 1
const NAME = new TextEncoder().encode('name\0')

let backend: FakeVhost
let device: Fs
let harness: DeviceHarness

beforeEach(() => {
  backend = new FakeVhost()
  device = new Fs('share data', new TextEncoder().encode('data'), backend)
  harness = deviceHarness(device, { features: EVENT_IDX | INDIRECT, queueSize: 16 })
})

afterEach(() => harness[Symbol.dispose]())

/** Sends a lookup that the program takes and never answers. */
function sendLookup(): number {
  const token = new FuseClient(harness, () => {}).send(FUSE_LOOKUP, 1n, [NAME], [128])
  harness.driver(1).queue.pop(new Chain(harness.space))
  return token
}

describe('Fs', () => {
  it('is a file system device with the tag and one request queue', () => {
    expect([device.id, device.classCode, device.features]).toEqual([26, 0x018000, 0n])
    expect(device.config).toHaveLength(40)
    expect(new TextDecoder().decode(device.config.subarray(0, 36))).toBe('data'.padEnd(36, '\0'))
    expect([...device.config.subarray(36)]).toEqual([1, 0, 0, 0])
    expect(device.queueSizes).toEqual([128, 1024])
  })

  it('takes the ring features that the program has too, and a reset of rings', () => {
    backend.features = INDIRECT | (1n << 32n) | (1n << 34n)
    const other = new Fs('share x', Uint8Array.of(1), backend)
    expect(other.transportFeatures).toBe(INDIRECT | (1n << 40n))
  })

  it('starts its rings with DRIVER_OK', () => {
    expect(backend.take()).toEqual(['start', 'start ring 0 at 0', 'start ring 1 at 0'])
    expect(backend.negotiated).toBe(harness.features)
    const { desc, driver, device: used } = harness.driver(1).queue.areas
    expect(backend.rings.get(1)).toEqual({ index: 1, size: 16, desc, driver, device: used, base: 0 })
  })

  it('starts only rings that are enabled, and another when it is notified', () => {
    const late = new FakeVhost()
    using partial = deviceHarness(new Fs('share x', Uint8Array.of(1), late), { queues: [1], features: 0n })
    expect(late.take()).toEqual(['start', 'start ring 1 at 0'])
    partial.device.notify(0)
    expect(late.take()).toEqual([])
    partial.enableQueue(0)
    partial.device.notify(0)
    expect(late.take()).toEqual(['start ring 0 at 0', 'kick 0'])
  })

  it('passes notifications and interrupts on', () => {
    backend.take()
    device.notify(1)
    backend.events!.interrupt(1)
    backend.events!.interrupt(0)
    expect(backend.take()).toEqual(['kick 1'])
    expect([harness.driver(0).interrupts, harness.driver(1).interrupts]).toEqual([1, 1])
  })

  it('is reset when all rings have stopped', () => {
    backend.take()
    let done = false
    device.reset(() => {
      done = true
    })
    backend.finish()
    expect([done, backend.take()]).toEqual([false, ['stop ring 0', 'stop ring 1']])
    backend.finish()
    expect([done, backend.take()]).toEqual([true, ['stop']])
  })

  it('works again after a reset', () => {
    device.reset(() => {})
    backend.finish()
    backend.finish()
    backend.take()
    harness.activate()
    expect(backend.take()).toEqual(['start', 'start ring 0 at 0', 'start ring 1 at 0'])
  })

  it('resets one ring and starts it anew', () => {
    backend.take()
    expect(harness.resetQueue(1, () => backend.finish())).toBe(true)
    harness.enableQueue(1)
    device.notify(1)
    expect(backend.take()).toEqual(['stop ring 1', 'start ring 1 at 0', 'kick 1'])
  })

  it('answers what a program that died has left, and goes on behind it', () => {
    const tokens = [sendLookup(), sendLookup()]
    backend.take()
    backend.die()
    const used = harness.driver(1).pollAll()
    expect(used.map(({ token }) => token).toSorted()).toEqual(tokens)
    // struct fuse_out_header: its length, -ENOTCONN, the request's id.
    const headers = used.map(({ in: [head] }) => new Int32Array(Uint8Array.from(head!).buffer).slice(0, 2))
    expect(headers).toEqual([Int32Array.of(16, -107), Int32Array.of(16, -107)])
    expect(used.map(({ written }) => written)).toEqual([16, 16])
    expect(backend.take()).toEqual(['start ring 0 at 0', 'start ring 1 at 2'])
    expect(harness.driver(1).interrupts).toBe(1)
    expect(device.statistics).toEqual({ lost: 1, unanswered: 2 })
    expect(harness.resetReasons).toEqual([])
  })

  it('asks for a notification of the first request to the next program', () => {
    sendLookup()
    backend.die()
    harness.driver(1).pollAll()
    backend.take()
    sendLookup()
    expect(backend.take()).toEqual(['kick 1'])
  })

  it('gives back requests that expect no answer', () => {
    harness.send(0, { out: [new Uint8Array(48)] })
    harness.driver(0).queue.pop(new Chain(harness.space))
    backend.die()
    expect(
      harness
        .driver(0)
        .pollAll()
        .map(({ written }) => written),
    ).toEqual([0])
  })

  it('gives back what is no FUSE request', () => {
    harness.send(1, { out: [Uint8Array.of(1, 2, 3)], in: [100] })
    backend.die()
    expect(
      harness
        .driver(1)
        .pollAll()
        .map(({ written }) => written),
    ).toEqual([0])
  })

  it('needs a reset when the rings do not tell what was taken', () => {
    sendLookup()
    const { areas } = harness.driver(1).queue
    harness.driver(1).access.setU16(areas.driver + 2, 999)
    backend.take()
    backend.die()
    device.notify(1)
    expect(harness.resetReasons).toEqual([expect.stringMatching(/^queue 1: .*it died.*do not add up/)])
    expect(backend.take()).toEqual(['start ring 0 at 0'])
  })

  it('has nothing to answer for a program that dies after a reset', () => {
    const events = backend.events!
    harness.reset()
    backend.take()
    events.lost('it died')
    expect(backend.take()).toEqual([])
  })

  it('refuses to work behind an IOMMU', () => {
    const other = new FakeVhost()
    using confined = deviceHarness(new Fs('share x', Uint8Array.of(1), other), {
      space: ({ memory }) => new ChangingSpace(memory),
      features: 0n,
    })
    confined.device.notify(1)
    expect(confined.resetReasons).toHaveLength(2)
    expect(confined.resetReasons[0]).toMatch(/cannot be confined by an IOMMU/)
    expect(other.rings.size).toBe(0)
  })

  it('refuses a ring that is not in one piece of RAM', () => {
    const other = new FakeVhost()
    using cut = deviceHarness(new Fs('share x', Uint8Array.of(1), other), { queues: [], features: 0n })
    const driver = cut.enableQueue(0)
    const areas = { ...driver.queue.areas, device: cut.memory.windowBytes - 16 }
    const queue = { ...driver.queue, index: 0, size: 128, space: cut.space, areas }
    cut.queue = () => queue as unknown as ReturnType<DeviceHarness['queue']>
    cut.device.notify(0)
    expect(cut.resetReasons).toEqual([expect.stringMatching(/the used ring at 0x3ffff0 is not in one piece of RAM/)])
    expect(other.rings.size).toBe(0)
  })
})
