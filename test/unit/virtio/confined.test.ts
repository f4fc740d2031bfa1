import { describe, expect, it } from 'vitest'
import { FaultReason } from '../../../src/iommu/fault.ts'
import { Outcome } from '../../../src/iommu/outcome.ts'
import { Access } from '../../../src/memory/dma-space.ts'
import { VirtioConsole } from '../../../src/virtio/console.ts'
import { VirtioNet } from '../../../src/virtio/net.ts'
import { Rng } from '../../../src/virtio/rng.ts'
import { ConfinedDevice, DOMAIN, ENDPOINT, IOVA, READ_WRITE } from '../../support/confined-device.ts'
import { CONFINED_SUBJECTS, type ConfinedSubject } from '../../support/confined-subjects.ts'
import { FakeConsolePort } from '../../support/fake-console-port.ts'
import { HIGH_START } from '../../support/virtio-memory.ts'
import { FakeNetBackend } from './fake-net-backend.ts'
import { frame, GUEST_MAC, packet } from './net-frames.ts'

const PAGE = 4096
/** The buffer begins in the first page and ends in the second, which are not next to each other in memory. */
const AT = IOVA + PAGE - 1000
const FIRST = HIGH_START + 5 * PAGE
const SECOND = HIGH_START + 2 * PAGE

/** How a page is mapped: not, with the right that the request takes, with the other one, with both. */
type Mapped = 'none' | 'right' | 'wrong' | 'both'

class Bench {
  readonly subject: ConfinedSubject
  readonly confined: ConfinedDevice

  constructor(create: () => ConfinedSubject, packed: boolean) {
    this.subject = create()
    this.confined = new ConfinedDevice(this.subject.device, { packed }).start()
    if (!this.subject.write) this.content = this.subject.content
  }

  /** What the buffer's two pieces of memory hold. */
  get content(): Uint8Array {
    const { length } = this.subject.content
    const { confined } = this
    return Uint8Array.of(...confined.bytes(FIRST + PAGE - 1000, 1000), ...confined.bytes(SECOND, length - 1000))
  }

  set content(bytes: Uint8Array) {
    this.confined.bytes(FIRST + PAGE - 1000, 1000).set(bytes.subarray(0, 1000))
    this.confined.bytes(SECOND, bytes.length - 1000).set(bytes.subarray(1000))
  }

  /** Maps both pages, as far as they are to be. */
  map(first: Mapped = 'both', second = first): void {
    this.mapPage(IOVA, FIRST, first)
    this.mapPage(IOVA + PAGE, SECOND, second)
  }

  /** Makes the request available. */
  send(address = AT): void {
    const { confined, subject } = this
    confined.send(subject.queue, subject.chain(confined.memory, address))
  }

  /** The same, and all of it that there is to do. */
  request(address = AT): void {
    this.send(address)
    this.subject.act()
  }

  /** The same with a buffer that is all at `address`, of memory too. */
  requestInOnePiece(address: number): void {
    const { content, write } = this.subject
    if (!write) this.confined.bytes(address, content.length).set(content)
    this.request(address)
  }

  arrivedInOnePiece(address: number): Uint8Array | undefined {
    const { content, write } = this.subject
    return write ? this.confined.bytes(address, content.length).slice() : this.subject.taken()
  }

  /** The bytes of the request as they arrived. */
  get arrived(): Uint8Array | undefined {
    return this.subject.write ? this.content : this.subject.taken()
  }

  /** Whether the device wrote to the buffer. */
  get isTouched(): boolean {
    return this.subject.write && this.content.some(byte => byte !== 0)
  }

  get access(): number {
    return this.subject.write ? Access.write : Access.read
  }

  private mapPage(iova: number, phys: number, how: Mapped): void {
    const other = READ_WRITE - this.access
    const flags = { none: 0, right: this.access, wrong: other, both: READ_WRITE }[how]
    if (flags !== 0) this.confined.map(iova, phys, 1, flags)
  }

  fault(address: number, reason: number = FaultReason.mapping) {
    return { endpoint: ENDPOINT, reason, access: this.access, address, name: this.subject.device.name }
  }
}

const RINGS = [
  { ring: 'split', packed: false },
  { ring: 'packed', packed: true },
] as const

describe.each(
  CONFINED_SUBJECTS.flatMap(([name, create]) => RINGS.map(({ ring, packed }) => ({ name, create, ring, packed }))),
)('$name behind an IOMMU, $ring ring', ({ create, packed }) => {
  it('serves a buffer in several mappings', () => {
    const bench = new Bench(create, packed)
    bench.map()
    bench.request()
    expect(bench.confined.take(bench.subject.queue)).toBeDefined()
    expect(bench.arrived).toEqual(bench.subject.content)
    expect(bench.confined.faults).toEqual([])
  })

  it('serves a buffer that is mapped with no more than the right it takes', () => {
    const bench = new Bench(create, packed)
    bench.map('right')
    bench.request()
    expect(bench.arrived).toEqual(bench.subject.content)
  })

  it.each([
    { what: 'no mapping', first: 'none', second: 'none', at: AT },
    { what: 'no mapping of its end', first: 'both', second: 'none', at: IOVA + PAGE },
    { what: 'no right to its start', first: 'wrong', second: 'both', at: AT },
    { what: 'no right to its end', first: 'right', second: 'wrong', at: IOVA + PAGE },
  ] as const)(
    'needs a reset after a buffer with $what, with one fault and nothing written',
    ({ first, second, at }) => {
      const bench = new Bench(create, packed)
      const { confined, subject } = bench
      bench.map(first, second)
      bench.request()
      expect(bench.isTouched).toBe(false)
      expect(confined.faults).toEqual([bench.fault(at)])
      expect([confined.needsReset, confined.configInterrupts]).toEqual([true, 1])
      expect(confined.driver.logged).toEqual([expect.stringMatching(/needs a reset: queue \d: the device may not/)])
      // Whatever comes then, nobody looks at the buffer again.
      confined.driver.notify(subject.queue)
      subject.act()
      expect(confined.faults).toHaveLength(1)
    },
  )

  it('needs a reset when its rings are not mapped any more, with one fault', () => {
    const bench = new Bench(create, packed)
    bench.map()
    bench.confined.unmapRings(bench.subject.queue)
    bench.request()
    expect(bench.isTouched).toBe(false)
    expect(bench.confined.faults).toHaveLength(1)
    expect([bench.confined.needsReset, bench.confined.configInterrupts]).toEqual([true, 1])
  })

  it('works again after a reset', () => {
    const bench = new Bench(create, packed)
    bench.request()
    bench.confined.restart()
    bench.map()
    bench.request()
    expect(bench.confined.take(bench.subject.queue)).toBeDefined()
    expect(bench.arrived).toEqual(bench.subject.content)
    expect(bench.confined.needsReset).toBe(false)
  })

  it('looks anew where a buffer is when its mapping changes', () => {
    const bench = new Bench(create, packed)
    bench.confined.map(IOVA, HIGH_START + 8 * PAGE, 2)
    bench.confined.unmap(IOVA, 2)
    bench.map()
    bench.request()
    expect(bench.arrived).toEqual(bench.subject.content)
  })

  it('reaches nothing when its endpoint is detached', () => {
    const bench = new Bench(create, packed)
    bench.map()
    expect(bench.confined.detach().outcome).toBe(Outcome.ok)
    bench.request()
    expect(bench.isTouched).toBe(false)
    expect(bench.confined.faults.map(({ reason }) => reason)).toEqual([FaultReason.domain])
    expect(bench.confined.needsReset).toBe(true)
  })

  it('reaches all of memory in bypass mode', () => {
    const bench = new Bench(create, packed)
    bench.confined.attach(DOMAIN + 1, true)
    bench.requestInOnePiece(FIRST)
    expect(bench.arrivedInOnePiece(FIRST)).toEqual(bench.subject.content)
    expect(bench.confined.faults).toEqual([])
  })
})

describe.each(
  CONFINED_SUBJECTS.filter(([name]) => /input|receiving/.test(name)).flatMap(([name, create]) =>
    RINGS.map(({ ring, packed }) => ({ name, create, ring, packed })),
  ),
)('$name behind an IOMMU, $ring ring, with a buffer that waits', ({ create, packed }) => {
  it('writes nothing there once it is unmapped', () => {
    const bench = new Bench(create, packed)
    bench.map()
    bench.send()
    expect(bench.confined.unmap(IOVA, 2).outcome).toBe(Outcome.ok)
    bench.subject.act()
    expect(bench.isTouched).toBe(false)
    expect(bench.confined.faults).toEqual([bench.fault(AT)])
    expect(bench.confined.needsReset).toBe(true)
  })

  it('writes to its new place when it is mapped elsewhere', () => {
    const bench = new Bench(create, packed)
    bench.confined.map(IOVA, HIGH_START + 8 * PAGE, 2)
    bench.send()
    bench.confined.unmap(IOVA, 2)
    bench.map()
    bench.subject.act()
    expect(bench.confined.bytes(HIGH_START + 8 * PAGE, 2 * PAGE).some(byte => byte !== 0)).toBe(false)
    expect(bench.content).toEqual(bench.subject.content)
    expect(bench.confined.faults).toEqual([])
  })

  it('writes nothing there once its endpoint is detached', () => {
    const bench = new Bench(create, packed)
    bench.map()
    bench.send()
    expect(bench.confined.detach().outcome).toBe(Outcome.ok)
    bench.subject.act()
    expect(bench.isTouched).toBe(false)
    expect(bench.confined.needsReset).toBe(true)
  })
})

describe('a chain behind an IOMMU', () => {
  /** Maps pages that are all the same in memory. */
  const spread = (pages: number) => {
    const device = new Rng({ name: 'rng', source: { fill: (_, length) => length }, defer() {} })
    const confined = new ConfinedDevice(device).start()
    Array.from({ length: pages }, (_, i) => confined.map(IOVA + i * PAGE, FIRST))
    confined.send(0, [{ address: IOVA, length: pages * PAGE, write: true }])
    return confined
  }

  it('may be spread over 4096 mappings', () => {
    expect(spread(4096).take(0)).toMatchObject({ written: 65536 })
  })

  it('breaks its queue when it is spread over more, which is no fault', () => {
    const confined = spread(4097)
    expect(confined.take(0)).toBeUndefined()
    expect(confined.driver.logged).toEqual([
      'rng: needs a reset: queue 0: the buffers of a chain are spread over too many mappings',
    ])
    expect([confined.needsReset, confined.faults]).toEqual([true, []])
  })

  it('breaks its own queue and no other', () => {
    const port = new FakeConsolePort('', true)
    const device = new VirtioConsole({ name: 'console', ports: [port], defer() {} })
    const confined = new ConfinedDevice(device).start()
    confined.map(IOVA, FIRST)
    confined.send(1, [{ address: IOVA + PAGE, length: 4, write: false }])
    expect(confined.needsReset).toBe(true)
    confined.send(0, [{ address: IOVA, length: 4, write: true }])
    port.type(Uint8Array.of(1, 2))
    device.inputAvailable(0)
    expect(confined.take(0)).toMatchObject({ written: 2 })
    expect(confined.faults).toHaveLength(1)
  })
})

describe('output that the host had no room for, behind an IOMMU', () => {
  const OUTPUT = { address: IOVA, length: 100, write: false }

  /** Maps a page with `body` to the buffer's address. */
  const map = (confined: ConfinedDevice, phys: number, body: Uint8Array) => {
    confined.map(IOVA, phys)
    confined.bytes(phys, body.length).set(body)
  }

  const blockedNet = () => {
    const backend = new FakeNetBackend()
    const confined = new ConfinedDevice(new VirtioNet({ name: 'net0', mac: GUEST_MAC, backend })).start()
    map(confined, FIRST, packet(frame(88)))
    backend.port.capacity = 0
    confined.send(1, [OUTPUT])
    backend.port.capacity = 10
    return { backend, confined }
  }

  it('is sent from where it is mapped when there is room', () => {
    const { backend, confined } = blockedNet()
    expect(confined.unmap(IOVA).outcome).toBe(Outcome.ok)
    map(confined, SECOND, packet(frame(88, GUEST_MAC, 3)))
    backend.events.writable(0)
    expect(backend.port.sent).toEqual([packet(frame(88, GUEST_MAC, 3))])
    expect(confined.faults).toEqual([])
  })

  it('is not sent when it is not mapped any more', () => {
    const { backend, confined } = blockedNet()
    confined.unmap(IOVA)
    backend.events.writable(0)
    backend.events.writable(0)
    expect(backend.port.sent).toEqual([])
    expect([confined.faults.length, confined.needsReset]).toEqual([1, true])
  })

  it('of a console goes on where it stopped', () => {
    const port = new FakeConsolePort('', true)
    const device = new VirtioConsole({ name: 'console', ports: [port], defer() {} })
    const confined = new ConfinedDevice(device).start()
    map(confined, FIRST, new Uint8Array(100).fill(1))
    port.room = 60
    confined.send(1, [OUTPUT])
    confined.unmap(IOVA)
    map(confined, SECOND, new Uint8Array(100).fill(2))
    port.room = 60
    device.outputRoom(0)
    expect(port.takeOutput()).toEqual(new Uint8Array(100).fill(1, 0, 60).fill(2, 60))
    expect(confined.take(1)).toMatchObject({ written: 0 })
  })
})
