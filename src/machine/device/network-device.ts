/** Network devices on the device thread. */
import { TapBackend } from '../../backend/tap.ts'
import { UserNetworkBackend } from '../../backend/user-network.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import { VirtioNet } from '../../virtio/net.ts'
import type { DeviceEnvironment } from './environment.ts'
import type { NetworkPlan } from './network.ts'

/** Builds the device that `openNetwork` planned. */
export function createNetwork({ name, mac, mtu, way }: NetworkPlan, { loop, warn }: DeviceEnvironment): VirtioDevice {
  const backend =
    way.kind === 'tap' ? new TapBackend(way.fds, loop, warn) : new UserNetworkBackend(way.fds[0] as number, loop, warn)
  return new VirtioNet({ name, mac: Uint8Array.from(mac), ...(mtu === undefined ? {} : { mtu }), backend })
}
