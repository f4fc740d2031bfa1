import { describe, expect, it } from 'vitest'
import type { Endpoint } from '../../../src/iommu/endpoint.ts'
import { type Fault, FaultReason } from '../../../src/iommu/fault.ts'
import { Iommu } from '../../../src/iommu/iommu.ts'
import { MapFlag } from '../../../src/iommu/mapping-flags.ts'
import type { ReservedRegion } from '../../../src/iommu/reserved-region.ts'
import { TranslatedInterrupts } from '../../../src/machine/translated-interrupts.ts'
import { Access } from '../../../src/memory/dma-space.ts'
import { Rng } from '../../../src/virtio/rng.ts'
import { ConfinedDevice, READ_WRITE } from '../../support/confined-device.ts'
import { FakePciHost, type FakeVector } from '../../support/pci-host.ts'
import { VirtioMemory } from '../../support/virtio-memory.ts'

const ENDPOINT = 0x10
const DOMAIN = 1
const PAGE = 4096
const DATA = 0x4021
/** Linux's software MSI window: there the driver maps the doorbell's page. */
const WINDOW = 0x800_0000

/** Doorbells of both architectures, and the address in one that messages are meant for. */
const DOORBELLS = [
  { name: 'the local APICs of x86-64', start: 0xfee0_0000, end: 0xfeef_ffff, target: 0xfee0_1000 },
  { name: 'the ITS of a GICv3', start: 0x809_0000, end: 0x809_ffff, target: 0x809_0040 },
  { name: 'a GICv2m', start: 0x802_0000, end: 0x802_0fff, target: 0x802_0040 },
]
const [APIC, ITS] = DOORBELLS as [(typeof DOORBELLS)[0], (typeof DOORBELLS)[0]]

type Doorbell = (typeof DOORBELLS)[0]

interface BenchOptions {
  readonly bypass?: boolean
  readonly reserved?: readonly ReservedRegion[]
}

/** One vector of an endpoint in a domain. */
class Bench {
  readonly iommu: Iommu
  readonly faults: Fault[] = []
  readonly logged: string[] = []
  readonly host = new FakePciHost()
  readonly interrupts: TranslatedInterrupts
  readonly vector
  readonly inner: FakeVector
  /** The address that messages are sent to, as the driver sees it. */
  readonly address: number
  private readonly page: number

  constructor({ start, end, target }: Doorbell, { bypass = false, reserved = [] }: BenchOptions = {}) {
    this.page = target - (target % PAGE)
    this.address = WINDOW + (target % PAGE)
    this.iommu = new Iommu({
      memory: new VirtioMemory().memory,
      granule: PAGE,
      input: { start: 0, end: 2 ** 48 - 1 },
      domains: { start: 0, end: 10 },
      bypass,
      limits: { domain: 100, total: 100 },
      doorbells: [{ start, end }],
    })
    this.iommu.onFault = fault => this.faults.push(fault)
    const { space } = this.iommu.addEndpoint({ id: ENDPOINT, name: 'disk0', reserved })
    this.interrupts = new TranslatedInterrupts(this.host, space, message => this.logged.push(message))
    this.vector = this.interrupts.createVector(() => ENDPOINT)
    this.inner = this.host.vectors[0] as FakeVector
  }

  attach(): this {
    this.iommu.attach(ENDPOINT, DOMAIN, false, () => {})
    return this
  }

  map(phys = this.page, flags: number = MapFlag.write | MapFlag.mmio): void {
    expect(this.iommu.map(DOMAIN, WINDOW, WINDOW + PAGE - 1, phys, flags)).toBe(0)
  }

  unmap(): void {
    this.iommu.unmap(DOMAIN, WINDOW, WINDOW + PAGE - 1, () => {})
  }

  /** The function's entry is written and unmasked. */
  open(): void {
    this.vector.connect({ address: this.address, data: DATA })
  }

  fault(reason: number): object {
    return { endpoint: ENDPOINT, reason, access: Access.write, address: this.address, name: 'disk0' }
  }
}

describe.each(DOORBELLS)('TranslatedInterrupts to $name', doorbell => {
  const arrived = { address: doorbell.target, data: DATA }

  it('sends to where the address is mapped', () => {
    const bench = new Bench(doorbell).attach()
    bench.map()
    bench.open()
    bench.vector.trigger()
    expect(bench.inner.sent).toEqual([arrived])
    expect(bench.faults).toEqual([])
  })

  it('reports each interrupt to an address without a mapping, and sends none, then or later', () => {
    const bench = new Bench(doorbell).attach()
    bench.open()
    bench.vector.trigger()
    bench.vector.trigger()
    expect(bench.faults).toEqual([bench.fault(FaultReason.mapping), bench.fault(FaultReason.mapping)])
    expect(bench.logged).toEqual([`an interrupt to 0x${bench.address.toString(16)} reaches no interrupt controller`])
    bench.map()
    expect([bench.inner.sent, bench.vector.pending]).toEqual([[], false])
  })

  it('follows the mapping as it comes and goes', () => {
    const bench = new Bench(doorbell).attach()
    bench.open()
    bench.map()
    bench.vector.trigger()
    bench.unmap()
    bench.vector.trigger()
    bench.map()
    bench.vector.trigger()
    expect(bench.inner.sent).toEqual([arrived, arrived])
    expect(bench.faults).toEqual([bench.fault(FaultReason.mapping)])
  })

  it.each([
    { what: 'that is mapped to memory', phys: 0x1000, flags: MapFlag.write, reason: FaultReason.unknown },
    { what: 'without the right to write', phys: doorbell.start, flags: MapFlag.read, reason: FaultReason.mapping },
    { what: 'just before the doorbells', phys: doorbell.start - PAGE, flags: 6, reason: FaultReason.unknown },
    { what: 'just behind the doorbells', phys: doorbell.end + 1, flags: 6, reason: FaultReason.unknown },
  ])('reports an interrupt to an address $what', ({ phys, flags, reason }) => {
    const bench = new Bench(doorbell).attach()
    bench.map(phys, flags)
    bench.open()
    bench.vector.trigger()
    expect(bench.faults).toEqual([bench.fault(reason)])
    expect(bench.inner.sent).toEqual([])
  })

  it('leaves addresses as they are for an endpoint that bypasses the IOMMU', () => {
    const bench = new Bench(doorbell, { bypass: true })
    bench.vector.connect(arrived)
    bench.vector.trigger()
    expect(bench.inner.sent).toEqual([arrived])
  })

  it('leaves addresses of a reserved region for MSIs as they are, whatever is mapped', () => {
    const { start, end } = doorbell
    const bench = new Bench(doorbell, { reserved: [{ kind: 'msi', start, end }] }).attach()
    bench.vector.connect(arrived)
    bench.vector.trigger()
    expect(bench.inner.sent).toEqual([arrived])
    expect(bench.faults).toEqual([])
  })

  it('reaches nothing once the endpoint is in no domain', () => {
    const bench = new Bench(doorbell).attach()
    bench.map()
    bench.open()
    bench.iommu.detach(ENDPOINT, DOMAIN, () => {})
    bench.vector.trigger()
    expect(bench.faults).toEqual([bench.fault(FaultReason.domain)])
    expect(bench.inner.message).toBeUndefined()
  })
})

describe('TranslatedInterrupts', () => {
  it('leaves interrupt pins alone, of sources outside too', () => {
    const { host, interrupts } = new Bench(APIC)
    const level = interrupts.createLevelInterrupt(2, 1)
    expect(host.levelInterrupts.get('2.1')).toBe(level)
  })

  it('sends what waited behind the mask to where the address is mapped when it is unmasked', () => {
    const bench = new Bench(ITS).attach()
    bench.vector.trigger()
    expect(bench.vector.pending).toBe(true)
    bench.map()
    bench.open()
    expect(bench.inner.sent).toEqual([{ address: ITS.target, data: DATA }])
    expect(bench.vector.pending).toBe(false)
  })

  it('reports what waited behind the mask when the unmasked address is not mapped, once', () => {
    const bench = new Bench(ITS).attach()
    bench.vector.trigger()
    bench.open()
    expect(bench.faults).toEqual([bench.fault(FaultReason.mapping)])
    expect(bench.vector.pending).toBe(false)
    bench.map()
    expect(bench.inner.sent).toEqual([])
  })

  it('keeps what comes while it is masked, whether the address is mapped or not', () => {
    const bench = new Bench(ITS).attach()
    bench.open()
    bench.vector.connect(undefined)
    bench.vector.trigger()
    expect([bench.vector.pending, bench.faults]).toEqual([true, []])
    bench.vector.clear()
    expect(bench.vector.pending).toBe(false)
  })

  it('takes a new address and new data over', () => {
    const bench = new Bench(APIC).attach()
    bench.map()
    bench.open()
    bench.vector.connect({ address: bench.address + 4, data: 7 })
    bench.vector.trigger()
    expect(bench.inner.sent).toEqual([{ address: APIC.target + 4, data: 7 }])
  })

  it('leaves the vector alone when other addresses are mapped', () => {
    const bench = new Bench(APIC).attach()
    bench.map()
    bench.open()
    bench.iommu.map(DOMAIN, WINDOW + PAGE, WINDOW + 2 * PAGE - 1, 0x1000, READ_WRITE)
    bench.iommu.unmap(DOMAIN, WINDOW + PAGE, WINDOW + 2 * PAGE - 1, () => {})
    expect(bench.inner.connects).toHaveLength(1)
  })

  it('no longer looks at mappings once the vector is masked or closed', () => {
    const bench = new Bench(APIC).attach()
    bench.open()
    bench.vector.connect(undefined)
    bench.map()
    bench.open()
    bench.vector.close()
    const connects = bench.inner.connects.length
    bench.unmap()
    expect(bench.inner.connects).toHaveLength(connects)
    expect(bench.inner.isClosed).toBe(true)
  })

  it('asks for its own address only, and listens to changes only while a vector has one', () => {
    const bench = new Bench(APIC).attach()
    const { space } = bench.iommu.endpoint(ENDPOINT) as Endpoint
    const asked: number[] = []
    let listeners = 0
    const interrupts = new TranslatedInterrupts(bench.host, {
      resolveMsi: address => {
        asked.push(address)
        return space.resolveMsi(address)
      },
      refuseMsi: address => space.refuseMsi(address),
      onChange: listener => {
        const stop = space.onChange(listener)
        listeners++
        return () => {
          stop()
          listeners--
        }
      },
    })
    const vectors = [interrupts.createVector(() => 0), interrupts.createVector(() => 0)] as const
    expect(listeners).toBe(0)
    vectors[0].connect({ address: bench.address, data: DATA })
    vectors[1].connect({ address: bench.address, data: DATA })
    expect(listeners).toBe(1)
    asked.length = 0
    bench.iommu.map(DOMAIN, WINDOW + PAGE, WINDOW + 2 * PAGE - 1, 0x1000, READ_WRITE)
    expect(asked).toEqual([])
    bench.map()
    expect(asked).toEqual([bench.address, bench.address])
    vectors[0].connect(undefined)
    vectors[1].close()
    expect(listeners).toBe(0)
  })

  it('leaves pins and doorbells to the machine', () => {
    const host = new FakePciHost()
    const { space } = new Bench(APIC).iommu.addEndpoint({ id: 1, name: 'net0', reserved: [] })
    const interrupts = new TranslatedInterrupts(host, space)
    expect(interrupts.line(1, 1)).toBe(host.line(1, 1))
    expect(interrupts.createDoorbell(() => {})).toBe(host.doorbells[0])
  })
})

/** A device behind MSI-X and the IOMMU, whose interrupts go to the window. */
function confinedRng(): ConfinedDevice {
  const device = new Rng({ name: 'rng', source: { fill: (_, length) => length }, defer() {} })
  const { start, end, target } = ITS
  const confined = new ConfinedDevice(device, { doorbell: { start, end } })
  confined.driver.enableMsix(WINDOW + (target % PAGE))
  confined.start()
  confined.driver.write('queueSelect', 0)
  confined.driver.write('queueMsixVector', 1)
  return confined
}

/** The guest asks for some bytes, and gets them. */
function ask(confined: ConfinedDevice): void {
  confined.send(0, [{ address: 0x3000, length: 8, write: true }])
  expect(confined.take(0)).toMatchObject({ written: 8 })
}

describe('VirtioPci behind TranslatedInterrupts', () => {
  const ARRIVED = { address: ITS.target, data: 0x101 }

  it('sends by a mapped doorbell, and works on without interrupts when that is unmapped', () => {
    const confined = confinedRng()
    confined.map(WINDOW, ITS.target - (ITS.target % PAGE))
    ask(confined)
    confined.unmap(WINDOW)
    ask(confined)
    expect(confined.driver.host.vectors[1]?.sent).toEqual([ARRIVED])
    expect(confined.faults.map(({ address }) => address)).toEqual([WINDOW + (ITS.target % PAGE)])
    expect(confined.needsReset).toBe(false)
  })

  it('shows what waits behind the mask in the pending bits, and sends it when it is unmasked', () => {
    const confined = confinedRng()
    confined.map(WINDOW, ITS.target - (ITS.target % PAGE))
    confined.driver.maskVector(1, true)
    ask(confined)
    expect(confined.driver.pendingBits).toBe(2)
    confined.driver.maskVector(1, false)
    expect(confined.driver.pendingBits).toBe(0)
    expect(confined.driver.host.vectors[1]?.sent).toEqual([ARRIVED])
  })

  it('sends by a doorbell that is mapped after the vector was set up', () => {
    const confined = confinedRng()
    ask(confined)
    confined.map(WINDOW, ITS.target - (ITS.target % PAGE))
    ask(confined)
    expect(confined.driver.host.vectors[1]?.sent).toEqual([ARRIVED])
    expect(confined.faults).toHaveLength(1)
  })

  it('reports a refused interrupt about a queue that a fault broke, besides the fault', () => {
    const confined = confinedRng()
    confined.send(0, [{ address: 2 ** 40, length: 8, write: true }])
    expect(confined.needsReset).toBe(true)
    expect(confined.faults.map(({ address }) => address)).toEqual([2 ** 40, WINDOW + (ITS.target % PAGE)])
  })
})
