/**
 * What firmware does before a kernel starts: numbers the buses, gives every BAR and bridge window an address, switches
 * memory decoding on and fills in the interrupt line registers. Kernels without an allocator of their own and bare-metal
 * guests rely on it; Linux may move everything.
 *
 * BARs go below 4 GiB, where every guest reaches them, except for large ones that can be anywhere. A bridge's memory
 * window takes the former, its prefetchable window the latter (PCI-to-PCI Bridge 1.2 §3.2.5.8 and §3.2.5.9).
 */
import { alignUp } from '../base/bits.ts'
import type { DebugLog } from '../bus/bus.ts'
import { type PciBus, swizzle } from './bus.ts'
import type { Bar, PciFunction } from './function.ts'
import {
  PCI_BASE_ADDRESS_0,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_MEMORY_BASE,
  PCI_PREF_BASE_UPPER32,
  PCI_PREF_LIMIT_UPPER32,
  PCI_PREF_MEMORY_BASE,
  PCI_PRIMARY_BUS,
  PCI_SECONDARY_BUS,
  PCI_SUBORDINATE_BUS,
} from './registers.ts'
import type { AddressWindow } from './root-complex.ts'

const MIB = 2 ** 20
const TWO_32 = 0x1_0000_0000
/** From here on a 64-bit BAR goes above 4 GiB. */
const LARGE = 64 * MIB
/** A bridge's windows are whole MiB. */
const BRIDGE_GRAIN = MIB

/** Base above limit: the window is closed. */
const CLOSED_WINDOW = 0x0000_fff0

export interface FirmwareOptions {
  /** For BARs below 4 GiB. */
  readonly low: AddressWindow
  /** For large ones. */
  readonly high: AddressWindow
  /** What the interrupt line register says of pin `pin` of `device` on the root bus. */
  readonly interruptLine: (device: number, pin: number) => number
  readonly debug?: DebugLog
}

/** Something that needs addresses. */
interface Request {
  readonly name: string
  readonly size: number
  readonly alignment: number
  place(address: number): void
}

type Kind = 'low' | 'high'

/**
 * Sets up everything on `root` and below.
 *
 * @example placeFunctions(complex.root, { low: { start: 0xc000_0000, size: 0x2000_0000 }, high, interruptLine })
 */
export function placeFunctions(root: PciBus, options: FirmwareOptions): void {
  numberBuses(root, 0)
  for (const kind of ['low', 'high'] as const) {
    const window = options[kind]
    let next = window.start
    for (const request of requestsOf(root, kind)) {
      const start = alignUp(next, request.alignment)
      if (start + request.size > window.start + window.size) {
        options.debug?.(`pci: no room for ${request.name}; the guest has to place it`)
        continue
      }
      request.place(start)
      next = start + request.size
    }
  }
  enable(root, options.interruptLine)
}

/** Depth first, as every firmware does; returns the highest number given. */
function numberBuses(bus: PciBus, number: number): number {
  let last = number
  for (const { function: bridge } of bus.functions) {
    if (bridge.bridge === undefined) continue
    bridge.writeConfig(PCI_PRIMARY_BUS, 1, number)
    bridge.writeConfig(PCI_SECONDARY_BUS, 1, last + 1)
    // Open to all below until they are numbered.
    bridge.writeConfig(PCI_SUBORDINATE_BUS, 1, 0xff)
    last = numberBuses(bridge.bridge.bus, last + 1)
    bridge.writeConfig(PCI_SUBORDINATE_BUS, 1, last)
  }
  return last
}

/** What a bus asks for, the most demanding alignment first, so that little is lost between. */
function requestsOf(bus: PciBus, kind: Kind): readonly Request[] {
  const requests: Request[] = []
  for (const { function: pciFunction, slot } of bus.functions) {
    for (const bar of pciFunction.bars)
      if (kindOf(bar, slot.isRoot) === kind) requests.push(barRequest(pciFunction, bar))
    if (pciFunction.bridge !== undefined) {
      setWindow(pciFunction, kind, undefined)
      const below = requestsOf(pciFunction.bridge.bus, kind)
      if (below.length > 0) requests.push(bridgeRequest(pciFunction, kind, below))
    }
  }
  return requests.sort((a, b) => b.alignment - a.alignment || b.size - a.size)
}

/** Only prefetchable BARs can be behind a bridge's 64-bit window. */
function kindOf(bar: Bar, isRoot: boolean): Kind {
  return bar.kind === 'memory64' && bar.size >= LARGE && (isRoot || bar.prefetchable) ? 'high' : 'low'
}

function barRequest(pciFunction: PciFunction, bar: Bar): Request {
  const at = PCI_BASE_ADDRESS_0 + 4 * bar.index
  return {
    name: `BAR ${bar.index} of ${pciFunction.name}`,
    size: bar.size,
    alignment: bar.size,
    place: address => {
      pciFunction.writeConfig(at, 4, address % TWO_32)
      if (bar.kind === 'memory64') pciFunction.writeConfig(at + 4, 4, Math.floor(address / TWO_32))
    },
  }
}

function bridgeRequest(bridge: PciFunction, kind: Kind, below: readonly Request[]): Request {
  const alignment = Math.max(BRIDGE_GRAIN, ...below.map(request => request.alignment))
  const offsets: number[] = []
  let end = 0
  for (const request of below) {
    const start = alignUp(end, request.alignment)
    offsets.push(start)
    end = start + request.size
  }
  const size = alignUp(end, BRIDGE_GRAIN)
  return {
    name: bridge.name,
    size,
    alignment,
    place: address => {
      setWindow(bridge, kind, { start: address, size })
      below.forEach((request, i) => {
        request.place(address + (offsets[i] as number))
      })
    },
  }
}

/** Opens a bridge's window over `range`, or closes it. Base and limit are two words next to each other. */
function setWindow(bridge: PciFunction, kind: Kind, range: AddressWindow | undefined): void {
  const last = range === undefined ? 0 : range.start + range.size - 1
  const value = range === undefined ? CLOSED_WINDOW : windowWord(range.start) | (windowWord(last) << 16)
  bridge.writeConfig(kind === 'low' ? PCI_MEMORY_BASE : PCI_PREF_MEMORY_BASE, 4, value >>> 0)
  if (kind === 'low') return
  bridge.writeConfig(PCI_PREF_BASE_UPPER32, 4, Math.floor((range?.start ?? 0) / TWO_32))
  bridge.writeConfig(PCI_PREF_LIMIT_UPPER32, 4, Math.floor(last / TWO_32))
}

/** Address bits 31 to 20 where a window register has them. */
function windowWord(address: number): number {
  return (Math.floor(address / MIB) & 0xfff) << 4
}

function enable(bus: PciBus, interruptLine: (device: number, pin: number) => number): void {
  for (const { function: pciFunction, slot } of bus.functions) {
    const pin = pciFunction.readConfig(PCI_INTERRUPT_PIN, 1)
    if (pin !== 0) pciFunction.writeConfig(PCI_INTERRUPT_LINE, 1, interruptLine(slot.device, pin))
    const { bridge } = pciFunction
    if (bridge !== undefined) {
      enable(bridge.bus, (device, below) => interruptLine(slot.device, swizzle(device, below)))
      // A bridge has to be a bus master for what is below to be one.
      pciFunction.writeConfig(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
    } else if (pciFunction.bars.length > 0) pciFunction.writeConfig(PCI_COMMAND, 2, PCI_COMMAND_MEMORY)
  }
}
