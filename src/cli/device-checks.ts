/**
 * Refuses devices that the host cannot give before anything is fetched or started for the guest. The machine does the
 * same when it opens them; what changes in between is told then.
 */
import { BadInput } from '../base/errors.ts'
import type { EmulatedDevice } from '../rig/emulated-devices.ts'
import type { DeviceRequests } from './device-options.ts'

/** Throws `BadInput`. Loads only what the devices need. */
export async function checkDevices(devices: DeviceRequests, runsInRig: boolean): Promise<void> {
  const { disks, networks, vfio, vsock } = devices
  if (runsInRig) refuseInRig(devices)
  else if (vfio.length > 0) await checkHostDevices(vfio)
  const files = [...disks, ...vfio.flatMap(({ emulated }) => diskOf(emulated))]
  if (files.length > 0) (await import('../machine/device/disk-file.ts')).checkDiskFiles(files)
  if (networks.length > 0 && !runsInRig) {
    const { checkHostNetwork } = await import('../machine/device/network.ts')
    for (const { config } of networks) await checkHostNetwork(config)
  }
  if (vsock !== undefined) (await import('../machine/device/vsock.ts')).checkVsock({ kind: 'vsock', ...vsock })
}

/** The rig's NVMe has a disk like any other. */
function diskOf(device: EmulatedDevice | undefined): readonly { readonly path: string; readonly readOnly: boolean }[] {
  return device?.kind === 'nvme' ? [{ path: device.path, readOnly: !device.writable }] : []
}

async function checkHostDevices(vfio: DeviceRequests['vfio']): Promise<void> {
  const emulated = vfio.find(device => device.emulated !== undefined)
  if (emulated !== undefined)
    throw new BadInput(
      `--vfio ${emulated.words} names a device of the rig, and the guest runs on this host's KVM: ` +
        'give an address such as 01:00.0, or --host rig',
    )
  const { checkVfio } = await import('../machine/device/vfio.ts')
  const configs = vfio.map(({ config }) => config)
  for (const config of configs) checkVfio(config, configs)
}

/** What only a host whose KVM runs the guest itself can give. */
function refuseInRig({ networks, vfio, vsock }: DeviceRequests): void {
  const real = vfio.find(({ emulated }) => emulated === undefined)
  if (real !== undefined)
    throw new BadInput(
      `--vfio ${real.words} names a device of this host, and the guest runs in the rig: ` +
        "name one of the rig's devices, edu, nvme=FILE or e1000e",
    )
  if (vsock !== undefined)
    throw new BadInput("--vsock needs a host whose KVM runs Linux: the rig's sockets cannot be reached from here")
  for (const { config } of networks) {
    if (config.mode === 'tap')
      throw new BadInput("--network mode=tap needs a host whose KVM runs Linux: the rig has no tap of this host's")
    if (config.forwards !== undefined)
      throw new BadInput(
        "--network forward needs a host whose KVM runs Linux: the rig's ports cannot be reached from here",
      )
    if (config.program !== undefined)
      throw new BadInput('--network passt needs a host whose KVM runs Linux: the rig has a passt of its own')
  }
}
