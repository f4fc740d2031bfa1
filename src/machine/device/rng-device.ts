/** The entropy device on the device thread. */
import { HostEntropy } from '../../backend/entropy.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import { Rng } from '../../virtio/rng.ts'
import type { DeviceEnvironment } from './environment.ts'
import type { RngPlan } from './rng.ts'

/** Builds the device. */
export function createRng(_plan: RngPlan, { loop, warn }: DeviceEnvironment): VirtioDevice {
  return new Rng({ name: 'rng', source: new HostEntropy(warn), defer: task => loop.defer(task) })
}
