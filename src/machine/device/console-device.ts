/** The virtio console on the device thread: its ports are rings that the main thread holds the other ends of. */
import { VirtioConsole } from '../../virtio/console.ts'
import type { ConsolePort } from '../../virtio/console-port.ts'
import { ByteRing } from '../byte-ring.ts'
import type { ConsolePlan, ConsolePortPlan } from './console.ts'
import type { ConsoleNotices, DeviceEnvironment } from './environment.ts'

/**
 * Builds the device. Whoever keeps it calls, for a port's number,
 * `inputAvailable` when the main thread has pushed input, `outputRoom` when it has taken output from a full ring,
 * `resize` when its terminal changed, and `setOpen` when its side ended or came back.
 */
export function createConsole(plan: ConsolePlan, environment: DeviceEnvironment): VirtioConsole {
  const device = new VirtioConsole({
    name: 'console',
    ports: plan.ports.map((port, index) => new RingPort(port, index, environment.notices)),
    defer: task => environment.loop.defer(task),
  })
  for (const [index, { columns, rows }] of plan.ports.entries()) device.resize(index, columns, rows)
  return device
}

/** A port between two rings. */
class RingPort implements ConsolePort {
  readonly name: string
  readonly isConsole: boolean
  private readonly output: ByteRing
  private readonly input: ByteRing

  constructor(
    plan: ConsolePortPlan,
    private readonly index: number,
    private readonly notices: ConsoleNotices,
  ) {
    this.name = plan.name
    this.isConsole = plan.isConsole
    this.output = new ByteRing(plan.output)
    this.input = new ByteRing(plan.input)
  }

  get available(): number {
    return this.input.length
  }

  read(target: Uint8Array): number {
    const count = this.input.read(target)
    if (this.input.mustWakeProducer()) this.notices.inputRoom(this.index)
    return count
  }

  write(bytes: Uint8Array): number {
    let count = this.output.push(bytes)
    if (count < bytes.length) {
      this.output.block()
      // After the announcement: room that came before it is not told.
      count += this.output.push(bytes.subarray(count))
    }
    if (this.output.mustWakeConsumer()) this.notices.output(this.index)
    return count
  }

  guestOpened(isOpen: boolean): void {
    this.notices.guestOpened(this.index, isOpen)
  }
}
