/** A machine's PCI without a machine, and the guest's side of it: configuration accesses and the walk of capabilities. */
import { Bus, type BusHandler } from '../../src/bus/bus.ts'
import { type EndpointOptions, PciEndpoint } from '../../src/pci/endpoint.ts'
import type { Bar, PciFunction } from '../../src/pci/function.ts'
import { RootComplex } from '../../src/pci/root-complex.ts'
import { FakePciHost } from './pci-host.ts'

export const LOW_WINDOW = { start: 0xc000_0000, size: 0x2000_0000 } as const
export const HIGH_WINDOW = { start: 2 ** 39, size: 2 ** 38 } as const

/** A root complex with its buses. */
export class PciMachine {
  readonly host = new FakePciHost()
  readonly log: string[] = []
  readonly mmio = new Bus('mmio')
  readonly ports = new Bus('port')
  resets = 0
  readonly complex = new RootComplex({
    host: this.host,
    mmio: this.mmio,
    windows: [LOW_WINDOW, HIGH_WINDOW],
    buses: 256,
    onReset: () => {
      this.resets++
    },
    debug: message => this.log.push(message),
  })

  constructor() {
    this.ports.add({ name: 'config', start: 0xcf8, size: 8 }, this.complex.ports)
  }

  /** Start addresses of the BARs on the bus. */
  get mapped(): readonly number[] {
    return this.mmio.ranges().map(range => range.start)
  }

  read(bus: number, device: number, offset: number, size: number): number {
    return this.complex.root.readConfig(bus, device << 3, offset, size)
  }

  write(bus: number, device: number, offset: number, size: number, value: number): void {
    this.complex.root.writeConfig(bus, device << 3, offset, size, value)
  }
}

/** A handler that says what it was asked. */
export function loggedHandler(log: string[]): BusHandler {
  return {
    read: (offset, size) => {
      log.push(`r${offset.toString(16)}:${size}`)
      return 0x55
    },
    write: (offset, size, value) => {
      log.push(`w${offset.toString(16)}:${size}=${value.toString(16)}`)
    },
  }
}

/** A BAR of a page whose registers do nothing. */
export function testBar(change: Partial<Bar> = {}): Bar {
  return {
    index: 0,
    size: 0x1000,
    kind: 'memory32',
    prefetchable: false,
    name: 'test',
    handler: loggedHandler([]),
    ...change,
  }
}

/** An endpoint of a made-up kind. */
export function testEndpoint(change: Partial<EndpointOptions> = {}): PciEndpoint {
  return new PciEndpoint({
    name: 'test',
    vendorId: 0x1234,
    deviceId: 0x5678,
    revision: 9,
    classCode: 0xff0102,
    bars: [],
    host: new FakePciHost(),
    ...change,
  })
}

/** Offsets of the capabilities by ID, as a guest walks the list; at most 48 steps. */
export function capabilities(pciFunction: PciFunction): ReadonlyMap<number, number> {
  const found = new Map<number, number>()
  let at = pciFunction.readConfig(0x34, 1)
  for (let i = 0; i < 48 && at !== 0; i++) {
    found.set(pciFunction.readConfig(at, 1), at)
    at = pciFunction.readConfig(at + 1, 1)
  }
  return found
}
