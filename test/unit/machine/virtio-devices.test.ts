import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createPci } from '../../../src/arch/devices.ts'
import { Bus } from '../../../src/bus/bus.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import type { DeviceEnvironment } from '../../../src/machine/device/environment.ts'
import { Timers } from '../../../src/machine/timers.ts'
import { loadVirtio, type VirtioOptions } from '../../../src/machine/virtio-devices.ts'
import { FakePciHost } from '../../support/pci-host.ts'
import { VirtioMemory } from '../../support/virtio-memory.ts'

const RNG = { kind: 'rng', plan: {} } as const
const PLAIN = { rootPorts: false, packedRings: false }
/** Of an entropy device: one for the configuration and one for the queue. */
const VECTORS = 2
/** Where the BAR of the first device is, and the upper half of its features. */
const WINDOW = 0xc000_0000
const DEVICE_FEATURE_SELECT = 0
const DEVICE_FEATURE = 4
const RING_PACKED = 1 << 2

let opened: DisposableStack
beforeEach(() => {
  opened = new DisposableStack()
})
afterEach(() => opened.dispose())

/** What a device thread has, and two entropy devices. */
async function bench(options: VirtioOptions = PLAIN) {
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
  } as unknown as DeviceEnvironment
  const make = await loadVirtio([RNG, RNG], options)
  const poller = { watch: () => false }
  const build = () => {
    const devices = make(pci, host, poller, environment)
    pci.start()
    return devices
  }
  return { host, mmio, build }
}

describe('loadVirtio', () => {
  it.each([
    { packedRings: false, offered: 0 },
    { packedRings: true, offered: RING_PACKED },
  ])('offers packed rings when asked to ($packedRings)', async ({ packedRings, offered }) => {
    const { mmio, build } = await bench({ ...PLAIN, packedRings })
    build()
    mmio.write(WINDOW + DEVICE_FEATURE_SELECT, 4, 1)
    expect(mmio.read(WINDOW + DEVICE_FEATURE, 4) & RING_PACKED).toBe(offered)
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

describe('VirtioDevices', () => {
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
