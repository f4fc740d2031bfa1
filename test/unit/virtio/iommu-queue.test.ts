/** The virtio-iommu's request queue: order, answers that come later, turns for others, resets. */
import { describe, expect, it } from 'vitest'
import { Access } from '../../../src/memory/dma-space.ts'
import {
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
} from '../../../src/virtio/features.ts'
import type { Chain } from '../../../src/virtio/queue.ts'
import {
  attachRequest,
  DISK,
  detachRequest,
  type IommuDevice,
  iommuDevice,
  mapRequest,
  NET,
  unmapRequest,
} from '../../support/iommu-device.ts'
import { repeat } from '../../support/repeat.ts'
import { VirtioPciDriver } from '../../support/virtio-pci-driver.ts'

const OK = 0
const INVAL = 4
const READ = 1
const REQUESTS = 0
const CONFIG_BYPASS = 36
const REQUEST = { in: [4] } as const

/** A device of the disk that does I/O by whatever address. */
class BusyUser {
  constructor(
    private readonly bench: IommuDevice,
    private busy = true,
  ) {
    this.space.addUser(this)
  }

  keeps(): boolean {
    return true
  }

  isBusy(): boolean {
    return this.busy
  }

  finish(): void {
    this.busy = false
    this.space.released()
  }

  private get space() {
    return this.bench.iommu.endpoint(DISK)!.space
  }
}

/** The disk is in domain 1 with a mapping, and uses it. */
function setUp() {
  const bench = iommuDevice()
  bench.attach(1, DISK)
  bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
  return { bench, user: new BusyUser(bench) }
}

const statuses = (bench: IommuDevice) => bench.answers().map(({ status }) => status)

describe('VirtioIommu, requests', () => {
  it('answers a batch with one interrupt, in order', () => {
    const bench = iommuDevice()
    const driver = bench.harness.driver(REQUESTS)
    const requests = [attachRequest(1, DISK), mapRequest(1, 0, 0xfff, 0, READ), unmapRequest(1, 0, 0xfff)]
    const tokens = requests.map(out => driver.add({ out: [out], ...REQUEST }))
    driver.kick()
    expect(driver.interrupts).toBe(1)
    expect(driver.pollAll().map(({ token, in: inputs }) => [token, inputs[0]?.[0]])).toEqual(
      tokens.map(token => [token, OK]),
    )
  })

  it('shows its answers before it asks for notifications', () => {
    const bench = iommuDevice()
    const driver = bench.harness.driver(REQUESTS)
    const { queue } = driver
    const requestNotifications = queue.requestNotifications.bind(queue)
    const seen: number[] = []
    queue.requestNotifications = () => {
      seen.push(driver.pollAll().length)
      return requestNotifications()
    }
    bench.post(attachRequest(1, DISK))
    expect(seen).toEqual([1])
  })

  it.each([
    ['in single bytes', [1, 1, 1, 1, 1, 15], [1, 1, 2]],
    ['in halves', [8, 12], [2, 2]],
    ['with empty buffers', [0, 20, 0], [0, 4]],
  ])('takes a request %s', (_, out, sizes) => {
    const bench = iommuDevice()
    const bytes = attachRequest(1, DISK)
    const ends = out.map((__, i) => out.slice(0, i + 1).reduce((sum, size) => sum + size, 0))
    const pieces = out.map((size, i) => bytes.subarray((ends[i] as number) - size, ends[i]))
    const { written, in: inputs } = bench.harness.request(REQUESTS, { out: pieces, in: sizes })
    expect([written, ...inputs.flatMap(input => [...input])]).toEqual([4, 0, 0, 0, 0])
    expect(bench.domains).toEqual([[1, [DISK]]])
  })

  it('takes a request that lies in two windows of memory', () => {
    const bench = iommuDevice()
    bench.harness.request(REQUESTS, { out: [attachRequest(1, DISK)], ...REQUEST, place: 'crossing' })
    expect(bench.domains).toEqual([[1, [DISK]]])
  })

  it('writes the tail at the start of a larger buffer, and nothing behind it', () => {
    const bench = iommuDevice()
    const { written, in: inputs } = bench.harness.request(REQUESTS, { out: [attachRequest(1, DISK)], in: [3, 9] })
    expect(written).toBe(4)
    expect(inputs).toEqual([new Uint8Array(3), Uint8Array.of(0, ...new Uint8Array(8).fill(0xee))])
  })

  it.each([
    ['packed', VIRTIO_F_RING_PACKED],
    ['split with event indexes', VIRTIO_F_RING_EVENT_IDX],
    ['packed with event indexes', VIRTIO_F_RING_PACKED | VIRTIO_F_RING_EVENT_IDX],
  ])('uses a %s queue', (_, ring) => {
    const bench = iommuDevice({ ring })
    expect(bench.attach(1, DISK)).toMatchObject({ status: OK, written: 4 })
    expect(bench.map(1, 0, 0xfff, 0, READ)).toMatchObject({ status: OK, written: 4 })
    expect(bench.harness.driver(REQUESTS).kicks).toBe(2)
  })

  it('serves 128 requests at a time, and the rest after others had their turn', () => {
    const bench = iommuDevice({ ring: VIRTIO_F_RING_INDIRECT_DESC })
    const driver = bench.harness.driver(REQUESTS)
    repeat(200, () => driver.add({ out: [attachRequest(1, DISK)], ...REQUEST, indirect: true }))
    driver.kick()
    expect(driver.pollAll()).toHaveLength(128)
    expect(bench.tasks.count).toBe(1)
    bench.tasks.runAll()
    expect(driver.pollAll()).toHaveLength(72)
  })

  it('stops at a broken queue', () => {
    const { harness, tasks } = iommuDevice()
    harness.driver(REQUESTS).split?.setAvailIdx(1000)
    harness.driver(REQUESTS).kick()
    expect(harness.resetReasons).toHaveLength(1)
    expect(tasks.count).toBe(0)
  })

  it('works again after a reset of its queue', () => {
    const bench = iommuDevice()
    expect(bench.harness.resetQueue(REQUESTS)).toBe(true)
    bench.harness.enableQueue(REQUESTS)
    expect(bench.attach(1, DISK)).toMatchObject({ status: OK })
  })

  it('works behind the PCI transport', () => {
    const { device } = iommuDevice()
    const driver = new VirtioPciDriver(device).start(device.features)
    driver.queues[REQUESTS]?.add({ out: [attachRequest(1, DISK)], ...REQUEST })
    driver.queues[REQUESTS]?.kick()
    expect(driver.queues[REQUESTS]?.poll()).toMatchObject({ written: 4, in: [new Uint8Array(4)] })
    expect(driver.readConfig(0, 4)).toBe(0x1057_1af4)
    driver.close()
  })

  it('keeps an answer while the function may not reach memory', () => {
    const { device, iommu } = iommuDevice()
    const driver = new VirtioPciDriver(device).start(device.features)
    const queue = driver.queues[REQUESTS]!
    queue.add({ out: [attachRequest(1, DISK)], ...REQUEST })
    driver.writeConfig(4, 2, 2)
    queue.kick()
    expect([queue.poll(), iommu.domain(1)]).toEqual([undefined, undefined])
    driver.writeConfig(4, 2, 6)
    expect(queue.poll()).toMatchObject({ written: 4 })
    driver.close()
  })
})

describe('VirtioIommu, requests that wait', () => {
  it.each([
    ['UNMAP', unmapRequest(1, 0x1000, 0x1fff)],
    ['DETACH', detachRequest(1, DISK)],
    ['ATTACH to another domain', attachRequest(2, DISK)],
  ])('answers %s when the device no longer uses what went', (_, request) => {
    const { bench, user } = setUp()
    bench.post(request)
    expect(statuses(bench)).toEqual([])
    // It has taken effect all the same.
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(false)
    user.finish()
    bench.tasks.runAll()
    expect(statuses(bench)).toEqual([OK])
  })

  it('does not hold back the answers in front of it, and holds back the ones behind it', () => {
    const { bench, user } = setUp()
    const driver = bench.harness.driver(REQUESTS)
    driver.add({ out: [mapRequest(1, 0x5000, 0x5fff, 0, READ)], ...REQUEST })
    driver.add({ out: [unmapRequest(1, 0x1000, 0x1fff)], ...REQUEST })
    driver.add({ out: [attachRequest(1, DISK, 1)], ...REQUEST })
    driver.kick()
    expect(statuses(bench)).toEqual([OK])
    bench.device.notify(REQUESTS)
    expect(statuses(bench)).toEqual([])
    user.finish()
    bench.tasks.runAll()
    expect(statuses(bench)).toEqual([OK, INVAL])
  })

  it('does nothing inside of the other device’s work but note that it can go on', () => {
    const { bench, user } = setUp()
    bench.post(unmapRequest(1, 0x1000, 0x1fff))
    user.finish()
    expect(statuses(bench)).toEqual([])
    expect(bench.tasks.count).toBe(1)
  })

  it('hears of a request that came while it waited', () => {
    const { bench, user } = setUp()
    bench.post(unmapRequest(1, 0x1000, 0x1fff))
    bench.post(attachRequest(2, NET))
    user.finish()
    bench.tasks.runAll()
    expect(statuses(bench)).toEqual([OK, OK])
    expect(bench.attach(3, NET)).toMatchObject({ status: OK })
  })

  it('ends a reset when the device is through, and answers nothing', () => {
    const { bench, user } = setUp()
    const driver = bench.harness.driver(REQUESTS)
    bench.post(unmapRequest(1, 0x1000, 0x1fff))
    let isReset = false
    bench.device.reset(() => {
      isReset = true
    })
    expect(isReset).toBe(false)
    user.finish()
    bench.tasks.runAll()
    expect(isReset).toBe(true)
    expect(driver.pollAll()).toEqual([])
    expect(bench.domains).toEqual([])
  })

  it('ends a reset no earlier when the request that waits was a DETACH', () => {
    const { bench, user } = setUp()
    bench.post(detachRequest(1, DISK))
    let isReset = false
    bench.device.reset(() => {
      isReset = true
    })
    expect(isReset).toBe(false)
    user.finish()
    expect(isReset).toBe(true)
  })

  it('ends a reset of its queue when the device is through, and answers nothing', () => {
    const { bench, user } = setUp()
    const driver = bench.harness.driver(REQUESTS)
    bench.post(unmapRequest(1, 0x1000, 0x1fff))
    let isReset = false
    bench.device.resetQueue(REQUESTS, () => {
      isReset = true
    })
    expect(isReset).toBe(false)
    user.finish()
    bench.tasks.runAll()
    expect(isReset).toBe(true)
    expect(driver.pollAll()).toEqual([])
    bench.harness.enableQueue(REQUESTS)
    expect(bench.attach(2, NET)).toMatchObject({ status: OK })
  })

  it('drops an answer that was not yet given when its queue is reset', () => {
    const { bench, user } = setUp()
    bench.post(unmapRequest(1, 0x1000, 0x1fff))
    user.finish()
    expect(bench.harness.resetQueue(REQUESTS)).toBe(true)
    bench.harness.enableQueue(REQUESTS)
    bench.tasks.runAll()
    expect(bench.attach(2, NET)).toMatchObject({ status: OK })
  })

  it('gives its answer when the function may reach memory again', () => {
    const { bench, user } = setUp()
    const driver = new VirtioPciDriver(bench.device, { memory: bench.memory }).start(bench.device.features)
    const queue = driver.queues[REQUESTS]!
    queue.add({ out: [attachRequest(1, DISK)], ...REQUEST })
    queue.add({ out: [detachRequest(1, DISK)], ...REQUEST })
    queue.kick()
    expect(queue.pollAll()).toHaveLength(1)
    driver.writeConfig(4, 2, 2)
    user.finish()
    bench.tasks.runAll()
    expect(queue.pollAll()).toEqual([])
    driver.writeConfig(4, 2, 6)
    expect(queue.pollAll()).toMatchObject([{ written: 4, in: [new Uint8Array(4)] }])
    driver.close()
  })

  it.each<[string, (bench: IommuDevice, user: BusyUser) => void]>([
    ['it is answered', (_, user) => user.finish()],
    ['its queue is reset', bench => bench.device.resetQueue(REQUESTS, () => {})],
    ['the device is reset', bench => bench.device.reset(() => {})],
  ])('keeps the buffers of a request for itself until %s', (_, end) => {
    const { bench, user } = setUp()
    const { queue } = bench.harness.driver(REQUESTS)
    const pop = queue.pop.bind(queue)
    const chains = new Set<Chain>()
    queue.pop = chain => pop(chains.add(chain) && chain)
    bench.post(unmapRequest(1, 0x1000, 0x1fff))
    expect([...chains].map(({ isPinned }) => isPinned)).toEqual([true])
    end(bench, user)
    bench.tasks.runAll()
    expect([...chains].map(({ isPinned }) => isPinned)).toEqual([false])
  })

  it('counts a request once', () => {
    const { bench, user } = setUp()
    bench.post(unmapRequest(1, 0x1000, 0x1fff))
    repeat(3, () => bench.device.notify(REQUESTS))
    user.finish()
    bench.tasks.runAll()
    expect(bench.device.statistics).toMatchObject({ attaches: 1, maps: 1, unmaps: 1, failures: 0 })
  })
})

describe('VirtioIommu.reset', () => {
  it('forgets what was negotiated when it is reset before DRIVER_OK', () => {
    const { device, iommu } = iommuDevice({ isIdle: true })
    const driver = new VirtioPciDriver(device)
    driver.negotiate(device.features)
    driver.write('deviceStatus', 0)
    driver.mmio.write(driver.bar + driver.capability(4).offset + CONFIG_BYPASS, 1, 1)
    expect([iommu.bypass, device.findings.map(({ name }) => name)]).toEqual([false, ['bypass-not-negotiated']])
    driver.close()
  })

  it('lets nobody bypass it while a reset for old drivers waits', () => {
    const bench = iommuDevice({ legacyBypass: true })
    bench.attach(1, DISK)
    bench.iommu.endpoint(DISK)?.space.addUser({ keeps: () => true, isBusy: () => true })
    bench.device.reset(() => expect.unreachable('the disk is still busy'))
    expect([bench.canReach(DISK, 0x1000, Access.read), bench.canReach(NET, 0x1000, Access.read)]).toEqual([
      false,
      false,
    ])
  })
})
