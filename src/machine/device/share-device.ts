/** A directory that the guest mounts with virtiofs: the device thread's part. */
import { VhostUser } from '../../backend/vhost-user.ts'
import { LinkSource } from '../../backend/vhost-user-link.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import { Fs } from '../../virtio/fs.ts'
import type { DeviceEnvironment } from './environment.ts'
import type { SharePlan } from './share.ts'

/** Builds the device from what `openShare` made. */
export function createShare(plan: SharePlan, environment: DeviceEnvironment): VirtioDevice {
  const { loop, timers, memory, ram, warn } = environment
  const backend = new VhostUser(plan.offer, new LinkSource(plan.link, loop), {
    loop,
    alarm: timers.create(),
    memory,
    ram,
    warn: message => warn(`share ${plan.tag}: ${message}`),
  })
  return new Fs(`share ${plan.tag}`, new TextEncoder().encode(plan.tag), backend)
}
