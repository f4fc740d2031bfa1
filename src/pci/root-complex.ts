/**
 * The root complex: the root bus with the host bridge at 00:00.0, root ports, bridges, and what an access from the processor
 * meets. The machine puts `ports` and `ecam` on its buses.
 *
 * @example
 *   const complex = new RootComplex({ host, mmio, windows: [{ start: 0xc000_0000, size: 0x2000_0000 }], buses: 256 })
 *   complex.add(disk)                            // 00:01.0
 *   complex.add(net, { port: complex.addPort() }) // 01:00.0 behind port 00:02.0
 */
import type { Bus, DebugLog } from '../bus/bus.ts'
import { PciAddressSpace } from './address-space.ts'
import type { PciBridge } from './bridge.ts'
import type { BridgeFunction } from './bridge-function.ts'
import { BUS_DEVICES, PciBus, type PciPosition } from './bus.ts'
import { ConfigPorts } from './config-ports.ts'
import { createConventionalBridge } from './conventional-bridge.ts'
import { Ecam } from './ecam.ts'
import { PciEndpoint } from './endpoint.ts'
import type { PciFunction, PciSlot } from './function.ts'
import type { PciHost } from './host.ts'
import { createRootPort } from './root-port.ts'

/** As QEMU's generic host bridge, which guests know. */
const VENDOR_ID = 0x1b36
const DEVICE_ID = 0x0008
const CLASS_BRIDGE_HOST = 0x060000

/** A range of addresses. */
export interface AddressWindow {
  readonly start: number
  readonly size: number
}

export interface RootComplexOptions {
  readonly host: PciHost
  readonly mmio: Bus
  /** Where BARs can be; the bridge drops what is elsewhere. */
  readonly windows: readonly AddressWindow[]
  /** How many buses `ecam` reaches. */
  readonly buses: number
  /** The guest asked for a reset at port 0xcf9. */
  readonly onReset?: () => void
  readonly debug?: DebugLog
}

/** A place on the root bus, or below one of its ports and bridges. */
export interface FunctionPosition extends PciPosition {
  readonly port?: Pick<PciBridge, 'bus'>
}

/** See above. */
export class RootComplex {
  /** Ports 0xcf8 to 0xcff. */
  readonly ports: ConfigPorts
  readonly ecam: Ecam
  readonly root: PciBus
  private portCount = 0
  private bridgeCount = 0

  constructor(options: RootComplexOptions) {
    const { host, mmio, windows, buses, onReset = () => {}, debug } = options
    const space = new PciAddressSpace(mmio, debug)
    const isInWindow = (start: number, size: number) =>
      windows.some(window => start >= window.start && start + size <= window.start + window.size)
    this.root = new PciBus({
      number: 0,
      isRoot: true,
      isConventional: false,
      devices: BUS_DEVICES,
      addBar: (bar, isReachable) =>
        space.add(bar, (start, size) => isInWindow(start, size) && isReachable(start, size)),
      updateBars: () => space.update(),
      line: (device, pin) => host.line(device, pin),
      levelInterrupt: (device, pin) => host.createLevelInterrupt(device, pin),
    })
    this.ports = new ConfigPorts(this.root, onReset)
    this.ecam = new Ecam(this.root, buses)
    this.root.add(
      new PciEndpoint({
        name: 'host bridge',
        vendorId: VENDOR_ID,
        deviceId: DEVICE_ID,
        revision: 0,
        classCode: CLASS_BRIDGE_HOST,
        bars: [],
        host,
        isExpress: false,
      }),
    )
  }

  /** Plugs a function in, by default as the next device of the root bus. */
  add(pciFunction: PciFunction, position: FunctionPosition = {}): PciSlot {
    return (position.port?.bus ?? this.root).add(pciFunction, position)
  }

  /** Adds a root port, by default as the next device of the root bus. */
  addPort(position: PciPosition = {}): BridgeFunction {
    this.portCount++
    const port = createRootPort(`root port ${this.portCount}`, this.portCount)
    this.root.add(port, position)
    return port
  }

  /** Adds a bridge to a conventional bus, by default as the next device of the root bus. */
  addBridge(position: PciPosition = {}): BridgeFunction {
    this.bridgeCount++
    const bridge = createConventionalBridge(`bridge ${this.bridgeCount}`)
    this.root.add(bridge, position)
    return bridge
  }

  /** Resets every function and the ports, as at power-on; `placeFunctions` has to follow. */
  reset(): void {
    this.ports.reset()
    this.root.reset()
  }

  close(): void {
    this.root.close()
  }
}
