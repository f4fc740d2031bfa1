/**
 * A bridge from PCI Express to a conventional PCI bus. Requests of the functions below reach the root bus with one
 * requester ID, that of device 0 on the bus below, whoever sent them: an IOMMU cannot tell them apart, and a guest puts
 * them into one group. PCI Express to PCI/PCI-X Bridge 1.0 §2.3; PCI-to-PCI Bridge 1.2 §3.2. No hot-plug.
 */
import type { PciBridge } from './bridge.ts'
import { BridgeHeader } from './bridge-header.ts'
import { BUS_DEVICES, type PciBus } from './bus.ts'
import { conventionalBridgeExpress } from './express.ts'
import type { Bar, PciFunction, PciSlot } from './function.ts'
import { PCI_SEC_LATENCY_TIMER } from './registers.ts'

/** As QEMU's pcie-pci-bridge, which guests know. */
const VENDOR_ID = 0x1b36
const DEVICE_ID = 0x000e

/** See above. */
export class ConventionalBridge implements PciFunction {
  readonly bars: readonly Bar[] = []
  readonly bridge: PciBridge
  private readonly header: BridgeHeader

  constructor(readonly name: string) {
    this.header = new BridgeHeader({
      name,
      vendorId: VENDOR_ID,
      deviceId: DEVICE_ID,
      interruptPin: 0,
      devices: BUS_DEVICES,
      isConventional: true,
    })
    this.bridge = this.header
    const { config } = this.header
    config.define(PCI_SEC_LATENCY_TIMER, 1, 0, 0xff)
    config.addCapability(conventionalBridgeExpress())
  }

  get bus(): PciBus {
    return this.header.bus
  }

  attach(slot: PciSlot): void {
    this.header.attach(slot)
  }

  readConfig(offset: number, size: number): number {
    return this.header.config.read(offset, size)
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.header.config.write(offset, size, value)
  }

  reset(): void {
    this.header.reset()
  }

  close(): void {
    this.header.close()
  }
}
