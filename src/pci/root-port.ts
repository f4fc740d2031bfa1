/**
 * A PCI Express root port: a PCI-to-PCI bridge on the root bus with one slot below it. Functions below have requester
 * IDs of their own bus, and access control services let a guest put each port into an IOMMU group of its own.
 * PCI-to-PCI Bridge 1.2 §3.2; PCI Express 5.0 §7.5.3 and §7.7.8. No hot-plug.
 */
import { BridgeFunction } from './bridge-function.ts'
import { rootPortExpress } from './express.ts'
import { PCI_EXT_CAP_ID_ACS } from './registers.ts'

/** As QEMU's pcie-root-port, which guests know. */
const VENDOR_ID = 0x1b36
const DEVICE_ID = 0x000c

/** Source validation, translation blocking, request and completion redirect, upstream forwarding. */
const ACS_BITS = 0x001f
const ACS_CAPABILITY_AT = 4
const ACS_CONTROL_AT = 6
const ACS_SIZE = 8
const ACS_VERSION = 1

/** See above. `number` is that of the physical slot: 1 to 255, another one for each port. */
export function createRootPort(name: string, number: number): BridgeFunction {
  const port = new BridgeFunction({
    name,
    vendorId: VENDOR_ID,
    deviceId: DEVICE_ID,
    interruptPin: 1,
    // A link has one device (PCI Express 5.0 §7.3.1).
    devices: 1,
    isConventional: false,
  })
  port.config.addCapability(rootPortExpress(number, () => !port.bus.isEmpty))
  port.config.addExtendedCapability(accessControlServices())
  return port
}

/** The whole set of services is there, and off until the guest asks for it. */
function accessControlServices() {
  const bytes = new Uint8Array(ACS_SIZE)
  const writable = new Uint8Array(ACS_SIZE)
  bytes[ACS_CAPABILITY_AT] = ACS_BITS
  writable[ACS_CONTROL_AT] = ACS_BITS
  return { id: PCI_EXT_CAP_ID_ACS, version: ACS_VERSION, bytes, writable }
}
