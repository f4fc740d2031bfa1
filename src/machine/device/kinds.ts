/** Every kind of device that a machine can be given, as the main thread sees them. */
import { assert } from '../../base/errors.ts'
import { type BalloonConfig, openBalloon } from './balloon.ts'
import type { ConsolePlan, VirtioConsoleConfig } from './console.ts'
import type { DiskConfig } from './disk-config.ts'
import type { OpenDevice, RamSource } from './environment.ts'
import type { NetworkConfig } from './network.ts'
import { openRng, type RngConfig } from './rng.ts'
import type { ShareConfig } from './share-config.ts'
import type { VfioResources } from './vfio.ts'
import type { VfioConfig } from './vfio-config.ts'
import type { VsockConfig } from './vsock.ts'

/** A device to put into a machine. */
export type DeviceConfig =
  | BalloonConfig
  | DiskConfig
  | NetworkConfig
  | RngConfig
  | ShareConfig
  | VfioConfig
  | VirtioConsoleConfig
  | VsockConfig

/** What the machine tells a device that is being opened. */
export interface OpenContext {
  readonly cpus: number
  readonly memoryMiB: number
  readonly ram: RamSource
  /** The plan of the machine's console, whose rings exist since the machine was made. */
  readonly console: ConsolePlan | undefined
  /** Of a machine with passed-through devices. */
  readonly vfio: VfioResources | undefined
}

/** A device's plain data for the device thread, with its kind. */
export interface DevicePlan {
  readonly kind: DeviceConfig['kind']
  readonly plan: unknown
}

/** Opens what `config` needs of the host; throws `BadInput` or `HostError` and leaves nothing behind. */
export async function openDevice(config: DeviceConfig, context: OpenContext): Promise<OpenDevice<DevicePlan>> {
  const { plan, resources } = await open(config, context)
  return { plan: { kind: config.kind, plan }, resources }
}

async function open(config: DeviceConfig, context: OpenContext): Promise<OpenDevice<unknown>> {
  switch (config.kind) {
    case 'balloon':
      return openBalloon(config, context.memoryMiB)
    case 'console':
      assert(context.console !== undefined, 'a machine with a console has its plan')
      return { plan: context.console, resources: { [Symbol.asyncDispose]: () => Promise.resolve() } }
    // Loaded when they are wanted: they bring much along.
    case 'disk':
      return (await import('./disk.ts')).openDisk(config, context.cpus)
    case 'network':
      return (await import('./network.ts')).openNetwork(config)
    case 'rng':
      return openRng(config)
    case 'share':
      return (await import('./share.ts')).openShare(config)
    case 'vfio':
      assert(context.vfio !== undefined, 'a machine with passed-through devices has opened their driver')
      return context.vfio.open(config)
    case 'vsock':
      return (await import('./vsock.ts')).openVsock(config)
  }
}
