/** The balloon on the device thread. */
import { RamDiscard } from '../../backend/ram-discard.ts'
import { VirtioBalloon } from '../../virtio/balloon.ts'
import type { BalloonPlan } from './balloon.ts'
import type { DeviceEnvironment } from './environment.ts'

/** Builds the device; whoever keeps it may change its target and ask for statistics. */
export function createBalloon(plan: BalloonPlan, environment: DeviceEnvironment): VirtioBalloon {
  const { loop, ram, warn } = environment
  const balloon = new VirtioBalloon({
    name: 'balloon',
    memory: new RamDiscard(ram.fd, ram.blocks, warn),
    deflateOnOom: plan.deflateOnOom,
    defer: task => loop.defer(task),
  })
  balloon.setTarget(plan.targetMiB)
  return balloon
}
