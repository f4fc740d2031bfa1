import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createPci } from '../../../src/arch/devices.ts'
import { BadInput } from '../../../src/base/errors.ts'
import { Bus } from '../../../src/bus/bus.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import type { MachineEnvironment } from '../../../src/machine/device/environment.ts'
import { type IommuStart, planIommu } from '../../../src/machine/iommu-plan.ts'
import type { IommuEnd } from '../../../src/machine/iommu-view.ts'
import { type DevicesOptions, loadDevices } from '../../../src/machine/pci-devices.ts'
import { Timers } from '../../../src/machine/timers.ts'
import { FakePciHost } from '../../support/pci-host.ts'
import { VirtioMemory } from '../../support/virtio-memory.ts'

const RNG = { kind: 'rng', plan: {} } as const
/** Vendor and device ID of an entropy device. */
const RNG_ID = 0x1044_1af4
const PLAIN = { rootPorts: false, pciBridge: false, packedRings: false }
/** Of an entropy device: one for the configuration and one for the queue. */
const VECTORS = 2
/** Where the BAR of the first device is, and the upper half of its features. */
const WINDOW = 0xc000_0000
const DEVICE_FEATURE_SELECT = 0
const DEVICE_FEATURE = 4
const RING_PACKED = 1 << 2
const ACCESS_PLATFORM = 1 << 1
/** Each device's BAR is as large as it is aligned. */
const WINDOW_STEP = 0x8000
const ECAM = 0xe000_0000
const VIRTIO_IOMMU = 0x1057_1af4

let opened: DisposableStack
beforeEach(() => {
  opened = new DisposableStack()
})
afterEach(() => opened.dispose())

/** An IOMMU before the devices of these names. */
function iommuStart(endpoints: readonly string[]): IommuStart {
  const plan = planIommu(
    { endpoints },
    { devices: [{ kind: 'rng' }, { kind: 'rng' }], rootPorts: false, pciBridge: false },
  )
  return { ...plan, startedMs: 0, isTraced: true }
}

/** What a device thread has, and two entropy devices. */
async function bench(options: DevicesOptions = PLAIN) {
  const host = new FakePciHost()
  const [ports, mmio] = [new Bus('port'), new Bus('mmio')]
  const pci = createPci({ ports, mmio, host, onReset: () => {} })
  const memory = new VirtioMemory()
  const environment = {
    loop: opened.use(new EventLoop()),
    timers: opened.use(new Timers()),
    memory: memory.memory,
    debug: () => {},
    warn: () => {},
  } as unknown as MachineEnvironment
  const make = await loadDevices([RNG, RNG], options)
  const poller = { watch: () => false }
  const [lines, ends]: [string[], IommuEnd[]] = [[], []]
  const notices = { trace: (text: string) => lines.push(text), ended: (last: IommuEnd) => ends.push(last) }
  const build = () => {
    const devices = make(pci, host, poller, environment, notices)
    pci.start()
    return devices
  }
  const idAt = (bus: number, devfn: number) => pci.complex.root.readConfig(bus, devfn, 0, 4)
  return { host, mmio, build, idAt, lines, ends }
}

describe('loadDevices', () => {
  it.each([
    { packedRings: false, offered: 0 },
    { packedRings: true, offered: RING_PACKED },
  ])('offers packed rings when asked to ($packedRings)', async ({ packedRings, offered }) => {
    const { mmio, build } = await bench({ ...PLAIN, packedRings })
    build()
    mmio.write(WINDOW + DEVICE_FEATURE_SELECT, 4, 1)
    expect(mmio.read(WINDOW + DEVICE_FEATURE, 4) & RING_PACKED).toBe(offered)
  })

  it.each([
    { options: {}, places: [0x008, 0x010] },
    { options: { rootPorts: true }, places: [0x100, 0x200] },
    { options: { pciBridge: true }, places: [0x100, 0x108] },
  ])('puts devices where they were asked for ($options)', async ({ options, places }) => {
    const { build, idAt } = await bench({ ...PLAIN, ...options })
    build()
    expect(places.map(id => idAt(id >> 8, id & 0xff))).toEqual([RNG_ID, RNG_ID])
  })

  it('puts the IOMMU at 00:1f.0', async () => {
    const { mmio, build } = await bench({ ...PLAIN, iommu: iommuStart([]) })
    build()
    expect(mmio.read(ECAM + (31 << 15), 4)).toBe(VIRTIO_IOMMU)
  })

  it.each([
    { endpoints: [], offered: [0, 0] },
    { endpoints: ['rng1'], offered: [0, ACCESS_PLATFORM] },
    { endpoints: ['rng0', 'rng1'], offered: [ACCESS_PLATFORM, ACCESS_PLATFORM] },
  ])('tells the devices behind it that there is an IOMMU: $endpoints', async ({ endpoints, offered }) => {
    const { mmio, build } = await bench({ ...PLAIN, iommu: iommuStart(endpoints) })
    build()
    const offers = [WINDOW, WINDOW + WINDOW_STEP].map(bar => {
      mmio.write(bar + DEVICE_FEATURE_SELECT, 4, 1)
      return mmio.read(bar + DEVICE_FEATURE, 4) & ACCESS_PLATFORM
    })
    expect(offers).toEqual(offered)
  })

  it('closes the devices that it made when one cannot be made', async () => {
    const { host, build } = await bench()
    const { createVector } = host
    host.createVector = requester => {
      if (host.vectors.length === 2 * VECTORS - 1) throw new Error('no more descriptors')
      return createVector.call(host, requester)
    }
    expect(build).toThrow('no more descriptors')
    expect(host.vectors.map(({ isClosed }) => isClosed)).toEqual([true, true, true])
  })
})

describe('PciDevices', () => {
  it('answers what is asked of the IOMMU', async () => {
    const { build } = await bench({ ...PLAIN, iommu: iommuStart(['rng1']) })
    const answers: unknown[] = []
    build().command('iommuState', {}, answer => answers.push(answer))
    expect(answers).toMatchObject([{ endpoints: [{ id: 0x10, name: 'rng1' }] }])
  })

  it('has no IOMMU to ask unless the machine has one', async () => {
    const { build } = await bench()
    expect(() => build().command('iommuState', {}, () => {})).toThrow(BadInput)
  })

  it('hands over the last of the trace, and then what the IOMMU has come to', async () => {
    const { build, lines, ends } = await bench({ ...PLAIN, iommu: iommuStart(['rng0']) })
    const devices = build()
    devices.command('iommuFault', { endpoint: 'rng0', address: 0x1000 }, () => {})
    devices[Symbol.dispose]()
    expect(lines.join('')).toMatch(/"type":"start".*\n.*"type":"fault".*\n.*"type":"drop".*\n/)
    expect(ends).toMatchObject([{ state: { counters: { faults: 1 } }, findings: [] }])
  })

  it('closes every device, even when one of them fails', async () => {
    const { host, build } = await bench()
    const devices = build()
    host.vectors[3]!.close = () => {
      throw new Error('the host is in trouble')
    }
    expect(() => devices[Symbol.dispose]()).toThrow('the host is in trouble')
    expect(host.vectors.slice(0, VECTORS).map(({ isClosed }) => isClosed)).toEqual([true, true])
  })
})
