/**
 * A bridge from PCI Express to a conventional PCI bus. Requests of the functions below reach the root bus with one
 * requester ID, that of device 0 on the bus below, whoever sent them: an IOMMU cannot tell them apart, and a guest puts
 * them into one group. PCI Express to PCI/PCI-X Bridge 1.0 §2.3; PCI-to-PCI Bridge 1.2 §3.2. No hot-plug.
 */
import { BridgeFunction } from './bridge-function.ts'
import { BUS_DEVICES } from './bus.ts'
import { conventionalBridgeExpress } from './express.ts'
import { PCI_SEC_LATENCY_TIMER } from './registers.ts'

/** As QEMU's pcie-pci-bridge, which guests know. */
const VENDOR_ID = 0x1b36
const DEVICE_ID = 0x000e

/** See above. */
export function createConventionalBridge(name: string): BridgeFunction {
  const bridge = new BridgeFunction({
    name,
    vendorId: VENDOR_ID,
    deviceId: DEVICE_ID,
    interruptPin: 0,
    devices: BUS_DEVICES,
    isConventional: true,
  })
  bridge.config.define(PCI_SEC_LATENCY_TIMER, 1, 0, 0xff)
  bridge.config.addCapability(conventionalBridgeExpress())
  return bridge
}
