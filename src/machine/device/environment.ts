/**
 * How the machine makes its virtio devices. Each kind has two files here, so that no thread loads what it does not run:
 *
 *   disk.ts          main thread: checks a configuration (`BadInput`), opens what it needs of the host
 *   disk-device.ts   device thread: builds the device from the plain data that `open` made
 */
import type { EventLoop } from '../../host/event-loop.ts'
import type { GuestMemory } from '../../memory/guest-memory.ts'
import type { RamBlock } from '../../memory/ram.ts'
import type { GuestSpace } from '../../vfio/guest-space.ts'
import type { Timers } from '../timers.ts'

/** How the main thread is told what happens at a port of the virtio console. */
export interface ConsoleNotices {
  /** There is output, and the main thread has to be woken for it. */
  output(port: number): void
  /** The input ring has room again. */
  inputRoom(port: number): void
  /** A program in the guest opened the port, or closed it. */
  guestOpened(port: number, isOpen: boolean): void
}

/** What `open` gives: plain data for the device thread, and what the machine disposes of after all threads ended. */
export interface OpenDevice<Plan> {
  readonly plan: Plan
  readonly resources: AsyncDisposable
}

/** Guest RAM as other processes get it. */
export interface RamSource {
  readonly fd: number
  readonly blocks: readonly RamBlock[]
  /** For `holdRam`. */
  readonly hold: SharedArrayBuffer
}

/** What a device's backends may use on the device thread. */
export interface DeviceEnvironment {
  readonly loop: EventLoop
  readonly timers: Timers
  readonly memory: GuestMemory
  readonly ram: RamSource
  /** How the main thread hears of its console ports. */
  readonly notices: ConsoleNotices
  /** One line for `--loglevel debug`. */
  readonly debug: (message: string) => void
  /** One line that the user should see: a host failure that the guest goes on without. */
  readonly warn: (message: string) => void
}

/** How the main thread is told of passed-through devices. */
export interface VfioNotices {
  /** The host wants the device back; the device thread uses it no more. */
  deviceGone(address: string): void
  /** The device failed, and the machine with it. */
  deviceFailed(message: string): void
}

/** What all devices of a machine may use, those of the host's among them. */
export interface MachineEnvironment extends DeviceEnvironment {
  readonly vfioNotices: VfioNotices
  /** Where memory of passed-through devices goes. */
  readonly guestSpace: GuestSpace
}
