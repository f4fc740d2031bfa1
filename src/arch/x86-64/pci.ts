/** PCI on the x86-64 machine: the root complex on its ports and windows, as the DSDT and MCFG describe it. */
import type { Bus, DebugLog } from '../../bus/bus.ts'
import type { BridgeFunction } from '../../pci/bridge-function.ts'
import type { PciPosition } from '../../pci/bus.ts'
import { ConfigPorts } from '../../pci/config-ports.ts'
import { placeFunctions } from '../../pci/firmware.ts'
import type { PciFunction, PciSlot } from '../../pci/function.ts'
import type { PciHost } from '../../pci/host.ts'
import { type FunctionPosition, RootComplex } from '../../pci/root-complex.ts'
import { pciLineGsi } from './interrupts.ts'
import { ECAM_BUSES, ECAM_START, PCI_WINDOW_32, PCI_WINDOW_64 } from './layout.ts'

/** What the device thread gives PCI. */
export interface PciSurroundings {
  readonly ports: Bus
  readonly mmio: Bus
  readonly host: PciHost
  readonly onReset: () => void
  readonly debug?: DebugLog
}

/** The machine's PCI. */
export interface Pci {
  readonly complex: RootComplex
  /** Plugs a function in: on the root bus, or below `port`, which may be a bridge. Before `start`. */
  add(pciFunction: PciFunction, position?: FunctionPosition): PciSlot
  addPort(position?: PciPosition): BridgeFunction
  addBridge(position?: PciPosition): BridgeFunction
  /** Does what firmware does: addresses, bus numbers, interrupt lines. Once all functions are there. */
  start(): void
  close(): void
}

/**
 * Builds the root complex and puts it on the buses.
 *
 * @example const pci = createPci({ ports, mmio, host, onReset }); pci.add(disk); pci.start()
 */
export function createPci({ ports, mmio, host, onReset, debug }: PciSurroundings): Pci {
  const complex = new RootComplex({
    host,
    mmio,
    windows: [PCI_WINDOW_32, PCI_WINDOW_64],
    buses: ECAM_BUSES,
    onReset,
    ...(debug === undefined ? {} : { debug }),
  })
  ports.add(
    // The address need not have arrived before the vCPU goes on: the data that follows waits behind it.
    { name: 'PCI configuration', start: ConfigPorts.START, size: ConfigPorts.SIZE, posted: [0], postedSize: 4 },
    complex.ports,
  )
  mmio.add({ name: 'ECAM', start: ECAM_START, size: complex.ecam.size }, complex.ecam)
  return {
    complex,
    add: (pciFunction, position) => complex.add(pciFunction, position),
    addPort: position => complex.addPort(position),
    addBridge: position => complex.addBridge(position),
    start: () =>
      placeFunctions(complex.root, {
        low: PCI_WINDOW_32,
        high: PCI_WINDOW_64,
        interruptLine: pciLineGsi,
        ...(debug === undefined ? {} : { debug }),
      }),
    close: () => complex.close(),
  }
}
